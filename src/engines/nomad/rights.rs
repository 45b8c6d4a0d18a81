//! What the token's policy must allow, and what is known of it.

use std::{
    collections::HashMap,
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// One thing that a policy may allow, within the engine's namespace but for the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Capability {
    /// To see the version: nothing else needs it.
    ReadAgent,
    ListJobs,
    ReadJob,
    SubmitJob,
    ReadLogs,
    WriteVariables,
    DestroyVariables,
}

use Capability::{DestroyVariables, ListJobs, ReadAgent, ReadJob, ReadLogs, SubmitJob, WriteVariables};

/// The paths of the variables that hold secrets, as a policy names them.
const VARIABLES: &str = "nomad/jobs/r-*";

impl Capability {
    const fn word(self) -> &'static str {
        match self {
            ReadAgent => "read",
            ListJobs => "list-jobs",
            ReadJob => "read-job",
            SubmitJob => "submit-job",
            ReadLogs => "read-logs",
            WriteVariables => "write",
            DestroyVariables => "destroy",
        }
    }

    const fn is_of_variables(self) -> bool {
        matches!(self, WriteVariables | DestroyVariables)
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = self.word();
        match self {
            ReadAgent => write!(f, "`{word}` of the agent"),
            WriteVariables | DestroyVariables => write!(f, "`{word}` of the variables `{VARIABLES}`"),
            ListJobs | ReadJob | SubmitJob | ReadLogs => write!(f, "`{word}`"),
        }
    }
}

/// What the token is known to be allowed, and not to be. What was never asked for, or was refused since, is asked for
/// by the next probe.
#[derive(Debug, Default)]
pub(super) struct Rights(Mutex<HashMap<Capability, bool>>);

impl Rights {
    /// Whether it is allowed; `None` forgets it.
    pub(super) fn learn(&self, capability: Capability, allowed: Option<bool>) {
        match allowed {
            Some(allowed) => self.known().insert(capability, allowed),
            None => self.known().remove(&capability),
        };
    }

    /// Whether this is known to be allowed.
    pub(super) fn has(&self, capability: Capability) -> bool {
        self.known().get(&capability) == Some(&true)
    }

    /// Which of these are known not to be allowed.
    pub(super) fn missing(&self, of: &[Capability]) -> Vec<Capability> {
        let known = self.known();
        of.iter().copied().filter(|capability| known.get(capability) == Some(&false)).collect()
    }

    fn known(&self) -> MutexGuard<'_, HashMap<Capability, bool>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The policy that allows this in the namespace, on one line.
pub(super) fn policy(namespace: &str, capabilities: &[Capability]) -> String {
    let list = |of_variables| {
        let words: Vec<_> = capabilities
            .iter()
            .filter(|capability| capability.is_of_variables() == of_variables)
            .map(|capability| format!("\"{}\"", capability.word()))
            .collect();
        (!words.is_empty()).then(|| format!("capabilities = [{}]", words.join(", ")))
    };
    let variables = list(true).map(|list| format!("variables {{ path \"{VARIABLES}\" {{ {list} }} }}"));
    let rules: Vec<_> = list(false).into_iter().chain(variables).collect();
    format!("namespace \"{namespace}\" {{ {} }}", rules.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_refused_is_missing_until_it_is_asked_for_again() {
        let rights = Rights::default();
        assert!(!rights.has(SubmitJob) && rights.missing(&[SubmitJob]).is_empty());
        rights.learn(SubmitJob, Some(true));
        assert!(rights.has(SubmitJob));
        rights.learn(SubmitJob, Some(false));
        assert_eq!(rights.missing(&[ListJobs, SubmitJob]), [SubmitJob]);
        rights.learn(SubmitJob, None);
        assert!(!rights.has(SubmitJob) && rights.missing(&[SubmitJob]).is_empty());
    }

    #[test]
    fn a_policy_has_no_empty_parts() {
        for (capabilities, expected) in [
            (&[SubmitJob, ReadLogs][..], r#"namespace "jobs" { capabilities = ["submit-job", "read-logs"] }"#),
            (
                &[WriteVariables],
                r#"namespace "jobs" { variables { path "nomad/jobs/r-*" { capabilities = ["write"] } } }"#,
            ),
            (
                &[DestroyVariables, ListJobs],
                r#"namespace "jobs" { capabilities = ["list-jobs"] variables { path "nomad/jobs/r-*" { capabilities = ["destroy"] } } }"#,
            ),
        ] {
            assert_eq!(policy("jobs", capabilities), expected);
        }
    }
}
