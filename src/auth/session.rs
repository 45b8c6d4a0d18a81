//! What a browser holds while somebody is signed in at the dashboard.

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use ring::rand::{SecureRandom, SystemRandom};
use secrecy::{ExposeSecret, SecretString};

use super::secret::hash_of;

/// 43 characters that carry 256 random bits. The service keeps a hash of them.
#[derive(Debug, Clone)]
pub struct SessionSecret(SecretString);

impl SessionSecret {
    /// A fresh one.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub fn generate() -> Result<Self, std::io::Error> {
        let mut bytes = [0; 32];
        let filled = SystemRandom::new().fill(&mut bytes);
        filled.map_err(|_| std::io::Error::other("the system gave no random numbers"))?;
        Ok(Self(SecretString::from(BASE64_URL_SAFE_NO_PAD.encode(bytes))))
    }

    /// What a browser sent; `None` when it cannot be one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let good = text.len() == 43 && text.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-' || c == b'_');
        good.then(|| Self(SecretString::from(text)))
    }

    /// The text, for the browser alone.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// What is stored of it.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        hash_of(self.expose())
    }

    /// What forms of this session carry. It follows from the secret, and does not give it away.
    #[must_use]
    pub fn form_token(&self) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(hash_of(&format!("form {}", self.expose())))
    }

    /// Whether a form of this session carried it. Hashes are compared, whose difference tells nothing.
    #[must_use]
    pub fn is_form_token(&self, sent: &str) -> bool {
        hash_of(sent) == hash_of(&self.form_token())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_unlike_and_silent_and_forms_do_not_tell_them() {
        let (a, b) = (SessionSecret::generate().unwrap(), SessionSecret::generate().unwrap());
        assert_ne!(a.expose(), b.expose());
        assert!(a.is_form_token(&a.form_token()));
        assert!(!a.is_form_token(&b.form_token()) && !a.is_form_token(""));
        assert_ne!(a.form_token(), BASE64_URL_SAFE_NO_PAD.encode(a.hash()));
        assert!(!format!("{a:?}").contains(a.expose()));
        assert_eq!(SessionSecret::parse(a.expose()).unwrap().hash(), a.hash());
        assert!(SessionSecret::parse("short").is_none());
        assert!(SessionSecret::parse(&"<".repeat(43)).is_none());
    }
}
