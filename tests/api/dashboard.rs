//! The dashboard over HTTP, as a browser without JavaScript sees it. What needs a browser is in `tests/web`.

pub mod browser;
mod forms;
mod markup;
mod pages;
mod sessions;
mod single_sign_on;
