//! What the browser keeps for us.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue, header};

/// Who is signed in. With `__Host-`, no other host and no plain connection can have set it.
const SESSION: (&str, &str) = ("haulier-session", "__Host-haulier-session");
/// A sign-in that was begun.
const REQUEST: (&str, &str) = ("haulier-sign-in", "__Host-haulier-sign-in");
/// The project that pages are about.
pub(super) const PROJECT: &str = "haulier-project";
/// Light or dark.
pub(super) const THEME: &str = "haulier-theme";

/// The value of a cookie.
pub(super) fn get<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
    let mut pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(found, _)| *found == name).map(|(_, value)| value)
}

/// The session that a browser sends, over a secure connection or not.
pub(super) fn session(headers: &HeaderMap, secure: bool) -> Option<&str> {
    get(headers, if secure { SESSION.1 } else { SESSION.0 })
}

/// Makes the browser keep a session; `None` makes it forget.
pub(super) fn set_session(value: Option<(&str, Duration)>, secure: bool) -> Option<HeaderValue> {
    let name = if secure { SESSION.1 } else { SESSION.0 };
    let (value, age) = value.unwrap_or(("", Duration::ZERO));
    set(name, value, age, secure)
}

/// The sign-in that a browser has begun.
pub(super) fn request(headers: &HeaderMap, secure: bool) -> Option<&str> {
    get(headers, if secure { REQUEST.1 } else { REQUEST.0 })
}

/// Makes the browser keep a sign-in that it begins; `None` makes it forget.
pub(super) fn set_request(value: Option<(&str, Duration)>, secure: bool) -> Option<HeaderValue> {
    let name = if secure { REQUEST.1 } else { REQUEST.0 };
    let (value, age) = value.unwrap_or(("", Duration::ZERO));
    set(name, value, age, secure)
}

/// Makes the browser keep a choice, which is no secret, for a year.
pub(super) fn set_choice(name: &str, value: &str, secure: bool) -> Option<HeaderValue> {
    set(name, value, Duration::from_secs(365 * 86_400), secure)
}

/// Values are ours: none has a character that would need to be quoted, or the header is not made.
fn set(name: &str, value: &str, age: Duration, secure: bool) -> Option<HeaderValue> {
    let good = value.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-' || c == b'_');
    let secure = if secure { "; Secure" } else { "" };
    let text = format!("{name}={value}; Path=/; SameSite=Lax; Max-Age={}; HttpOnly{secure}", age.as_secs());
    HeaderValue::try_from(text).ok().filter(|_| good)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_are_found_among_others_and_set_for_us_alone() {
        let mut headers = HeaderMap::new();
        headers.append(header::COOKIE, HeaderValue::from_static("a=1; haulier-theme=dark;b=2"));
        assert_eq!(get(&headers, THEME), Some("dark"));
        assert_eq!(get(&headers, "theme"), None);
        let plain = set_session(Some(("abc", Duration::from_secs(60))), false).unwrap();
        assert_eq!(plain, "haulier-session=abc; Path=/; SameSite=Lax; Max-Age=60; HttpOnly");
        let secure = set_session(Some(("abc", Duration::from_secs(60))), true).unwrap();
        assert_eq!(secure, "__Host-haulier-session=abc; Path=/; SameSite=Lax; Max-Age=60; HttpOnly; Secure");
        assert!(set_choice(THEME, "x; Domain=evil", false).is_none());
    }
}
