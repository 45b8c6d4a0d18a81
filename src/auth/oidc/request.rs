//! What a browser holds between leaving for the issuer and coming back.

use std::time::Duration;

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use ring::hmac;

use super::super::{secret::hash_of, session::SessionSecret};
use crate::domain::Timestamp;

/// How long somebody may take to sign in at the issuer.
pub const REQUEST_LIFETIME: Duration = Duration::from_secs(600);
/// The longest address that is come back to, in bytes: cookies are small.
const LONGEST_RETURN: usize = 1024;

/// A sign-in that was begun. All that it is made of follows from one secret in the browser's cookie: the service keeps
/// nothing, and nobody can fill it up.
#[derive(Debug, Clone)]
pub(super) struct SignInRequest {
    secret: SessionSecret,
    /// Where to go afterwards.
    pub(super) then: String,
}

impl SignInRequest {
    /// A fresh one.
    pub(super) fn new(then: &str) -> Result<Self, std::io::Error> {
        let then = if then.len() <= LONGEST_RETURN { then } else { "/" };
        Ok(Self { secret: SessionSecret::generate()?, then: then.to_owned() })
    }

    /// What the browser is to hold.
    pub(super) fn to_cookie(&self) -> String {
        format!("{}{}", self.secret.expose(), BASE64_URL_SAFE_NO_PAD.encode(&self.then))
    }

    /// What a browser held.
    pub(super) fn from_cookie(text: &str) -> Option<Self> {
        let (secret, then) = text.split_at_checked(43)?;
        let then = BASE64_URL_SAFE_NO_PAD.decode(then).ok()?;
        Some(Self { secret: SessionSecret::parse(secret)?, then: String::from_utf8(then).ok()? })
    }

    /// What the issuer hands back. It tells when the sign-in was begun, and can be made by this browser alone.
    pub(super) fn state(&self, begun: Timestamp) -> String {
        let begun = format!("{:x}", begun.as_micros());
        let tag = self.derived(&format!("state {begun} {}", self.then));
        format!("{begun}-{tag}")
    }

    /// Whether the state is this browser's, and young enough.
    pub(super) fn is_own(&self, state: &str, now: Timestamp) -> bool {
        let begun = state.split_once('-').and_then(|(begun, _)| i64::from_str_radix(begun, 16).ok());
        let Some(begun) = begun.map(Timestamp::from_micros) else { return false };
        // Hashes are compared, whose difference tells nothing.
        let own = hash_of(state) == hash_of(&self.state(begun));
        own && begun <= now && now.since(begun) < REQUEST_LIFETIME
    }

    /// What the ID token must carry.
    pub(super) fn nonce(&self) -> String {
        self.derived("nonce")
    }

    /// What shows the issuer that whoever has the code is whoever asked for it (PKCE).
    pub(super) fn verifier(&self) -> String {
        self.derived("verifier")
    }

    /// What is stored when it has led to a session: it does so once.
    pub(super) fn hash(&self) -> [u8; 32] {
        hash_of(&self.derived("used"))
    }

    /// 43 characters for one purpose.
    fn derived(&self, purpose: &str) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.secret.expose().as_bytes());
        BASE64_URL_SAFE_NO_PAD.encode(hmac::sign(&key, purpose.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_micros(1_700_000_000_000_000);

    #[test]
    fn a_state_is_one_browsers_and_ages() {
        let (mine, other) = (SignInRequest::new("/runs").unwrap(), SignInRequest::new("/runs").unwrap());
        let state = mine.state(NOW);
        let kept = SignInRequest::from_cookie(&mine.to_cookie()).unwrap();
        assert_eq!(kept.then, "/runs");
        assert!(kept.is_own(&state, NOW) && kept.is_own(&state, NOW.plus(Duration::from_secs(599))));
        assert!(!kept.is_own(&state, NOW.plus(REQUEST_LIFETIME)));
        assert!(!kept.is_own(&state, NOW.minus(Duration::from_secs(1))), "from the future");
        assert!(!other.is_own(&state, NOW));
        let later = NOW.plus(Duration::from_secs(60)).as_micros();
        let younger = format!("{later:x}-{}", state.split_once('-').unwrap().1);
        assert!(!kept.is_own(&younger, NOW.plus(Duration::from_secs(60))), "{younger}");
        for bad in ["", "-", "x-y", &state[1..], &format!("{state}x")] {
            assert!(!kept.is_own(bad, NOW), "{bad}");
        }
    }

    #[test]
    fn nothing_that_leaves_gives_the_secret_away() {
        let request = SignInRequest::new("/").unwrap();
        let parts = [request.state(NOW), request.nonce(), request.verifier()];
        for part in &parts {
            assert!(!part.contains(&request.to_cookie()[..43]));
        }
        assert_ne!(parts[1], parts[2]);
        assert_eq!(request.verifier().len(), 43);
        assert!(!format!("{request:?}").contains(&request.to_cookie()[..43]));
    }

    #[test]
    fn cookies_that_are_none_are_refused() {
        assert_eq!(SignInRequest::new(&"x".repeat(2000)).unwrap().then, "/");
        for bad in ["", "short", &"ä".repeat(30), &format!("{}!", "a".repeat(43)), &"<".repeat(43)] {
            assert!(SignInRequest::from_cookie(bad).is_none(), "{bad}");
        }
    }
}
