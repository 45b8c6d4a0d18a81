//! How people sign in at the dashboard without a token.

use std::{path::PathBuf, time::Duration};

use secrecy::SecretString;
use serde::Deserialize;

use super::{
    ConfigError,
    grants::{GrantSection, NO_ISSUER, is_issuer, resolve_grants},
    layers::{Layers, secret},
};
use crate::auth::OidcSettings;

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

const LONGEST_NAME: usize = 40;
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
        return Err(invalid("issuer", NO_ISSUER));
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
    let grants = resolve_grants(&section.grants).map_err(|(setting, problem)| invalid(&setting, problem))?;
    Ok(OidcSettings {
        name,
        issuer: section.issuer.clone(),
        client_id: section.client_id.clone(),
        client_secret: client_secret(section, layers)?,
        // The library asks for it by itself.
        scopes: scopes.into_iter().filter(|scope| scope != "openid").collect(),
        grants,
        session: Duration::from_secs(hours * 3600),
    })
}

fn client_secret(section: &OidcSection, layers: &Layers<'_>) -> Result<Option<SecretString>, ConfigError> {
    let setting = "dashboard.oidc.client_secret";
    let variables = ["HAULIER_OIDC_CLIENT_SECRET", "HAULIER_OIDC_CLIENT_SECRET_FILE"];
    let given = layers.secret(setting, variables, &section.client_secret, &section.client_secret_file)?;
    Ok(given.map(|given| given.read(setting)).transpose()?.map(|given| given.value))
}
