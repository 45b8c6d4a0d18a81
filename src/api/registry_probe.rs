//! Asking registries that people name: within the policy on where the service may connect to, and in bounded time.
//!
//! Engines pull by other ways, which their own networks bound; what is asked here is asked from where the service runs.

use std::time::Duration;

use reqwest::{Client, Method, RequestBuilder, Response, StatusCode, Url, header};
use secrecy::ExposeSecret;
use serde::Deserialize;
use tokio::time::timeout;

use super::Problem;
use crate::{
    callbacks::{TargetPolicy, http_client},
    engines::images::is_digest,
    outgoing,
    registry::{Login, is_loopback},
};

/// The longest that one question may take, with all that it takes to log in.
const LIMIT: Duration = Duration::from_secs(20);
/// The longest token or list of a registry that is read, in bytes.
const LONGEST_ANSWER: usize = 64 * 1024;
/// The kinds of manifests that engines run.
const MANIFESTS: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
                         application/vnd.docker.distribution.manifest.list.v2+json, \
                         application/vnd.docker.distribution.manifest.v2+json";

/// Asks registries.
#[derive(Debug)]
pub(super) struct RegistryProbe {
    http: Client,
    policy: TargetPolicy,
}

/// Why a registry does not answer as wished.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ProbeError {
    /// The policy does not let the service connect to it.
    NotAllowed(String),
    /// The login is wrong, or there is none.
    Refused(String),
    /// It shows no certificate that is trusted.
    Tls(String),
    /// It cannot be reached.
    Unreachable(String),
    /// It answers, but not as a registry.
    Odd(String),
    /// It has no such image.
    NoImage(String),
}

impl ProbeError {
    /// As an answer about this field, with a code for programs.
    pub(super) fn problem(self, pointer: &str, way_out: &str) -> Problem {
        let (code, detail) = match self {
            Self::NotAllowed(detail) => ("registry_not_allowed", detail),
            Self::Refused(detail) => ("registry_login_refused", detail),
            Self::Tls(detail) => ("registry_tls", detail),
            Self::Unreachable(detail) => ("registry_unreachable", detail),
            Self::Odd(detail) => ("registry_odd", detail),
            Self::NoImage(detail) => ("image_not_found", detail),
        };
        Problem { code: code.to_owned(), ..Problem::invalid_field(pointer, format!("{detail}{way_out}")) }
    }
}

impl RegistryProbe {
    /// Within this policy.
    ///
    /// # Errors
    /// TLS cannot be set up.
    pub(super) fn new(policy: TargetPolicy) -> Result<Self, reqwest::Error> {
        Ok(Self { http: http_client(&policy)?, policy })
    }

    /// Logs in.
    pub(super) async fn check(&self, server: &str, login: &Login) -> Result<(), ProbeError> {
        let url = self.permitted(&format!("{}/v2/", base(server)))?;
        let work = async {
            let answer = self.send(server, self.http.get(url.clone())).await?;
            let answer = match answer.status() {
                StatusCode::UNAUTHORIZED => {
                    let request = self.http.get(url.clone());
                    let request = self.authorised(server, &answer, Some(login), None, request).await?;
                    self.send(server, request).await?
                }
                _ => answer,
            };
            match answer.status() {
                status if status.is_success() => Ok(()),
                StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(wrong_login(server)),
                status => Err(odd(server, status)),
            }
        };
        timeout(LIMIT, work).await.unwrap_or_else(|_| Err(too_slow(server)))
    }

    /// The digest that a tag means now.
    pub(super) async fn digest(
        &self,
        image: &oci_client::Reference,
        login: Option<&Login>,
    ) -> Result<String, ProbeError> {
        let server = image.resolve_registry();
        let (repository, tag) = (image.repository(), image.tag().unwrap_or("latest"));
        let url = self.permitted(&format!("{}/v2/{repository}/manifests/{tag}", base(server)))?;
        let ask = || self.http.request(Method::HEAD, url.clone()).header(header::ACCEPT, MANIFESTS);
        let work = async {
            let answer = self.send(server, ask()).await?;
            let answer = match answer.status() {
                StatusCode::UNAUTHORIZED => {
                    let scope = format!("repository:{repository}:pull");
                    let request = self.authorised(server, &answer, login, Some(&scope), ask()).await?;
                    self.send(server, request).await?
                }
                _ => answer,
            };
            match answer.status() {
                StatusCode::NOT_FOUND => Err(ProbeError::NoImage(format!("{image} is not in its registry"))),
                StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN if login.is_some() => Err(wrong_login(server)),
                StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                    let detail = format!("the registry {server} wants a login, and the project has none for it");
                    Err(ProbeError::Refused(detail))
                }
                status if status.is_success() => {
                    let digest = answer.headers().get("docker-content-digest").and_then(|value| value.to_str().ok());
                    digest.filter(|digest| is_digest(digest)).map(str::to_owned).ok_or_else(|| odd(server, status))
                }
                status => Err(odd(server, status)),
            }
        };
        timeout(LIMIT, work).await.unwrap_or_else(|_| Err(too_slow(server)))
    }

    /// The address, if the service may connect there. A name is judged when it is looked up.
    fn permitted(&self, url: &str) -> Result<Url, ProbeError> {
        self.policy.check(url).map_err(ProbeError::NotAllowed)
    }

    /// The request again, with what the registry's challenge asks for.
    async fn authorised(
        &self,
        server: &str,
        challenge: &Response,
        login: Option<&Login>,
        scope: Option<&str>,
        request: RequestBuilder,
    ) -> Result<RequestBuilder, ProbeError> {
        let challenge = challenge.headers().get(header::WWW_AUTHENTICATE).and_then(|value| value.to_str().ok());
        let (scheme, rest) = challenge.and_then(|text| text.split_once(' ')).unwrap_or_default();
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Ok(with_login(request, login));
        }
        let field = |name: &str| {
            let (_, rest) = rest.split_once(&format!("{name}=\""))?;
            rest.split_once('"').map(|(value, _)| value)
        };
        let realm = field("realm").ok_or_else(|| odd(server, StatusCode::UNAUTHORIZED))?;
        let mut url = self.permitted(realm)?;
        for (name, value) in [("service", field("service")), ("scope", scope)] {
            if let Some(value) = value {
                url.query_pairs_mut().append_pair(name, value);
            }
        }
        let mut answer = self.send(server, with_login(self.http.get(url), login)).await?;
        let status = answer.status();
        if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            return Err(wrong_login(server));
        }
        if !status.is_success() {
            return Err(odd(server, status));
        }
        let bytes =
            outgoing::body(&mut answer, LONGEST_ANSWER).await.ok().flatten().ok_or_else(|| odd(server, status))?;
        let token: Token = serde_json::from_slice(&bytes).map_err(|_| odd(server, status))?;
        let token = token.token.or(token.access_token).ok_or_else(|| odd(server, status))?;
        Ok(request.bearer_auth(token))
    }

    async fn send(&self, server: &str, request: RequestBuilder) -> Result<Response, ProbeError> {
        request.send().await.map_err(|error| {
            let why = crate::with_causes(&error.without_url());
            if let Some(at) = why.find(TargetPolicy::REFUSAL) {
                let begin = why[..at].rfind(": ").map_or(0, |before| before + 2);
                ProbeError::NotAllowed(format!("{server}: {}", &why[begin..]))
            } else if why.contains("certificate") || why.contains("InvalidContentType") {
                ProbeError::Tls(format!(
                    "the registry {server} has no certificate that is trusted: give it one, or add its authority to this \
                     machine ({why})"
                ))
            } else {
                ProbeError::Unreachable(format!("the registry {server} cannot be reached: {why}"))
            }
        })
    }
}

/// What a token service answers; both names are in use.
#[derive(Deserialize)]
struct Token {
    token: Option<String>,
    access_token: Option<String>,
}

fn base(server: &str) -> String {
    format!("{}://{server}", if is_loopback(server) { "http" } else { "https" })
}

fn with_login(request: RequestBuilder, login: Option<&Login>) -> RequestBuilder {
    match login {
        Some(login) => request.basic_auth(&login.username, Some(login.password.expose_secret())),
        None => request,
    }
}

fn wrong_login(server: &str) -> ProbeError {
    ProbeError::Refused(format!("the registry {server} refuses this login: check user name and password"))
}

fn odd(server: &str, status: StatusCode) -> ProbeError {
    ProbeError::Odd(format!("{server} does not answer as a registry does (status {}): check the host", status.as_u16()))
}

fn too_slow(server: &str) -> ProbeError {
    ProbeError::Unreachable(format!("the registry {server} did not answer within {} s", LIMIT.as_secs()))
}
