//! What names an image.

use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

use oci_client::Reference;

use crate::engines::{EngineError, EngineErrorKind, Persistence};

/// The ways to name an image on this machine, as skopeo and Podman write them.
const LOCAL: [&str; 3] = ["oci", "oci-archive", "docker-archive"];

/// A name that an image can be had by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageReference {
    /// In a registry: `busybox`, `ghcr.io/team/load:1`, `…@sha256:…`.
    Registry(Reference),
    /// On this machine: `oci:/dir`, `oci-archive:/file.tar`, `docker-archive:/file.tar`.
    Local {
        /// What comes before the colon.
        transport: &'static str,
        /// An absolute path.
        path: PathBuf,
    },
}

impl FromStr for ImageReference {
    type Err = EngineError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = |detail: String| {
            EngineError::new(EngineErrorKind::ImageInvalid, Persistence::Permanent, "read the image's name", detail)
        };
        if let Some((transport, path)) = text.split_once(':')
            && let Some(transport) = LOCAL.into_iter().find(|known| *known == transport)
        {
            let path = Path::new(path);
            return if path.is_absolute() {
                Ok(Self::Local { transport, path: path.to_owned() })
            } else {
                Err(invalid(format!("{text:?} needs an absolute path, like {transport}:/srv/images/load")))
            };
        }
        text.parse()
            .map(Self::Registry)
            .map_err(|error| invalid(format!("{text:?} names no image: {error}: write it like ghcr.io/team/load:1")))
    }
}

impl fmt::Display for ImageReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registry(reference) => f.write_str(&reference.whole()),
            Self::Local { transport, path } => write!(f, "{transport}:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_docker_and_skopeo_read_them() {
        for (text, full) in [
            ("busybox", "docker.io/library/busybox:latest"),
            ("team/load:1", "docker.io/team/load:1"),
            ("127.0.0.1:5000/x/y:2", "127.0.0.1:5000/x/y:2"),
            ("oci:/srv/layout", "oci:/srv/layout"),
            ("docker-archive:/srv/a.tar", "docker-archive:/srv/a.tar"),
        ] {
            assert_eq!(text.parse::<ImageReference>().unwrap().to_string(), full);
        }
        for text in ["UPPER//case::", "", "oci:relative", "oci-archive:"] {
            let error = text.parse::<ImageReference>().unwrap_err();
            assert_eq!(error.kind, EngineErrorKind::ImageInvalid, "{text}");
        }
    }
}
