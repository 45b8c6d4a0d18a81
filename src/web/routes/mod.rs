//! What each address does: one file a page.

pub(super) mod audit;
pub(super) mod engines;
pub(super) mod job;
pub(super) mod jobs;
pub(super) mod limits;
pub(super) mod live;
pub(super) mod log;
pub(super) mod notices;
pub(super) mod oidc;
pub(super) mod overview;
pub(super) mod revisions;
pub(super) mod run;
pub(super) mod runs;
pub(super) mod sign_in;
pub(super) mod tokens;
pub(super) mod trigger;

use super::{Refusal, Web, forms, pages, visitor::Visitor};

/// What a handler gives back.
type Answer = Result<axum::response::Response, Refusal>;

/// Rows of a list on one page.
const ROWS: u32 = 30;
