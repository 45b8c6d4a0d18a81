//! Issuers of identities, and what theirs are worth.

use std::net::IpAddr;

use reqwest::Url;
use serde::Deserialize;

use crate::{
    auth::Grant,
    domain::{Access, Name, Scope},
};

/// What is wrong with an issuer that [`is_issuer`] refuses.
pub(super) const NO_ISSUER: &str = "write the issuer's https URL without login, query and fragment, as the issuer itself writes it in its discovery document";

const MOST_GRANTS: usize = 200;

/// One of `[[….grants]]` as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct GrantSection {
    claim: String,
    value: String,
    project: Option<Name>,
    #[serde(default)]
    instance: bool,
    scopes: Vec<Scope>,
}

/// # Errors
/// The setting that cannot be used, within the section that the grants are of, and why.
pub(super) fn resolve_grants(sections: &[GrantSection]) -> Result<Vec<Grant>, (String, &'static str)> {
    if sections.is_empty() || sections.len() > MOST_GRANTS {
        return Err(("grants".to_owned(), "give 1 to 200 grants: nobody gets in without one"));
    }
    let grant = |(index, section)| resolve_grant(section).map_err(|problem| (format!("grants[{index}]"), problem));
    sections.iter().enumerate().map(grant).collect()
}

fn resolve_grant(section: &GrantSection) -> Result<Grant, &'static str> {
    if section.claim.is_empty() || section.value.is_empty() {
        return Err("give a claim and its value");
    }
    if section.scopes.is_empty() {
        return Err("give scopes: at least one of read, trigger, write, admin");
    }
    let access = match (&section.project, section.instance) {
        (Some(project), false) => Access { project: Some(project.clone()), scopes: section.scopes.clone() },
        (None, true) => Access { project: None, scopes: section.scopes.clone() },
        _ => return Err("give either a project, or instance = true for the whole installation"),
    };
    Ok(Grant { claim: section.claim.clone(), value: section.value.clone(), access })
}

/// Its keys come from there, and tokens and secrets may go there: without TLS only on this machine.
pub(super) fn is_issuer(text: &str) -> bool {
    let Ok(url) = Url::parse(text) else { return false };
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
    let here = host == "localhost" || address.is_ok_and(|address| address.is_loopback());
    let safe = url.scheme() == "https" || (url.scheme() == "http" && here);
    let plain = url.username().is_empty() && url.password().is_none() && url.query().is_none();
    safe && plain && url.fragment().is_none() && !host.is_empty()
}
