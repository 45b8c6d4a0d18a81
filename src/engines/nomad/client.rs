//! One Nomad agent over HTTP, and what its refusals mean. It tells most of them by their text alone.

use std::time::Duration;

use reqwest::{Client as Http, Method, RequestBuilder, Response, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{operation::Operation, rights::Rights};
use crate::engines::{EngineError, EngineErrorKind as Kind, Persistence};

/// For answers that the servers give from memory.
pub(super) const QUICK: Duration = Duration::from_secs(30);
/// More than any answer about one workload has.
const LARGEST: usize = 64 << 20;
/// As much of a refusal as anybody reads.
const WORDS: usize = 2000;

/// An agent, with what every request to it carries.
pub(super) struct Client {
    http: Http,
    address: String,
    token: Option<SecretString>,
    namespace: Option<String>,
    region: Option<String>,
    /// What its refusals teach, and the probe.
    pub(super) rights: Rights,
}

impl Client {
    pub(super) fn new(
        http: Http,
        address: &str,
        token: Option<SecretString>,
        namespace: Option<String>,
        region: Option<String>,
    ) -> Self {
        let address = address.trim_end_matches('/').to_owned();
        Self { http, address, token, namespace, region, rights: Rights::default() }
    }

    pub(super) fn address(&self) -> &str {
        &self.address
    }

    pub(super) const fn has_token(&self) -> bool {
        self.token.is_some()
    }

    /// The namespace that requests are about: an agent's own is always the same.
    pub(super) fn namespace(&self) -> &str {
        self.namespace.as_deref().unwrap_or("default")
    }

    /// A request that is not sent yet.
    pub(super) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let mut request = self.http.request(method, format!("{}{path}", self.address));
        if let Some(token) = &self.token {
            request = request.header("X-Nomad-Token", token.expose_secret());
        }
        for (name, value) in [("namespace", &self.namespace), ("region", &self.region)] {
            if let Some(value) = value {
                request = request.query(&[(name, value)]);
            }
        }
        request
    }

    /// What is there; `None` when there is no such thing.
    pub(super) async fn get<T: DeserializeOwned>(
        &self,
        operation: Operation,
        path: &str,
    ) -> Result<Option<T>, EngineError> {
        let response = self.send(operation, self.request(Method::GET, path).timeout(QUICK)).await;
        match response {
            Ok(response) => json(operation.name, response).await.map(Some),
            Err(Refusal { status: Some(StatusCode::NOT_FOUND), .. }) => Ok(None),
            Err(refusal) => Err(refusal.error),
        }
    }

    /// Asks for something to be done.
    pub(super) async fn call(
        &self,
        operation: Operation,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<(), Refusal> {
        let mut request = self.request(method, path).timeout(QUICK);
        if let Some(body) = body {
            request = request.json(body);
        }
        self.send(operation, request).await.map(drop)
    }

    /// Sends it; any answer but success is a refusal.
    pub(super) async fn send(&self, operation: Operation, request: RequestBuilder) -> Result<Response, Refusal> {
        let answer = send(operation, request).await;
        if answer.as_ref().is_err_and(Refusal::is_of_the_token) {
            self.rights.learn(operation.needs, Some(false));
        }
        answer
    }
}

/// An answer that is not success, or none at all.
#[derive(Debug)]
pub(super) struct Refusal {
    /// `None` when there was no answer.
    pub(super) status: Option<StatusCode>,
    /// The server's words.
    pub(super) words: String,
    pub(super) error: EngineError,
}

impl Refusal {
    /// Whether the agent does not know the token, or its policy does not allow this.
    pub(super) fn is_of_the_token(&self) -> bool {
        self.error.kind == Kind::Unauthorized
    }
}

impl From<Refusal> for EngineError {
    fn from(refusal: Refusal) -> Self {
        refusal.error
    }
}

async fn send(operation: Operation, request: RequestBuilder) -> Result<Response, Refusal> {
    let response = request.send().await.map_err(|error| unreachable(operation.name, error))?;
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let body = bytes(response, WORDS).await.unwrap_or_default();
    let words = String::from_utf8_lossy(&body).trim().to_owned();
    let (kind, persistence, advice) = meaning(status, &words);
    let needs = match kind {
        // Newer servers say the same of a token that they do not know and of one that may not do this.
        Kind::Unauthorized => format!(", and that its policy allows {}", operation.needs),
        _ => String::new(),
    };
    // Lists of errors have a line for each.
    let line = words.split_whitespace().collect::<Vec<_>>().join(" ");
    let error = EngineError::new(kind, persistence, operation.name, format!("{line} ({status}){advice}{needs}"));
    Err(Refusal { status: Some(status), words, error })
}

fn unreachable(operation: &'static str, error: reqwest::Error) -> Refusal {
    let error = error.without_url();
    let text = format!("{} (does the agent run, and is its address right?)", crate::with_causes(&error));
    let error = EngineError::new(Kind::Unreachable, Persistence::Unreachable, operation, text).caused_by(error);
    Refusal { status: None, words: String::new(), error }
}

fn meaning(status: StatusCode, words: &str) -> (Kind, Persistence, &'static str) {
    let says = |needles: &[&str]| needles.iter().any(|needle| words.contains(needle));
    match status.as_u16() {
        403 if says(&["disabled by the scheduler configuration"]) => (
            Kind::NoCapacity,
            Persistence::Temporary,
            ": allow it with `nomad operator scheduler set-config -reject-job-registration=false`",
        ),
        403 => (Kind::Unauthorized, Persistence::Permanent, ": check the token"),
        // Whoever may not read output is told so with a 500.
        500 if words == "Permission denied" || says(&["acl token lookup failed"]) => {
            (Kind::Unauthorized, Persistence::Permanent, ": check the token")
        }
        500 if says(&["No cluster leader", "rpc error", "connection refused", "i/o timeout", "Unknown node"]) => {
            (Kind::Unreachable, Persistence::Unreachable, ": is the cluster up?")
        }
        429 | 502..=504 => (Kind::Unreachable, Persistence::Unreachable, ": is the cluster up?"),
        500 if says(&["error occurred", "errors occurred", "nonexistent namespace", "No path to region"]) => {
            (Kind::Rejected, Persistence::Permanent, ": check the job and the engine's settings")
        }
        400 | 413 => (Kind::Rejected, Persistence::Permanent, ": check the job and the engine's settings"),
        _ => (Kind::Internal, Persistence::Temporary, ""),
    }
}

async fn json<T: DeserializeOwned>(operation: &'static str, response: Response) -> Result<T, EngineError> {
    let body = bytes(response, LARGEST).await.map_err(|error| unreachable(operation, error).error)?;
    serde_json::from_slice(&body).map_err(|error| {
        let text = format!("the answer cannot be read ({error}): is this a Nomad agent?");
        EngineError::new(Kind::Internal, Persistence::Temporary, operation, text).caused_by(error)
    })
}

/// The body, up to so many bytes.
async fn bytes(mut response: Response, limit: usize) -> Result<Vec<u8>, reqwest::Error> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        let room = limit - body.len();
        body.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if chunk.len() >= room {
            break;
        }
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_told_apart_by_their_text() {
        use Persistence::{Permanent, Temporary, Unreachable};
        for (status, words, expected) in [
            (403, "Permission denied", (Kind::Unauthorized, Permanent)),
            (403, "ACL token not found", (Kind::Unauthorized, Permanent)),
            (500, "acl token lookup failed: index error: UUID must be 36 characters", (Kind::Unauthorized, Permanent)),
            (500, "Permission denied", (Kind::Unauthorized, Permanent)),
            (
                403,
                "Job registration, dispatch, and scale are disabled by the scheduler configuration",
                (Kind::NoCapacity, Temporary),
            ),
            (500, "1 error occurred:\n\t* Job ID contains a space\n\n", (Kind::Rejected, Permanent)),
            (500, "job \"ns\" is in nonexistent namespace \"nope\"", (Kind::Rejected, Permanent)),
            (500, "No cluster leader", (Kind::Unreachable, Unreachable)),
            (503, "", (Kind::Unreachable, Unreachable)),
            (500, "what is this", (Kind::Internal, Temporary)),
        ] {
            let (kind, persistence, _) = meaning(StatusCode::from_u16(status).unwrap(), words);
            assert_eq!((kind, persistence), expected, "{status} {words}");
        }
    }
}
