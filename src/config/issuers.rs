//! Whose tokens are believed besides our own.

use serde::Deserialize;

use super::{
    ConfigError,
    grants::{GrantSection, NO_ISSUER, is_issuer, resolve_grants},
    layers::Layers,
};
use crate::auth::TokenIssuerSettings;

/// Whose tokens are believed besides our own.
#[derive(Debug, Clone)]
pub struct IssuersConfig {
    /// Each issuer once.
    pub all: Vec<TokenIssuerSettings>,
}

/// One of `[[issuers]]` as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct IssuerSection {
    issuer: String,
    audiences: Vec<String>,
    #[serde(default)]
    grants: Vec<GrantSection>,
}

const MOST: usize = 20;

impl IssuersConfig {
    pub(super) fn resolve(layers: &Layers<'_>) -> Result<Self, ConfigError> {
        let sections = &layers.file.issuers;
        let invalid = |setting: String, problem: &str| ConfigError::invalid(setting, layers.file_origin(), problem);
        if sections.len() > MOST {
            return Err(invalid("issuers".to_owned(), "give 20 at the most"));
        }
        let mut all: Vec<TokenIssuerSettings> = Vec::new();
        for (index, section) in sections.iter().enumerate() {
            let invalid = |setting: &str, problem: &str| invalid(format!("issuers[{index}].{setting}"), problem);
            if !is_issuer(&section.issuer) {
                return Err(invalid("issuer", NO_ISSUER));
            }
            if all.iter().any(|known| known.issuer == section.issuer) {
                return Err(invalid("issuer", "it is given twice: put its audiences and grants together"));
            }
            let audiences = &section.audiences;
            if audiences.is_empty() || audiences.len() > MOST || audiences.iter().any(String::is_empty) {
                let problem = "give 1 to 20 audiences, like [\"api://haulier\"]: a token for anybody else is no token for this service";
                return Err(invalid("audiences", problem));
            }
            let grants = resolve_grants(&section.grants).map_err(|(setting, problem)| invalid(&setting, problem))?;
            let (issuer, audiences) = (section.issuer.clone(), audiences.clone());
            all.push(TokenIssuerSettings { issuer, audiences, grants });
        }
        Ok(Self { all })
    }
}
