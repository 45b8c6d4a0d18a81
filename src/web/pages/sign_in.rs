//! Signing in.

use askama::Template;

use super::Theme;
use crate::web::Assets;

/// The form that asks for a token.
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
}
