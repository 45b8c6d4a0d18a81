//! Identifiers. All are UUID version 7, so they sort by the time they were made.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use ulid::Ulid;
use utoipa::ToSchema;
use uuid::Uuid;

/// The text is not an identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("this is not an id: use the 36 characters the service gave, like 01890a5d-ac96-774b-bcce-b302099a8057")]
pub struct ParseIdError;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl $name {
            /// A new identifier, greater than all made before it on this machine.
            #[must_use]
            pub fn generate() -> Self {
                Self(Uuid::now_v7())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.hyphenated().fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0.hyphenated())
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;
            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                // Only the one canonical form: braces, URNs and bare hex would make two names for one thing.
                if text.len() != 36 {
                    return Err(ParseIdError);
                }
                Uuid::try_parse(text).map(Self).map_err(|_| ParseIdError)
            }
        }
    };
}

id!(
    /// Names a project (a tenant).
    ProjectId
);
id!(
    /// Names a job.
    JobId
);
id!(
    /// Names a run.
    RunId
);
id!(
    /// Names a shared limit.
    LimitId
);
id!(
    /// Names a notice.
    NoticeId
);
id!(
    /// Names a channel that notices are sent to.
    ChannelId
);
id!(
    /// Names a token; not secret.
    TokenId
);
id!(
    /// Names this installation (one database). Engines carry it as the owner label, so that two installations can
    /// share one engine without touching each other's workloads.
    InstallationId
);

/// One launch of a run: the run and the attempt's number, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AttemptId {
    /// The run.
    pub run: RunId,
    /// From 1; grows with each retry and each slice.
    pub number: u32,
}

impl AttemptId {
    /// The attempt's name on every engine.
    #[must_use]
    pub fn workload_name(self) -> WorkloadName {
        WorkloadName(format!("r-{}-a{}", Ulid::from(self.run.0).to_string().to_lowercase(), self.number))
    }
}

impl fmt::Display for AttemptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.run, self.number)
    }
}

/// What an attempt is called on its engine: `r-<26 characters of lower-case ULID>-a<attempt>`.
///
/// A pure function of the [`AttemptId`], so that it is known before the engine is asked, and asking twice cannot make
/// two workloads. Short enough (at most 40 characters) and plain enough for every engine's naming rules.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WorkloadName(String);

impl WorkloadName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Reads the attempt back out of a name; `None` when the name is not one of ours.
    #[must_use]
    pub fn attempt(name: &str) -> Option<AttemptId> {
        let (ulid, number) = name.strip_prefix("r-")?.split_once("-a")?;
        let run = RunId(Ulid::from_string(ulid).ok()?.into());
        let number = number.parse().ok()?;
        let id = AttemptId { run, number };
        (id.workload_name().as_str() == name).then_some(id)
    }
}

impl fmt::Display for WorkloadName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workload_name_is_short_and_reads_back() {
        let id = AttemptId { run: RunId::generate(), number: 12 };
        let name = id.workload_name();
        assert!(name.as_str().len() <= 63);
        assert!(name.as_str().chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'));
        assert_eq!(WorkloadName::attempt(name.as_str()), Some(id));
    }

    #[test]
    fn foreign_names_are_not_ours() {
        for name in
            ["", "r-", "web-1", "r-01h-a1", "R-01ARZ3NDEKTSV4RRFFQ69G5FAV-a1", "r-01arz3ndektsv4rrffq69g5fav-a01"]
        {
            assert_eq!(WorkloadName::attempt(name), None, "{name}");
        }
    }

    #[test]
    fn ids_have_one_form() {
        let id = RunId::generate();
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(format!("{{{id}}}").parse::<RunId>(), Err(ParseIdError));
        assert_eq!(id.0.simple().to_string().parse::<RunId>(), Err(ParseIdError));
    }
}
