//! Who issues identities, and what they are worth here.

use std::time::Duration;

use secrecy::SecretString;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::{auth::secret::hash_of, domain::Access};

/// How people sign in with OpenID Connect.
#[derive(Debug, Clone)]
pub struct OidcSettings {
    /// What people call the issuer.
    pub name: String,
    /// The issuer, letter for letter as it names itself.
    pub issuer: String,
    /// What the issuer calls this service.
    pub client_id: String,
    /// How this service shows the issuer who it is; a public client has none.
    pub client_secret: Option<SecretString>,
    /// What the issuer is asked for besides `openid`.
    pub scopes: Vec<String>,
    /// Who may do what.
    pub grants: Vec<Grant>,
    /// How long people stay signed in.
    pub session: Duration,
}

/// Whose tokens are believed when they come with a request.
#[derive(Debug, Clone)]
pub struct TokenIssuerSettings {
    /// The issuer, letter for letter as it names itself.
    pub issuer: String,
    /// For whom its tokens must be: one of these is enough.
    pub audiences: Vec<String>,
    /// Who may do what.
    pub grants: Vec<Grant>,
}

/// What a claim is worth.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Grant {
    /// The claim's name; or a JSON pointer into the claims, which begins with `/`.
    pub claim: String,
    /// What it says, or what is in its list.
    pub value: String,
    /// What whoever has it may do.
    pub access: Access,
}

impl OidcSettings {
    /// A digest of what decides who may do what: sessions that were begun under other settings are over.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        let decisive = serde_json::json!([self.issuer, self.client_id, self.grants]);
        hash_of(&decisive.to_string())
    }
}

/// What somebody with these claims may do; empty when nothing.
pub(super) fn access(grants: &[Grant], claims: &Map<String, Value>) -> Vec<Access> {
    grants.iter().filter(|grant| grant.fits(claims)).map(|grant| grant.access.clone()).collect()
}

impl Grant {
    fn fits(&self, claims: &Map<String, Value>) -> bool {
        let says = |value: &Value| match value {
            Value::String(text) => *text == self.value,
            Value::Bool(yes) => self.value == if *yes { "true" } else { "false" },
            Value::Number(number) => number.as_i64().is_some_and(|number| self.value.parse() == Ok(number)),
            _ => false,
        };
        match find(claims, &self.claim) {
            Some(Value::Array(list)) => list.iter().any(says),
            Some(value) => says(value),
            None => false,
        }
    }
}

/// A claim by its name, or by a JSON pointer (RFC 6901). Names of claims may have dots and slashes of their own: those
/// of some issuers are URLs.
pub(super) fn find<'c>(claims: &'c Map<String, Value>, claim: &str) -> Option<&'c Value> {
    let Some(path) = claim.strip_prefix('/') else { return claims.get(claim) };
    let (first, rest) = path.split_once('/').map_or((path, ""), |(first, _)| (first, &path[first.len()..]));
    claims.get(&first.replace("~1", "/").replace("~0", "~"))?.pointer(rest)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::Scope;

    fn grant(claim: &str, value: &str) -> Grant {
        let access = Access { project: None, scopes: vec![Scope::Read] };
        Grant { claim: claim.to_owned(), value: value.to_owned(), access }
    }

    #[test]
    fn claims_fit_by_what_they_say_or_list() {
        let claims = json!({
            "groups": ["data", "ops"], "department": "data team", "level": 3, "staff": true, "none": null,
            "realm_access": {"roles": ["admin"]}, "https://example.com/roles": ["x"], "a/b": {"c": "d"}
        });
        let claims = claims.as_object().unwrap();
        for (claim, value) in [
            ("groups", "ops"),
            ("department", "data team"),
            ("level", "3"),
            ("staff", "true"),
            ("/realm_access/roles", "admin"),
            ("https://example.com/roles", "x"),
            ("/a~1b/c", "d"),
            ("/groups", "data"),
        ] {
            assert!(grant(claim, value).fits(claims), "{claim} {value}");
        }
        for (claim, value) in [
            ("groups", "dat"),
            ("groups", "data,ops"),
            ("groups", "Ops"),
            ("department", "data"),
            ("none", "null"),
            ("none", ""),
            ("missing", ""),
            ("realm_access", "admin"),
            ("realm_access/roles", "admin"),
            ("/realm_access/roles/1", "admin"),
        ] {
            assert!(!grant(claim, value).fits(claims), "{claim} {value}");
        }
    }

    #[test]
    fn settings_that_decide_otherwise_have_another_digest() {
        let settings = |grants| OidcSettings {
            name: "Example".to_owned(),
            issuer: "https://id.example.com".to_owned(),
            client_id: "haulier".to_owned(),
            client_secret: Some("hunter2".into()),
            scopes: Vec::new(),
            grants,
            session: Duration::from_secs(3600),
        };
        let (one, other) = (settings(vec![grant("groups", "a")]), settings(vec![grant("groups", "b")]));
        assert_eq!(one.digest(), settings(vec![grant("groups", "a")]).digest());
        assert_ne!(one.digest(), other.digest());
        assert!(!format!("{one:?}").contains("hunter2"));
    }
}
