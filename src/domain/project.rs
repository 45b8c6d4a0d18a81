//! Projects and the registries they may use.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, de};
use utoipa::ToSchema;

use super::{Name, ProjectId, Timestamp};

/// A tenant: owns jobs, limits, secrets and tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Project {
    /// Its id.
    pub id: ProjectId,
    /// Its name, unique in the installation.
    pub name: Name,
    /// Images its jobs may use; empty = all.
    pub images: Vec<ImagePattern>,
    /// When it was made.
    pub created_at: Timestamp,
}

impl Project {
    /// Whether the project's allow-list lets this image run.
    #[must_use]
    pub fn allows(&self, image: &str) -> bool {
        self.images.is_empty() || self.images.iter().any(|pattern| pattern.matches(image))
    }
}

/// A pattern for image references: the reference itself, or a beginning followed by `*`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(transparent)]
#[schema(value_type = String, example = "registry.example.com/data/*")]
pub struct ImagePattern(String);

impl ImagePattern {
    /// Whether the pattern covers this reference.
    #[must_use]
    pub fn matches(&self, image: &str) -> bool {
        match self.0.strip_suffix('*') {
            Some(beginning) => image.starts_with(beginning),
            // `repo` covers its tags and digests too.
            None => {
                image.strip_prefix(self.0.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with(['@', ':']))
            }
        }
    }
}

impl FromStr for ImagePattern {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let body = text.strip_suffix('*').unwrap_or(text);
        // A '*' right behind a host name would also cover `registry.example.com.evil.org/x`.
        let open_host = text.ends_with('*') && !body.contains('/');
        if body.is_empty() || body.len() > 512 || body.contains('*') || body.contains(char::is_whitespace) || open_host
        {
            return Err(
                "write an image, or a beginning that contains '/' followed by '*', like registry.example.com/data/*",
            );
        }
        Ok(Self(text.to_owned()))
    }
}

impl<'de> Deserialize<'de> for ImagePattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl fmt::Display for ImagePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A container registry that a project may log in to. Its password is sealed and never read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registry {
    /// Its name in the project.
    pub name: Name,
    /// Host, with port if any, as it stands in image references.
    pub server: String,
    /// User name for the login.
    pub username: String,
    /// When it was last set.
    pub updated_at: Timestamp,
}

impl Registry {
    /// Whether a job's image is pulled with this login: by the registry that the job names, else by the server that its
    /// image names.
    #[must_use]
    pub fn is_for(&self, named: Option<&Name>, server: Option<&str>) -> bool {
        match named {
            Some(name) => self.name == *name,
            None => Some(self.server.as_str()) == server,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_cover_what_they_say() {
        let pattern: ImagePattern = "r.example.com/data/*".parse().unwrap();
        assert!(pattern.matches("r.example.com/data/load:1"));
        assert!(!pattern.matches("r.example.com/database:1"));
        let exact: ImagePattern = "busybox".parse().unwrap();
        assert!(exact.matches("busybox") && exact.matches("busybox:1") && exact.matches("busybox@sha256:ab"));
        assert!(!exact.matches("busybox-miner"));
        for bad in ["", "*", "r.example.com*", "a b", "a/*/b"] {
            assert!(bad.parse::<ImagePattern>().is_err(), "{bad}");
        }
    }
}
