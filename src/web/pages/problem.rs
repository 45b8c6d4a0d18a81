//! What went wrong, for people.

use askama::Template;

use super::Theme;
use crate::web::Assets;

/// An error as a page.
#[derive(Debug, Template)]
#[template(path = "problem.html")]
pub struct ProblemPage {
    /// Light or dark.
    pub theme: Theme,
    /// Addresses of style sheet, script and icon.
    pub assets: Assets,
    /// The HTTP status.
    pub status: u16,
    /// The status in words.
    pub title: String,
    /// What to do.
    pub detail: String,
}
