//! One daemon behind bollard: connected when first needed, and anew after it was away.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use bollard::{API_DEFAULT_VERSION, BollardRequest, Docker, errors::Error, models::ContainerInspectResponse};
use tokio::time::{sleep, timeout};

use super::errors;
use crate::engines::{EngineError, EngineErrorKind, Persistence};

/// For answers that the daemon gives from memory, or after it has finished what it is doing with the container.
pub(super) const QUICK: Duration = Duration::from_secs(30);
/// For work like creating and starting.
pub(super) const SLOW: Duration = Duration::from_secs(120);

#[derive(Debug)]
pub(super) struct Client {
    address: String,
    /// `None` until the daemon has answered, and again after it has not.
    docker: Mutex<Option<Docker>>,
}

impl Client {
    pub(super) fn new(address: String) -> Result<Self, EngineError> {
        if ["unix://", "tcp://", "http://"].iter().any(|scheme| address.starts_with(scheme)) {
            return Ok(Self { address, docker: Mutex::new(None) });
        }
        Err(EngineError::new(
            EngineErrorKind::Unsupported,
            Persistence::Permanent,
            "connect to the daemon",
            format!("`{address}` is no address for it: write unix:///path, tcp://host:port or http://host:port"),
        ))
    }

    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// Makes one request, in at most this time, answer's body included.
    pub(super) async fn call<T, R>(&self, limit: Duration, request: impl FnOnce(Docker) -> R) -> Result<T, Error>
    where
        R: Future<Output = Result<T, Error>>,
    {
        let answer = timeout(limit, async { request(self.docker(limit).await?).await }).await;
        let answer = answer.unwrap_or(Err(Error::RequestTimeoutError));
        if answer.as_ref().is_err_and(errors::is_unreachable) {
            *self.slot() = None;
        }
        answer
    }

    /// A client whose requests get their first answer within this time. For streams; everything else uses
    /// [`call`](Self::call).
    pub(super) async fn docker(&self, limit: Duration) -> Result<Docker, Error> {
        let known = self.slot().clone();
        let docker = if let Some(docker) = known {
            docker
        } else {
            let docker = self.dial()?.with_timeout(QUICK).negotiate_version().await?;
            *self.slot() = Some(docker.clone());
            docker
        };
        Ok(docker.with_timeout(limit))
    }

    /// Everything about one container; `None` when the daemon has none.
    pub(super) async fn inspect(&self, container: &str) -> Result<Option<ContainerInspectResponse>, Error> {
        let mut tries = 0;
        loop {
            match self.call(QUICK, |docker| async move { docker.inspect_container(container, None).await }).await {
                Ok(found) => return Ok(Some(found)),
                Err(error) if errors::status(&error) == Some(404) => return Ok(None),
                // Podman names states that Docker does not have, all of them brief.
                Err(Error::JsonDataError { .. }) if tries < 40 => {
                    tries += 1;
                    sleep(Duration::from_millis(50)).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn dial(&self) -> Result<Docker, Error> {
        let docker = if self.address.starts_with("unix://") {
            Docker::connect_with_unix(&self.address, QUICK.as_secs(), API_DEFAULT_VERSION)
        } else {
            Docker::connect_with_http(&self.address, QUICK.as_secs(), API_DEFAULT_VERSION)
        };
        docker.map(|docker| docker.with_request_modifier(url_safe_login))
    }

    fn slot(&self) -> std::sync::MutexGuard<'_, Option<Docker>> {
        self.docker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The daemon reads the login as URL-safe base64 and takes it for none when it cannot; bollard writes the other
/// alphabet.
fn url_safe_login(mut request: BollardRequest) -> BollardRequest {
    if let Some(login) = request.headers_mut().get_mut("x-registry-auth") {
        let text = login.to_str().unwrap_or_default().replace('+', "-").replace('/', "_");
        if let Ok(value) = text.parse() {
            *login = value;
            login.set_sensitive(true);
        }
    }
    request
}
