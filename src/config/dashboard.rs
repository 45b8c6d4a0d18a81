//! How people sign in at the dashboard without a token.

use std::{fs, net::IpAddr, path::PathBuf, time::Duration};

use reqwest::Url;
use secrecy::SecretString;
use serde::Deserialize;

use super::{
    ConfigError, Origin,
    layers::{Given, Layers, secret},
};
use crate::{
    auth::{Grant, OidcSettings},
    domain::{Access, Name, Scope},
};

/// How people sign in at the dashboard.
#[derive(Debug, Clone)]
pub struct DashboardConfig {
    /// At an OpenID Connect issuer, besides with a token.
    pub oidc: Option<OidcSettings>,
}

/// Section `[dashboard]` as it is written.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct DashboardSection {
    oidc: Option<OidcSection>,
}

/// Section `[dashboard.oidc]` as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OidcSection {
    name: Option<String>,
    issuer: String,
    client_id: String,
    #[serde(default, deserialize_with = "secret")]
    client_secret: Option<SecretString>,
    client_secret_file: Option<PathBuf>,
    scopes: Option<Vec<String>>,
    session_hours: Option<u64>,
    #[serde(default)]
    grants: Vec<GrantSection>,
}

/// One of `[[dashboard.oidc.grants]]` as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GrantSection {
    claim: String,
    value: String,
    project: Option<Name>,
    #[serde(default)]
    instance: bool,
    scopes: Vec<Scope>,
}

const LONGEST_NAME: usize = 40;
const MOST_GRANTS: usize = 200;
/// What a claim is worth is looked at when somebody signs in: whoever leaves a group is out after this.
const MOST_HOURS: u64 = 12;

impl DashboardConfig {
    pub(super) fn resolve(layers: &Layers<'_>) -> Result<Self, ConfigError> {
        let oidc = layers.file.dashboard.oidc.as_ref().map(|section| resolve_oidc(section, layers)).transpose()?;
        Ok(Self { oidc })
    }
}

fn resolve_oidc(section: &OidcSection, layers: &Layers<'_>) -> Result<OidcSettings, ConfigError> {
    let invalid = |setting: &str, problem: &str| {
        ConfigError::invalid(format!("dashboard.oidc.{setting}"), layers.file_origin(), problem)
    };
    let name = section.name.clone().unwrap_or_else(|| "single sign-on".to_owned());
    if name.trim().is_empty() || name.chars().count() > LONGEST_NAME {
        return Err(invalid("name", "write what people call the issuer, in 1 to 40 characters"));
    }
    if !is_issuer(&section.issuer) {
        let problem = "write the issuer's https URL without login, query and fragment, as the issuer itself writes it in \
                       its discovery document";
        return Err(invalid("issuer", problem));
    }
    if section.client_id.trim().is_empty() {
        return Err(invalid("client_id", "write the id that the issuer has given to this service"));
    }
    let scopes = section.scopes.clone().unwrap_or_else(|| vec!["profile".to_owned(), "email".to_owned()]);
    if scopes.iter().any(|scope| scope.is_empty() || !scope.bytes().all(|c| c.is_ascii_graphic())) {
        return Err(invalid("scopes", "write each scope on its own, like [\"profile\", \"email\"]"));
    }
    let hours = section.session_hours.unwrap_or(MOST_HOURS);
    if !(1..=MOST_HOURS).contains(&hours) {
        return Err(invalid("session_hours", "give 1 to 12 hours"));
    }
    if section.grants.is_empty() || section.grants.len() > MOST_GRANTS {
        return Err(invalid("grants", "give 1 to 200 [[dashboard.oidc.grants]]: nobody gets in without one"));
    }
    let grant =
        |(index, section)| resolve_grant(section).map_err(|problem| invalid(&format!("grants[{index}]"), problem));
    Ok(OidcSettings {
        name,
        issuer: section.issuer.clone(),
        client_id: section.client_id.clone(),
        client_secret: client_secret(section, layers)?,
        // The library asks for it by itself.
        scopes: scopes.into_iter().filter(|scope| scope != "openid").collect(),
        grants: section.grants.iter().enumerate().map(grant).collect::<Result<_, _>>()?,
        session: Duration::from_secs(hours * 3600),
    })
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

/// Tokens and secrets go there: without TLS only on this machine.
fn is_issuer(text: &str) -> bool {
    let Ok(url) = Url::parse(text) else { return false };
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
    let here = host == "localhost" || address.is_ok_and(|address| address.is_loopback());
    let safe = url.scheme() == "https" || (url.scheme() == "http" && here);
    let plain = url.username().is_empty() && url.password().is_none() && url.query().is_none();
    safe && plain && url.fragment().is_none() && !host.is_empty()
}

fn client_secret(section: &OidcSection, layers: &Layers<'_>) -> Result<Option<SecretString>, ConfigError> {
    let env = |name| layers.env(name);
    let in_env = one_secret(
        env("HAULIER_OIDC_CLIENT_SECRET").map(|given| given.map(SecretString::from)),
        env("HAULIER_OIDC_CLIENT_SECRET_FILE").map(|given| given.map(PathBuf::from)),
    )?;
    match in_env {
        Some(secret) => Ok(Some(secret)),
        None => one_secret(layers.in_file(&section.client_secret), layers.in_file(&section.client_secret_file)),
    }
}

/// Of one layer. Two there would leave open which of them counts.
fn one_secret(
    text: Option<Given<SecretString>>,
    file: Option<Given<PathBuf>>,
) -> Result<Option<SecretString>, ConfigError> {
    let invalid =
        |origin: Origin, problem: String| ConfigError::invalid("dashboard.oidc.client_secret", origin, problem);
    match (text, file) {
        (Some(text), Some(_)) => {
            Err(invalid(text.origin, "client_secret_file is given as well: remove one of the two".to_owned()))
        }
        (Some(text), None) => Ok(Some(text.value)),
        (None, Some(Given { value: path, origin })) => {
            let text = fs::read_to_string(&path).map_err(|error| {
                invalid(origin, format!("{} cannot be read ({error}): check the path", path.display()))
            })?;
            Ok(Some(text.trim_end().into()))
        }
        (None, None) => Ok(None),
    }
}
