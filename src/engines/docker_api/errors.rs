//! What the daemon's refusals mean. It tells most of them by their text alone.

use bollard::errors::Error;

use crate::engines::{EngineError, EngineErrorKind as Kind, Persistence};

/// The daemon's answer, if it gave one.
pub(in crate::engines) fn status(error: &Error) -> Option<u16> {
    match error {
        Error::DockerResponseServerError { status_code, .. } => Some(*status_code),
        _ => None,
    }
}

/// The daemon's words, or the client's.
pub(in crate::engines) fn words(error: &Error) -> String {
    match error {
        Error::DockerResponseServerError { message, .. } => message.trim().to_owned(),
        Error::DockerStreamError { error } => error.trim().to_owned(),
        other => {
            let mut text = other.to_string();
            let mut source = std::error::Error::source(other);
            while let Some(cause) = source {
                let cause_text = cause.to_string();
                if !text.contains(&cause_text) {
                    text = format!("{text}: {cause_text}");
                }
                source = cause.source();
            }
            text
        }
    }
}

/// Whether nothing is known of what the daemon did with the request.
pub(in crate::engines) fn is_unreachable(error: &Error) -> bool {
    matches!(
        error,
        Error::RequestTimeoutError
            | Error::SocketNotFoundError(_)
            | Error::IOError { .. }
            | Error::HyperResponseError { .. }
            | Error::HyperLegacyError { .. }
    )
}

/// The error of a call that is neither about an image's pull nor about a container's first start.
pub(in crate::engines) fn classify(operation: &'static str, error: Error) -> EngineError {
    let text = words(&error);
    let (kind, persistence) = if is_unreachable(&error) {
        (Kind::Unreachable, Persistence::Unreachable)
    } else {
        match status(&error) {
            Some(_) if has(&text, &["no space left", "cannot allocate memory", "resource temporarily unavailable"]) => {
                (Kind::NoCapacity, Persistence::Temporary)
            }
            _ if has(&text, &["invalid reference format", "invalid image name", "is not a valid repository/tag"]) => {
                (Kind::ImageInvalid, Persistence::Permanent)
            }
            Some(404) if is_missing_image(&text) => (Kind::ImageNotFound, Persistence::Permanent),
            // Removed by someone else meanwhile: the next call sees how things stand.
            Some(404) if has(&text, &["no such container"]) => (Kind::Internal, Persistence::Temporary),
            Some(400 | 404 | 422) => (Kind::Rejected, Persistence::Permanent),
            Some(401 | 403) => (Kind::Unauthorized, Persistence::Permanent),
            Some(409) => (Kind::Conflict, Persistence::Permanent),
            // No manager of the swarm, or none that leads.
            Some(503) => (Kind::Unreachable, Persistence::Unreachable),
            Some(501) => (Kind::Unsupported, Persistence::Permanent),
            _ => (Kind::Internal, Persistence::Temporary),
        }
    };
    finish(kind, persistence, operation, &text, error)
}

/// The error of a pull.
pub(in crate::engines) fn classify_pull(image: &str, error: Error) -> EngineError {
    let operation = "pull the image";
    if is_unreachable(&error) {
        return classify(operation, error);
    }
    let text = words(&error);
    let (kind, persistence) = pull_failure(&text);
    finish(kind, persistence, operation, &format!("{image}: {text}"), error)
}

/// Reads what a registry, or the daemon on its behalf, says about a failed pull.
pub(in crate::engines) fn pull_failure(text: &str) -> (Kind, Persistence) {
    let rules: [(&[&str], Kind, Persistence); 6] = [
        (&["toomanyrequests", "too many requests", "rate limit"], Kind::ImagePull, Persistence::Temporary),
        (&["no space left"], Kind::NoCapacity, Persistence::Temporary),
        (
            &["invalid reference format", "repository name must", "invalid repository name", "invalid tag"],
            Kind::ImageInvalid,
            Persistence::Permanent,
        ),
        (
            // The daemon's words for "missing, or hidden from those who are not logged in" hold the word "denied".
            &["repository does not exist", "manifest unknown", "name unknown", "no matching manifest", "no such image"],
            Kind::ImageNotFound,
            Persistence::Permanent,
        ),
        (
            &[
                "unauthorized",
                "no basic auth credentials",
                "authentication required",
                "access denied",
                "denied:",
                "access forbidden",
                "incorrect username or password",
                "invalid username/password",
            ],
            Kind::ImageUnauthorized,
            Persistence::Permanent,
        ),
        (&["not found: ", "404 (not found)", "404 not found"], Kind::ImageNotFound, Persistence::Permanent),
    ];
    rules
        .iter()
        .find(|(needles, ..)| has(text, needles))
        .map_or((Kind::ImagePull, Persistence::Temporary), |(_, kind, persistence)| (*kind, *persistence))
}

/// The error of a container's start.
pub(in crate::engines) fn classify_start(error: Error) -> EngineError {
    let text = words(&error);
    if status(&error).is_some() && is_missing_command(&text) {
        return finish(Kind::CommandNotFound, Persistence::Permanent, "start the container", &text, error);
    }
    let mut error = classify("start the container", error);
    // It never ran. A 404 here is about something it needs, or about itself, which another start can mend.
    if matches!(error.kind, Kind::Rejected | Kind::Conflict | Kind::ImageNotFound) && !is_about_configuration(&text) {
        error.kind = Kind::Internal;
        error.persistence = Persistence::Temporary;
    }
    error
}

/// Whether a create was refused because there is no such image yet.
pub(in crate::engines) fn is_missing_image(text: &str) -> bool {
    has(text, &["no such image", "image not known", "unable to find image"])
}

/// Whether a create was refused because there is a container of this name. Podman says so with status 500.
pub(in crate::engines) fn is_name_taken(error: &Error) -> bool {
    status(error) == Some(409) || status(error) == Some(500) && has(&words(error), &["already in use"])
}

/// Whether the container's command cannot be executed.
pub(in crate::engines) fn is_missing_command(text: &str) -> bool {
    has(text, &["executable file not found", "exec format error"])
        || has(text, &["exec: ", "exec ", "starting container process"])
            && has(text, &["no such file or directory", "permission denied", "is a directory", "not a directory"])
}

fn is_about_configuration(text: &str) -> bool {
    has(text, &["invalid", "unknown or invalid runtime", "minimum memory", "not supported"])
}

fn has(text: &str, needles: &[&str]) -> bool {
    let text = text.to_lowercase();
    needles.iter().any(|needle| text.contains(needle))
}

fn finish(kind: Kind, persistence: Persistence, operation: &'static str, text: &str, error: Error) -> EngineError {
    let advice = match kind {
        Kind::Unreachable => " (is the daemon running, and may this user use its socket?)",
        Kind::ImageUnauthorized => " (check the registry's login)",
        Kind::ImageNotFound => " (check the image's name and tag; a private image needs a login)",
        Kind::CommandNotFound => " (check the job's command and the image's entry point)",
        _ => "",
    };
    EngineError::new(kind, persistence, operation, format!("{text}{advice}")).caused_by(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pull_failures_are_told_apart_by_their_text() {
        use Persistence::{Permanent, Temporary};
        for (text, expected) in [
            (
                "manifest for 127.0.0.1:5000/a:1 not found: manifest unknown: manifest unknown",
                (Kind::ImageNotFound, Permanent),
            ),
            (
                "pull access denied for nope, repository does not exist or may require 'docker login': denied: requested access to the resource is denied",
                (Kind::ImageNotFound, Permanent),
            ),
            (
                "Head \"http://127.0.0.1:5001/v2/a/manifests/1\": no basic auth credentials",
                (Kind::ImageUnauthorized, Permanent),
            ),
            ("unauthorized: authentication required", (Kind::ImageUnauthorized, Permanent)),
            ("invalid reference format", (Kind::ImageInvalid, Permanent)),
            ("toomanyrequests: You have reached your pull rate limit. unauthorized", (Kind::ImagePull, Temporary)),
            (
                "Get \"http://127.0.0.1:1/v2/\": dial tcp 127.0.0.1:1: connect: connection refused",
                (Kind::ImagePull, Temporary),
            ),
            ("Get \"https://r.example/v2/\": dial tcp: lookup r.example: no such host", (Kind::ImagePull, Temporary)),
            ("received unexpected HTTP status: 503 Service Unavailable", (Kind::ImagePull, Temporary)),
        ] {
            assert_eq!(pull_failure(text), expected, "{text}");
        }
    }

    #[test]
    fn missing_commands_are_recognised() {
        for text in [
            "OCI runtime create failed: runc create failed: unable to start container process: exec: \"nope\": executable file not found in $PATH: unknown",
            "failed to create shim task: exec: \"/etc\": permission denied: unknown",
            "fork/exec /a.sh: exec format error",
        ] {
            assert!(is_missing_command(text), "{text}");
        }
        assert!(!is_missing_command("failed to set up container networking: permission denied"));
    }

    #[test]
    fn a_daemon_that_is_away_is_unreachable() {
        let error = classify("list", Error::SocketNotFoundError("/x.sock".to_owned()));
        assert_eq!((error.kind, error.persistence), (Kind::Unreachable, Persistence::Unreachable));
        assert!(error.detail.contains("/x.sock"));
    }
}
