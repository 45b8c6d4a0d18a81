//! What tokens may do, as Nomad 2.0 was seen to have it.

use axum::http::Method;

/// What a policy can allow, in Nomad's words, those for variables among them.
pub const CAPABILITIES: [&str; 8] =
    ["list-jobs", "read-job", "submit-job", "read-logs", "write", "destroy", "alloc-lifecycle", "agent"];

/// What a token may do.
#[derive(Clone)]
pub struct Allowed(Vec<String>);

impl Allowed {
    pub fn of(capabilities: &[&str]) -> Self {
        Self(capabilities.iter().map(|&capability| capability.to_owned()).collect())
    }

    pub fn includes(&self, capability: &str) -> bool {
        self.0.iter().any(|allowed| allowed == capability)
    }
}

/// What a request needs before anything about it is looked at. Some look at it first.
pub fn needs(method: &Method, path: &str) -> Option<&'static str> {
    let is = |prefix: &str| path.starts_with(prefix);
    match *method {
        Method::DELETE if is("/v1/job/") => Some("submit-job"),
        Method::POST if is("/v1/allocation/") => Some("alloc-lifecycle"),
        Method::GET if path == "/v1/jobs" => Some("list-jobs"),
        Method::GET if is("/v1/job/") || is("/v1/allocation") => Some("read-job"),
        Method::GET if is("/v1/agent/") => Some("agent"),
        _ => None,
    }
}
