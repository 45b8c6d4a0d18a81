//! Master keys: what data keys are sealed with.

use std::fmt;

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig, general_purpose::STANDARD},
};
use ring::{aead::LessSafeKey, digest};
use secrecy::{ExposeSecret, SecretBox, SecretString, zeroize::Zeroizing};

use super::{VaultError, binding::encode, seal};

/// Reads both alphabets' keys with or without padding.
const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const ANY_STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
const ANY_URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);

/// Names a master key without telling it: the first 8 bytes of a SHA-256, in hexadecimal.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyId(pub(super) [u8; 8]);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

/// A master key: 32 bytes that never enter the database.
pub struct MasterKey {
    id: KeyId,
    bytes: SecretBox<[u8; 32]>,
    aead: LessSafeKey,
}

impl MasterKey {
    /// A new random key.
    ///
    /// # Errors
    /// [`VaultError::Seal`]: the system gave no random bytes.
    pub fn generate() -> Result<Self, VaultError> {
        Self::from_bytes(&*seal::random::<32>()?)
    }

    /// Reads a key: 32 bytes in base64 (standard or URL-safe) or hexadecimal; blanks around it are ignored.
    ///
    /// # Errors
    /// [`VaultError::KeyText`]: it is anything else.
    pub fn parse(text: &SecretString) -> Result<Self, VaultError> {
        Self::parse_str(text.expose_secret())
    }

    pub(super) fn parse_str(text: &str) -> Result<Self, VaultError> {
        let text = text.trim();
        // The lengths of 32 bytes are 64 in hexadecimal and 43 or 44 in base64, so the two cannot be mistaken.
        let bytes = match text.len() {
            64 => hex(text).ok_or(VaultError::KeyText)?,
            43 | 44 => Zeroizing::new(
                ANY_STANDARD.decode(text).or_else(|_| ANY_URL_SAFE.decode(text)).map_err(|_| VaultError::KeyText)?,
            ),
            _ => return Err(VaultError::KeyText),
        };
        Self::from_bytes(bytes.as_slice().try_into().map_err(|_| VaultError::KeyText)?)
    }

    fn from_bytes(bytes: &[u8; 32]) -> Result<Self, VaultError> {
        let digest = digest::digest(&digest::SHA256, &Zeroizing::new(encode("haulier master key id v1", &[bytes])));
        let mut id = [0; 8];
        id.copy_from_slice(&digest.as_ref()[..8]);
        Ok(Self {
            id: KeyId(id),
            bytes: SecretBox::init_with_mut(|secret: &mut [u8; 32]| secret.copy_from_slice(bytes)),
            aead: seal::aead_key(bytes)?,
        })
    }

    /// The key's name.
    #[must_use]
    pub const fn id(&self) -> KeyId {
        self.id
    }

    /// The key as base64, for storing it.
    #[must_use]
    pub fn to_text(&self) -> SecretString {
        STANDARD.encode(self.bytes.expose_secret()).into()
    }

    pub(super) const fn aead(&self) -> &LessSafeKey {
        &self.aead
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MasterKey").field("id", &self.id).finish_non_exhaustive()
    }
}

fn hex(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let digits: Option<Vec<u8>> =
        text.chars().map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok())).collect();
    let digits = Zeroizing::new(digits?);
    Some(Zeroizing::new(digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect()))
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};

    use super::*;

    #[test]
    fn every_usual_spelling_is_the_same_key() {
        let bytes = [0xfb; 32];
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let id = MasterKey::parse_str(&hex).unwrap().id();
        for text in [
            STANDARD.encode(bytes),
            STANDARD_NO_PAD.encode(bytes),
            URL_SAFE.encode(bytes),
            URL_SAFE_NO_PAD.encode(bytes),
            hex.to_uppercase(),
            format!("\n {hex} \n"),
        ] {
            assert_eq!(MasterKey::parse_str(&text).unwrap().id(), id, "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for text in
            ["", "secret", &"g".repeat(64), &"é".repeat(32), &STANDARD.encode([1; 31]), &STANDARD.encode([1; 33])]
        {
            assert!(matches!(MasterKey::parse_str(text), Err(VaultError::KeyText)), "{text}");
        }
    }

    #[test]
    fn text_reads_back() {
        let key = MasterKey::generate().unwrap();
        assert_eq!(MasterKey::parse(&key.to_text()).unwrap().id(), key.id());
        assert_ne!(MasterKey::generate().unwrap().id(), key.id());
    }

    #[test]
    fn debug_shows_the_name_alone() {
        let key = MasterKey::generate().unwrap();
        assert_eq!(format!("{key:?}"), format!("MasterKey {{ id: KeyId({}), .. }}", key.id()));
    }
}
