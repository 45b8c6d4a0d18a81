//! The dashboard: pages made on the server, which work without JavaScript and follow what happens with it.
//!
//! A page reads what the API reads and changes what the API changes, through the same functions: what a token may not
//! do, the dashboard refuses in the same words. `pages` is what is shown and knows nothing of where it comes from;
//! `routes` gets it; `plots` draws.
//!
//! **Architecture Invariant:** no markup ever comes from data. Templates escape whatever they write, plots are made of
//! numbers, the script sets text alone, and the content security policy lets nothing else run.

mod activity;
mod assets;
mod cookies;
mod format;
mod forms;
mod pages;
mod plots;
mod refusal;
mod routes;
mod visitor;

use std::{any::Any, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{DefaultBodyLimit, FromRef},
    http::{HeaderMap, HeaderName, HeaderValue, Uri, header},
    response::IntoResponse,
    routing::{get, post},
};
use tower_http::{catch_panic::CatchPanicLayer, set_header::SetResponseHeaderLayer};

pub(crate) use assets::Assets;

use crate::api::{Api, Problem};
use activity::Hours;
use refusal::Refusal;

/// What pages may do: show our own style, icon and script, ask and post to us, be shown in no frame.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; \
                      form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
/// The largest form, in bytes: parameters may have 256 KiB, and more as a form writes them.
const LARGEST_FORM: usize = 1 << 20;
/// How often a silent stream shows that it lives.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// What handlers need. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Web {
    api: Api,
    hours: Arc<Hours>,
}

impl FromRef<Web> for Api {
    fn from_ref(web: &Web) -> Self {
        web.api.clone()
    }
}

/// All pages.
pub fn router(api: &Api) -> Router {
    let pages = Router::new()
        .route("/", get(routes::overview::show))
        .route("/sign-in", get(routes::sign_in::show).post(routes::sign_in::enter))
        .route("/sign-in/oidc", get(routes::oidc::depart))
        .route(routes::oidc::RETURN, get(routes::oidc::arrive))
        .route("/sign-out", post(routes::sign_in::leave))
        .route("/project", post(routes::sign_in::choose_project))
        .route("/theme", post(routes::sign_in::choose_theme))
        .route("/jobs", get(routes::jobs::list))
        .route("/jobs/{job}", get(routes::job::show))
        .route("/jobs/{job}/configuration", get(routes::job::configuration))
        .route("/jobs/{job}/revisions", get(routes::revisions::show))
        .route("/jobs/{job}/state", get(routes::job::state))
        .route("/jobs/{job}/trigger", get(routes::trigger::form).post(routes::trigger::trigger))
        .route("/runs", get(routes::runs::list))
        .route("/runs/{run}", get(routes::run::show))
        .route("/runs/{run}/cancel", post(routes::run::cancel))
        .route("/runs/{run}/retry", post(routes::run::retry))
        .route("/runs/{run}/log", get(routes::log::download))
        .route("/runs/{run}/log/stream", get(routes::log::stream))
        .route("/limits", get(routes::limits::list).post(routes::limits::set))
        .route("/limits/{name}", get(routes::limits::show))
        .route("/engines", get(routes::engines::list))
        .route("/notices", get(routes::notices::list))
        .route("/notices/{notice}/acknowledge", post(routes::notices::acknowledge))
        .route("/tokens", get(routes::tokens::list).post(routes::tokens::create))
        .route("/tokens/{token}/revoke", post(routes::tokens::revoke))
        .route("/audit", get(routes::audit::list))
        .route("/live", get(routes::live::changes))
        .layer(header(header::CACHE_CONTROL, "no-store"))
        .route("/assets/{file}", get(assets::serve));
    guarded(pages)
        .layer(DefaultBodyLimit::max(LARGEST_FORM))
        .layer(CatchPanicLayer::custom(|_: Box<dyn Any + Send>| {
            Refusal::from(Problem::internal(&std::io::Error::other("a page panicked"))).into_response()
        }))
        .with_state(Web { api: api.clone(), hours: Arc::default() })
}

/// What answers where there is nothing: a page to a browser, a problem to all else.
pub fn no_route() -> Router {
    guarded(Router::new().fallback(async |uri: Uri, headers: HeaderMap| {
        let wants = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
        // A browser that is led to the API by its address bar sees what a client sees.
        match wants.contains("text/html") && !uri.path().starts_with("/api/") {
            true => Refusal::from(Problem::no_page()).into_response(),
            false => Problem::no_route().into_response(),
        }
    }))
}

/// With the headers that hold a browser to what pages may do.
fn guarded<S: Clone + Send + Sync + 'static>(pages: Router<S>) -> Router<S> {
    pages
        .layer(header(header::CONTENT_SECURITY_POLICY, POLICY))
        .layer(header(header::REFERRER_POLICY, "same-origin"))
        .layer(header(header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .layer(header(header::X_FRAME_OPTIONS, "DENY"))
}

fn header(name: HeaderName, value: &'static str) -> SetResponseHeaderLayer<HeaderValue> {
    SetResponseHeaderLayer::overriding(name, HeaderValue::from_static(value))
}

/// Text as a value of a query.
fn query_escape(text: &str) -> impl std::fmt::Display + '_ {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC)
}
