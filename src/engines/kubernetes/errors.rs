//! What the API server's refusals mean.

use std::error::Error as StdError;

use kube::Error;

use crate::engines::{EngineError, EngineErrorKind as Kind, Persistence};

/// The server's answer, if it gave one.
pub(super) fn status(error: &Error) -> Option<u16> {
    match error {
        Error::Api(status) => Some(status.code),
        _ => None,
    }
}

/// The server's words, or the client's with all that lies beneath.
pub(super) fn words(error: &Error) -> String {
    if let Error::Api(status) = error {
        return status.message.clone();
    }
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

/// What a failed call means.
pub(super) fn classify(operation: &'static str, error: Error) -> EngineError {
    let text = words(&error);
    let (kind, persistence, advice) = match status(&error) {
        Some(401) => (Kind::Unauthorized, Persistence::Temporary, ": renew the credentials"),
        Some(403) if text.contains("exceeded quota") => (Kind::NoCapacity, Persistence::Temporary, ""),
        Some(403) if text.contains(" cannot ") => {
            (Kind::Unauthorized, Persistence::Permanent, ": give the service account the role of rbac.yaml")
        }
        // A policy of the cluster's does not want it.
        Some(403) => (Kind::Rejected, Persistence::Permanent, ""),
        Some(404) if text.contains("namespaces") => (Kind::Rejected, Persistence::Permanent, ": make the namespace"),
        // The list went on for longer than the server remembers; the next one begins anew.
        Some(404 | 409 | 410 | 429) => (Kind::Internal, Persistence::Temporary, ""),
        Some(400 | 405 | 413 | 415 | 422) => (Kind::Rejected, Persistence::Permanent, ""),
        Some(503 | 504) => (Kind::Unreachable, Persistence::Unreachable, ""),
        Some(_) => (Kind::Internal, Persistence::Temporary, ""),
        None => match &error {
            Error::Auth(_) => (Kind::Unauthorized, Persistence::Temporary, ": see the kubeconfig's user"),
            Error::SerdeError(_) => (Kind::Internal, Persistence::Temporary, ""),
            _ => (Kind::Unreachable, Persistence::Unreachable, ": see whether the API server runs"),
        },
    };
    EngineError::new(kind, persistence, operation, format!("{text}{advice}")).caused_by(error)
}

/// Why an image could not be pulled, from the words of the node's container runtime: the only thing there is.
/// `None`: trying again can help.
pub(super) fn image_failure(text: &str) -> Option<Kind> {
    let text = text.to_lowercase();
    let has = |needles: &[&str]| needles.iter().any(|needle| text.contains(needle));
    if has(&["toomanyrequests", "no such host", "connection refused", "timeout", "i/o", "server misbehaving"]) {
        None
    } else if has(&["invalid reference format", "invalid image name", "couldn't parse image", "must be lowercase"]) {
        Some(Kind::ImageInvalid)
    } else if has(&[
        "unauthorized",
        "authentication required",
        "no basic auth credentials",
        "authorization failed",
        "access denied",
        "access to the resource is denied",
        "403 forbidden",
    ]) {
        Some(Kind::ImageUnauthorized)
    } else if has(&["manifest unknown", "name unknown", "not found", "does not exist"]) {
        Some(Kind::ImageNotFound)
    } else {
        None
    }
}

/// Whether a container could not start for want of its command, from the runtime's words.
pub(super) fn is_missing_command(text: &str) -> bool {
    let about = ["exec:", "starting container process", "exec format error"];
    let wrong = ["executable file not found", "no such file or directory", "permission denied", "exec format error"];
    let text = text.to_lowercase();
    let has = |needles: &[&str]| needles.iter().any(|needle| text.contains(needle));
    has(&about) && has(&wrong)
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    #[test]
    fn want_of_rights_is_told_from_a_policy_of_the_clusters() {
        let refused = |text: &str| {
            let error = Error::Api(Box::new(Status::failure(text, "Forbidden").with_code(403)));
            let error = classify("create the job", error);
            (error.kind, error.persistence)
        };
        let rights = "jobs.batch is forbidden: User \"a\" cannot create resource \"jobs\" in API group \"batch\"";
        assert_eq!(refused(rights), (Kind::Unauthorized, Persistence::Permanent));
        let policy = "jobs.batch \"r\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no";
        assert_eq!(refused(policy), (Kind::Rejected, Persistence::Permanent));
        let quota = "jobs.batch \"r\" is forbidden: exceeded quota: q";
        assert_eq!(refused(quota), (Kind::NoCapacity, Persistence::Temporary));
    }

    #[test]
    fn pull_failures_are_told_apart() {
        for (text, expected) in [
            ("manifest for r/x:1 not found: manifest unknown: manifest unknown", Some(Kind::ImageNotFound)),
            ("failed to resolve reference \"r/x:1\": r/x:1: not found", Some(Kind::ImageNotFound)),
            (
                "failed to resolve image: pull access denied, repository does not exist or may require authorization: \
                 authorization failed: no basic auth credentials",
                Some(Kind::ImageUnauthorized),
            ),
            ("Head \"https://r/v2/x/manifests/1\": dial tcp: lookup r on 192.0.2.1:53: no such host", None),
            ("Get \"http://r/v2/x/manifests/1\": no basic auth credentials", Some(Kind::ImageUnauthorized)),
            (
                "pull access denied for x, repository does not exist or may require 'docker login'",
                Some(Kind::ImageUnauthorized),
            ),
            ("dial tcp: lookup registry.invalid: no such host", None),
            ("dial tcp 127.0.0.1:1: connect: connection refused", None),
            ("toomanyrequests: you have reached your pull rate limit", None),
            ("unexpected status code 500 Internal Server Error", None),
            ("couldn't parse image reference \"A//b\"", Some(Kind::ImageInvalid)),
        ] {
            assert_eq!(image_failure(text), expected, "{text}");
        }
    }

    #[test]
    fn missing_commands_are_told_from_other_failures() {
        assert!(is_missing_command(
            "OCI runtime create failed: container_linux.go:380: starting container process caused: exec: \"nope\": \
             executable file not found in $PATH: unknown"
        ));
        assert!(!is_missing_command("OCI runtime create failed: mounting \"/x\": no such file or directory"));
    }
}
