//! One daemon behind bollard: connected when first needed, and anew after it was away.

use std::{
    env,
    path::Path,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use bollard::{
    API_DEFAULT_VERSION, BollardRequest, Docker,
    auth::DockerCredentials,
    errors::Error,
    models::{ContainerInspectResponse, SystemVersion},
};
use secrecy::ExposeSecret;
use tokio::time::{sleep, timeout};

use super::errors;
use crate::engines::{Credentials, EngineError, EngineErrorKind, EngineHealth, Persistence};

/// For answers that the daemon gives from memory, or after it has finished what it is doing with the container.
pub(in crate::engines) const QUICK: Duration = Duration::from_secs(30);
/// For work like creating and starting.
pub(in crate::engines) const SLOW: Duration = Duration::from_secs(120);

#[derive(Debug)]
pub(in crate::engines) struct Client {
    address: String,
    /// `None` until the daemon has answered, and again after it has not.
    docker: Mutex<Option<Docker>>,
}

impl Client {
    pub(in crate::engines) fn new(address: String) -> Result<Self, EngineError> {
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

    pub(in crate::engines) fn address(&self) -> &str {
        &self.address
    }

    /// Makes one request, in at most this time, answer's body included.
    pub(in crate::engines) async fn call<T, R>(
        &self,
        limit: Duration,
        request: impl FnOnce(Docker) -> R,
    ) -> Result<T, Error>
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
    pub(in crate::engines) async fn docker(&self, limit: Duration) -> Result<Docker, Error> {
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

    /// Whether the daemon answers, and as what.
    pub(in crate::engines) async fn health(&self) -> EngineHealth {
        match self.call(Duration::from_secs(5), |docker| async move { docker.version().await }).await {
            Ok(version) => EngineHealth { reachable: true, version: Some(describe(version)), detail: None },
            Err(error) => {
                let error = errors::classify("ask the daemon for its version", error);
                EngineHealth { reachable: false, version: None, detail: Some(error.detail) }
            }
        }
    }

    /// Everything about one container; `None` when the daemon has none.
    pub(in crate::engines) async fn inspect(&self, container: &str) -> Result<Option<ContainerInspectResponse>, Error> {
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

/// Where the daemon is when nobody says: `DOCKER_HOST`, else the first of the usual sockets that is there.
pub(in crate::engines) fn usual_address() -> String {
    let runtime = env::var("XDG_RUNTIME_DIR").unwrap_or_else(|_| "/run/user/0".to_owned());
    let usual = [
        "/var/run/docker.sock".to_owned(),
        format!("{runtime}/docker.sock"),
        format!("{runtime}/podman/podman.sock"),
        "/run/podman/podman.sock".to_owned(),
    ];
    env::var("DOCKER_HOST")
        .ok()
        .filter(|host| !host.is_empty())
        .or_else(|| usual.iter().find(|path| Path::new(path).exists()).map(|path| format!("unix://{path}")))
        .unwrap_or_else(|| "unix:///var/run/docker.sock".to_owned())
}

/// A registry's login as the daemon takes it.
pub(in crate::engines) fn login(credentials: &Credentials) -> DockerCredentials {
    DockerCredentials {
        username: Some(credentials.username.clone()),
        password: Some(credentials.password.expose_secret().to_owned()),
        serveraddress: Some(credentials.server.clone()),
        ..Default::default()
    }
}

/// Like `Docker 20.10.24 (API 1.41)`.
fn describe(version: SystemVersion) -> String {
    let podman = version.components.iter().flatten().any(|component| component.name.contains("Podman"));
    let name = if podman { "Podman" } else { "Docker" };
    let unknown = || "?".to_owned();
    let (number, api) = (version.version.unwrap_or_else(unknown), version.api_version.unwrap_or_else(unknown));
    format!("{name} {number} (API {api})")
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
