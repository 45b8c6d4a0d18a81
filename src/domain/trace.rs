//! Where a run stands in a trace that its caller follows.

use std::str::FromStr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The value of a `traceparent` header: W3C Trace Context, version 00.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(transparent)]
#[schema(value_type = String, example = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")]
pub struct TraceParent(String);

/// The text is no `traceparent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is no traceparent: see W3C Trace Context, like 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")]
pub struct InvalidTraceParent;

impl TraceParent {
    /// Of these ids, neither of which is zero; `sampled` tells whoever reads it to keep the trace.
    #[must_use]
    pub fn new(trace: u128, parent: u64, sampled: bool) -> Self {
        Self(format!("00-{trace:032x}-{parent:016x}-{:02x}", u8::from(sampled)))
    }

    /// The trace.
    #[must_use]
    pub fn trace_id(&self) -> u128 {
        u128::from_str_radix(&self.0[3..35], 16).unwrap_or_default()
    }

    /// The span of whoever handed it on.
    #[must_use]
    pub fn parent_id(&self) -> u64 {
        u64::from_str_radix(&self.0[36..52], 16).unwrap_or_default()
    }

    /// Whether the trace is kept.
    #[must_use]
    pub fn is_sampled(&self) -> bool {
        u8::from_str_radix(&self.0[53..], 16).unwrap_or_default() & 1 == 1
    }

    /// The value as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TraceParent {
    type Err = InvalidTraceParent;

    fn from_str(text: &str) -> Result<Self, InvalidTraceParent> {
        let hex = |part: &str, length: usize| {
            part.len() == length && part.bytes().all(|c| c.is_ascii_digit() || (b'a'..=b'f').contains(&c))
        };
        let given = |part: &str| part.bytes().any(|c| c != b'0');
        match text.split('-').collect::<Vec<_>>().as_slice() {
            // A later version may go on behind the flags; only this one says that nothing follows.
            ["00", trace, span, flags]
                if hex(trace, 32) && given(trace) && hex(span, 16) && given(span) && hex(flags, 2) =>
            {
                Ok(Self(text.to_owned()))
            }
            _ => Err(InvalidTraceParent),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_standard_allows_is_taken() {
        let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let parsed: TraceParent = good.parse().unwrap();
        assert_eq!(parsed.as_str(), good);
        assert_eq!(TraceParent::new(parsed.trace_id(), parsed.parent_id(), parsed.is_sampled()), parsed);
        let not_kept = TraceParent::new(1, 2, false);
        assert_eq!(not_kept.as_str(), "00-00000000000000000000000000000001-0000000000000002-00");
        assert_eq!(not_kept.as_str().parse(), Ok(not_kept));
        for bad in [
            "",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b716920333\n-01",
        ] {
            assert_eq!(bad.parse::<TraceParent>(), Err(InvalidTraceParent), "{bad}");
        }
    }
}
