//! What went wrong, in words that quote no request.

use object_store::Error;

/// What kind of failure an object store's is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The object is not there.
    Missing,
    /// The bucket or container is not there.
    NoBucket,
    /// It does not let us.
    Refused,
    /// It is nothing that we have put there.
    Foreign,
    /// It does not answer, or not as it should: later it may.
    Away,
}

impl Fault {
    /// What to do about it.
    pub(in crate::logs) const fn advice(self) -> &'static str {
        match self {
            Self::Missing => "it was deleted, or never put there",
            Self::NoBucket => "make the bucket or container, or correct logs.store",
            Self::Foreign => "let nobody else write below that prefix, and remove it",
            Self::Refused => "check the credentials and their rights",
            Self::Away => "check the network, the endpoint and the store itself",
        }
    }
}

/// The kind of a failure, and a short description.
pub(super) fn told(error: &Error) -> (Fault, String) {
    let causes = std::iter::successors(Some(error as &dyn std::error::Error), |error| error.source());
    // The deepest is the server's answer, or the system's: requests are quoted further up.
    let deepest = causes.last().map_or_else(String::new, ToString::to_string);
    let code = code(&deepest);
    let fault = match error {
        Error::NotFound { .. } if matches!(code, Some("NoSuchBucket" | "ContainerNotFound")) => Fault::NoBucket,
        Error::NotFound { .. } => Fault::Missing,
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => Fault::Refused,
        _ => Fault::Away,
    };
    let detail = match (status(&deepest), code) {
        (Some(status), Some(code)) => format!("{status}: {code}"),
        (Some(status), None) => status.to_owned(),
        (None, _) => deepest.chars().take(200).collect(),
    };
    (fault, detail)
}

/// The status in front of an answer's body.
fn status(answer: &str) -> Option<&str> {
    let rest = answer.strip_prefix("Server returned ")?;
    let (_, rest) = rest.split_once(": ")?;
    Some(rest.split(": ").next().filter(|status| status.len() <= 60).unwrap_or("an error"))
}

/// The code in an error's XML. What else stands there may be what was signed.
fn code(body: &str) -> Option<&str> {
    let (_, rest) = body.split_once("<Code>")?;
    let (code, _) = rest.split_once("</Code>")?;
    Some(code).filter(|code| code.len() <= 60 && code.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(body: &str) -> Error {
        let source = format!("Server returned non-2xx status code: 403 Forbidden: {body}").into();
        Error::PermissionDenied { path: "a".to_owned(), source }
    }

    #[test]
    fn what_was_signed_is_not_told() {
        let body = "<Error><Code>SignatureDoesNotMatch</Code><SignatureProvided>hunter2</SignatureProvided></Error>";
        assert_eq!(told(&refused(body)), (Fault::Refused, "403 Forbidden: SignatureDoesNotMatch".to_owned()));
        assert_eq!(told(&refused("<Code>sig=hunter2</Code>")), (Fault::Refused, "403 Forbidden".to_owned()));
        let missing = |code: &str| {
            let source = format!("Server returned non-2xx status code: 404 Not Found: <Code>{code}</Code>").into();
            told(&Error::NotFound { path: "a".to_owned(), source }).0
        };
        assert_eq!((missing("NoSuchKey"), missing("NoSuchBucket")), (Fault::Missing, Fault::NoBucket));
    }
}
