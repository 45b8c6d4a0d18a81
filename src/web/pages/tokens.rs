//! Tokens.

use askama::Template;

use super::Shell;
use crate::{domain::TokenId, web::format::Ago};

/// The project's tokens.
#[derive(Debug, Template)]
#[template(path = "tokens.html")]
pub struct TokensPage {
    /// What stands around it.
    pub shell: Shell,
    /// The newest first.
    pub tokens: Vec<TokenRow>,
    /// Where the next page begins.
    pub next: Option<String>,
    /// The token that was just made.
    pub made: Option<NewToken>,
    /// What was wrong with what was sent.
    pub errors: Vec<String>,
}

/// The only time that a token's secret is shown.
#[derive(Clone)]
pub struct NewToken {
    /// Its name.
    pub name: String,
    /// What clients send.
    pub secret: String,
}

impl std::fmt::Debug for NewToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewToken").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A token in the list.
#[derive(Debug, Clone)]
pub struct TokenRow {
    /// Its id.
    pub id: TokenId,
    /// Its name.
    pub name: String,
    /// What it may do.
    pub scopes: Vec<&'static str>,
    /// How many jobs it is bound to; 0 = none.
    pub jobs: usize,
    /// When it was made.
    pub created: Ago,
    /// When it stops working.
    pub expires: Option<Ago>,
    /// Whether it works.
    pub valid: bool,
    /// Whether it is the one that is signed in.
    pub own: bool,
}
