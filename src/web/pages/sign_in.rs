//! Signing in.

use askama::Template;

use super::Theme;
use crate::web::Assets;

/// The ways to sign in.
#[derive(Debug, Template)]
#[template(path = "sign_in.html")]
pub struct SignInPage {
    /// Light or dark.
    pub theme: Theme,
    /// Addresses of style sheet, script and icon.
    pub assets: Assets,
    /// Where to go afterwards.
    pub then: String,
    /// Why it did not work.
    pub error: Option<String>,
    /// The way that needs no token.
    pub single_sign_on: Option<SingleSignOn>,
}

/// Signing in at an issuer of identities.
#[derive(Debug, Clone)]
pub struct SingleSignOn {
    /// What people call it.
    pub name: String,
    /// Where it begins.
    pub href: String,
}
