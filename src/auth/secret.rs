//! A token's secret: shown once, kept as a hash.

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use ring::{
    digest,
    rand::{SecureRandom, SystemRandom},
};
use secrecy::{ExposeSecret, SecretString};

/// What a client sends: `hlr_` and 43 characters that carry 256 random bits.
#[derive(Debug, Clone)]
pub struct TokenSecret(SecretString);

/// The fewest characters of a token that an operator chose.
const SHORTEST: usize = 16;

impl TokenSecret {
    /// A fresh one.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub fn generate() -> Result<Self, std::io::Error> {
        let mut bytes = [0; 32];
        let filled = SystemRandom::new().fill(&mut bytes);
        filled.map_err(|_| std::io::Error::other("the system gave no random numbers"))?;
        Ok(Self(SecretString::from(format!("hlr_{}", BASE64_URL_SAFE_NO_PAD.encode(bytes)))))
    }

    /// One that an operator chose; `None` when it is too short to be safe, or cannot stand in a header.
    #[must_use]
    pub fn chosen(text: &SecretString) -> Option<Self> {
        let exposed = text.expose_secret();
        let good = (SHORTEST..=512).contains(&exposed.len()) && exposed.bytes().all(|c| c.is_ascii_graphic());
        good.then(|| Self(text.clone()))
    }

    /// The text, to be shown once.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// What is stored of it. SHA-256 without salt or stretching suffices: nobody guesses 256 random bits.
    #[must_use]
    pub fn hash(&self) -> Vec<u8> {
        hash_of(self.expose()).to_vec()
    }
}

pub(super) fn hash_of(text: &str) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest::digest(&digest::SHA256, text.as_bytes()).as_ref());
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_long_unlike_and_silent() {
        let (a, b) = (TokenSecret::generate().unwrap(), TokenSecret::generate().unwrap());
        assert_eq!(a.expose().len(), 47);
        assert_ne!(a.expose(), b.expose());
        assert!(!format!("{a:?}").contains(a.expose()));
        assert!(TokenSecret::chosen(&SecretString::from("short")).is_none());
        assert!(TokenSecret::chosen(&SecretString::from("has spaces in between")).is_none());
    }
}
