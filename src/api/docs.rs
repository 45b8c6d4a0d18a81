//! The API's own description, and the page to browse it.

use std::future::ready;

use axum::{Router, http::header::CONTENT_TYPE, routing::get};
use bytes::Bytes;
use utoipa::{
    Modify, OpenApi,
    openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
};
use utoipa_swagger_ui::{Config, SwaggerUi};

use super::Api;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Haulier",
        description = "Hand it a container image; any orchestrator can run it, watch it and trust the answer.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    modifiers(&Security),
    security(("bearer" = []), ("basic" = [])),
    components(schemas(super::Problem)),
    tags(
        (name = "jobs", description = "A registered image with its configuration"),
        (name = "runs", description = "Requested executions of a job"),
        (name = "logs", description = "What scripts wrote"),
        (name = "state", description = "A job's small JSON document, kept between runs"),
        (name = "limits", description = "How many runs may be active at once, shared by jobs"),
        (name = "monitoring", description = "Notices, what is usual for a job, and channels that notices are sent to"),
        (name = "configuration", description = "Secrets and registries"),
        (name = "administration", description = "Projects, tokens, engines, audit"),
        (name = "health", description = "For probes; without a token")
    )
)]
struct Base;

struct Security;

impl Modify for Security {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let components = document.components.get_or_insert_default();
        let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some("A token"));
        let basic =
            HttpBuilder::new().scheme(HttpAuthScheme::Basic).description(Some("Any user; the token as password"));
        components.add_security_scheme("bearer", SecurityScheme::Http(bearer.build()));
        components.add_security_scheme("basic", SecurityScheme::Http(basic.build()));
    }
}

pub(super) fn base() -> utoipa::openapi::OpenApi {
    Base::openapi()
}

/// The OpenAPI document.
#[must_use]
pub fn document() -> utoipa::openapi::OpenApi {
    super::routes().split_for_parts().1
}

pub(super) fn router() -> Router<Api> {
    // As text: that takes a sixth of the memory that the document itself does.
    let text = Bytes::from(serde_json::to_vec(&document()).expect("a description can be written as JSON"));
    let answer = move || ready(([(CONTENT_TYPE, "application/json")], text.clone()));
    Router::new()
        .route("/openapi.json", get(answer))
        .merge(SwaggerUi::new("/docs").config(Config::from("/openapi.json")))
}
