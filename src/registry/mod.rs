//! Container registries, as Haulier itself speaks to them: to look things up, and to push.

use std::{fmt, time::Duration};

use oci_client::{
    Client, Reference, RegistryOperation,
    client::{ClientConfig, ClientProtocol},
    errors::{OciDistributionError, OciErrorCode},
    secrets::RegistryAuth,
};
use secrecy::{ExposeSecret, SecretString};
use tokio::time::timeout;

const CONNECT: Duration = Duration::from_secs(10);
/// The longest silence of a registry.
const SILENCE: Duration = Duration::from_secs(60);
/// The longest time for a look-up.
const QUICK: Duration = Duration::from_secs(30);

/// Who asks a registry.
#[derive(Clone)]
pub struct Login {
    /// User name.
    pub username: String,
    /// Password or token.
    pub password: SecretString,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("username", &self.username).finish_non_exhaustive()
    }
}

/// Why a registry does not do what it is asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RegistryError {
    /// It wants a login, or another one.
    #[error("the registry {server} refuses: {}", if *.had_login { "the login is wrong, or may not do this" } else { "it wants a login, and there is none for it" })]
    Unauthorized {
        /// Which.
        server: String,
        /// Whether there was one.
        had_login: bool,
    },
    /// It has no such image.
    #[error("{0} is not in its registry, or is not for this kind of machine: check name and tag")]
    NotFound(String),
    /// It cannot be asked.
    #[error("the registry {server} cannot be reached: {reason}")]
    Unreachable {
        /// Which.
        server: String,
        /// Why.
        reason: String,
    },
    /// It answers something else.
    #[error("the registry {server} does not answer as registries do: {reason}")]
    Odd {
        /// Which.
        server: String,
        /// What.
        reason: String,
    },
}

/// A client for the registry of this image: encrypted, unless the registry is on this machine.
///
/// # Errors
/// TLS cannot be set up.
pub fn client(reference: &Reference) -> Result<Client, OciDistributionError> {
    crate::install_crypto();
    let plain = is_loopback(reference.resolve_registry());
    let config = ClientConfig {
        protocol: if plain { ClientProtocol::Http } else { ClientProtocol::Https },
        connect_timeout: Some(CONNECT),
        read_timeout: Some(SILENCE),
        user_agent: concat!("haulier/", env!("CARGO_PKG_VERSION")),
        ..ClientConfig::default()
    };
    Client::try_from(config)
}

/// A login as the client takes it.
#[must_use]
pub fn auth(login: Option<&Login>) -> RegistryAuth {
    login.map_or(RegistryAuth::Anonymous, |login| {
        RegistryAuth::Basic(login.username.clone(), login.password.expose_secret().to_owned())
    })
}

/// What registries on this machine say is not read by others on the way.
#[must_use]
pub fn is_loopback(server: &str) -> bool {
    let port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
    let host = server.rsplit_once(':').map_or(server, |(host, rest)| if port(rest) { host } else { server });
    let host = host.trim_matches(['[', ']']);
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// The registry's host in an image reference, if it names one: its first part has a dot or a colon, or is `localhost`.
#[must_use]
pub fn server_of(image: &str) -> Option<&str> {
    let (first, _) = image.split_once('/')?;
    (first.contains(['.', ':']) || first == "localhost").then_some(first)
}

/// The digest that this image's tag means now, like `sha256:1234…`.
///
/// # Errors
/// See [`RegistryError`].
pub async fn digest(reference: &Reference, login: Option<&Login>) -> Result<String, RegistryError> {
    let failed = |error: &OciDistributionError| classify(reference, login.is_some(), error);
    let client = client(reference).map_err(|error| failed(&error))?;
    let asked = timeout(QUICK, client.fetch_manifest_digest(reference, &auth(login))).await;
    asked.map_err(|_| too_slow(reference))?.map_err(|error| failed(&error))
}

/// Gives an image that is in its registry another tag.
///
/// # Errors
/// See [`RegistryError`].
pub async fn tag(reference: &Reference, tag: &str, login: Option<&Login>) -> Result<(), RegistryError> {
    use oci_client::manifest::{
        IMAGE_MANIFEST_LIST_MEDIA_TYPE, IMAGE_MANIFEST_MEDIA_TYPE, OCI_IMAGE_INDEX_MEDIA_TYPE, OCI_IMAGE_MEDIA_TYPE,
    };
    let failed = |error: &OciDistributionError| classify(reference, login.is_some(), error);
    let odd = |reason: String| RegistryError::Odd { server: reference.resolve_registry().to_owned(), reason };
    let work = async {
        let client = client(reference).map_err(|error| failed(&error))?;
        let auth = auth(login);
        let kinds = [
            OCI_IMAGE_MEDIA_TYPE,
            OCI_IMAGE_INDEX_MEDIA_TYPE,
            IMAGE_MANIFEST_MEDIA_TYPE,
            IMAGE_MANIFEST_LIST_MEDIA_TYPE,
        ];
        let (manifest, _) = client.pull_manifest_raw(reference, &auth, &kinds).await.map_err(|error| failed(&error))?;
        let head: MediaType = serde_json::from_slice(&manifest).map_err(|error| odd(error.to_string()))?;
        let kind = head.media_type.as_deref().unwrap_or(OCI_IMAGE_MEDIA_TYPE);
        let kind = kind.parse().map_err(|_| odd("its media type is none".to_owned()))?;
        client.auth(reference, &auth, RegistryOperation::Push).await.map_err(|error| failed(&error))?;
        let target =
            Reference::with_tag(reference.registry().to_owned(), reference.repository().to_owned(), tag.to_owned());
        client.push_manifest_raw(&target, manifest, kind).await.map_err(|error| failed(&error)).map(drop)
    };
    timeout(QUICK, work).await.map_err(|_| too_slow(reference))?
}

/// What a manifest says about itself.
#[derive(Debug, serde::Deserialize)]
struct MediaType {
    #[serde(rename = "mediaType")]
    media_type: Option<String>,
}

fn too_slow(reference: &Reference) -> RegistryError {
    let reason = format!("it did not answer within {} s", QUICK.as_secs());
    RegistryError::Unreachable { server: reference.resolve_registry().to_owned(), reason }
}

/// What an error of the client means.
#[must_use]
pub fn classify(reference: &Reference, had_login: bool, error: &OciDistributionError) -> RegistryError {
    use OciDistributionError as Error;
    let server = reference.resolve_registry().to_owned();
    let unauthorized = |server| RegistryError::Unauthorized { server, had_login };
    match error {
        Error::UnauthorizedError { .. } | Error::AuthenticationFailure(_) => unauthorized(server),
        Error::ServerError { code: 401 | 403, .. } => unauthorized(server),
        Error::ImageManifestNotFoundError(_) | Error::ServerError { code: 404, .. } => {
            RegistryError::NotFound(reference.to_string())
        }
        Error::RegistryError { envelope, .. } => {
            let is = |codes: &[OciErrorCode]| envelope.errors.iter().any(|error| codes.contains(&error.code));
            if is(&[OciErrorCode::Unauthorized, OciErrorCode::Denied]) {
                unauthorized(server)
            } else if is(&[
                OciErrorCode::ManifestUnknown,
                OciErrorCode::NameUnknown,
                OciErrorCode::NotFound,
                OciErrorCode::NameInvalid,
                OciErrorCode::BlobUnknown,
                OciErrorCode::ManifestBlobUnknown,
            ]) {
                RegistryError::NotFound(reference.to_string())
            } else {
                RegistryError::Odd { server, reason: envelope.to_string() }
            }
        }
        Error::RequestError(inner) if inner.status().is_some_and(|status| matches!(status.as_u16(), 401 | 403)) => {
            unauthorized(server)
        }
        Error::RequestError(_) | Error::IoError(_) => {
            RegistryError::Unreachable { server, reason: crate::with_causes(error) }
        }
        _ => RegistryError::Odd { server, reason: error.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_spoken_to_in_the_clear() {
        for registry in ["127.0.0.1:5000", "localhost:5000", "localhost", "[::1]:5000", "127.1.2.3"] {
            assert!(is_loopback(registry), "{registry}");
        }
        for registry in ["ghcr.io", "localhost.example.com", "10.0.0.1:5000", "docker.io"] {
            assert!(!is_loopback(registry), "{registry}");
        }
    }

    #[test]
    fn servers_are_told_from_paths() {
        assert_eq!(server_of("registry.example.com/a/b:1"), Some("registry.example.com"));
        assert_eq!(server_of("localhost/a"), Some("localhost"));
        assert_eq!(server_of("team/load"), None);
        assert_eq!(server_of("busybox"), None);
    }
}
