//! Where in a document things stand, for what is wrong with them.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};
use serde_saphyr::Spanned;

/// A document's places: what a JSON Pointer points to begins where?
#[derive(Debug)]
pub(super) struct Places {
    at: (u64, u64),
    within: Within,
}

#[derive(Debug)]
enum Within {
    Nothing,
    List(Vec<Places>),
    Map(Vec<(String, Places)>),
}

impl Places {
    /// Line and column of what the pointer points to; of what comes nearest, where it is not there.
    pub(super) fn of(&self, pointer: &str) -> (u64, u64) {
        let mut here = self;
        for step in pointer.split('/').skip(1) {
            let step = step.replace("~1", "/").replace("~0", "~");
            let next = match &here.within {
                Within::Nothing => None,
                Within::List(items) => step.parse().ok().and_then(|index: usize| items.get(index)),
                Within::Map(fields) => fields.iter().find(|(key, _)| *key == step).map(|(_, place)| place),
            };
            let Some(next) = next else { break };
            here = next;
        }
        here.at
    }
}

impl<'de> Deserialize<'de> for Places {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Spanned { value, referenced, .. } = Spanned::<Within>::deserialize(deserializer)?;
        Ok(Self { at: (referenced.line(), referenced.column()), within: value })
    }
}

impl<'de> Deserialize<'de> for Within {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue)
    }
}

struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = Within;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Within, A::Error> {
        let mut fields = Vec::new();
        while let Some(field) = map.next_entry()? {
            fields.push(field);
        }
        Ok(Within::Map(fields))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Within, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element()? {
            items.push(item);
        }
        Ok(Within::List(items))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Within, E> {
        Ok(Within::Nothing)
    }
    fn visit_i64<E>(self, _: i64) -> Result<Within, E> {
        Ok(Within::Nothing)
    }
    fn visit_u64<E>(self, _: u64) -> Result<Within, E> {
        Ok(Within::Nothing)
    }
    fn visit_i128<E>(self, _: i128) -> Result<Within, E> {
        Ok(Within::Nothing)
    }
    fn visit_u128<E>(self, _: u128) -> Result<Within, E> {
        Ok(Within::Nothing)
    }
    fn visit_f64<E>(self, _: f64) -> Result<Within, E> {
        Ok(Within::Nothing)
    }
    fn visit_str<E>(self, _: &str) -> Result<Within, E> {
        Ok(Within::Nothing)
    }
    fn visit_unit<E>(self) -> Result<Within, E> {
        Ok(Within::Nothing)
    }
    fn visit_none<E>(self) -> Result<Within, E> {
        Ok(Within::Nothing)
    }
    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Within, D::Error> {
        deserializer.deserialize_any(self)
    }
}
