//! Data keys: what values are sealed with.

use std::fmt;

use ring::aead::LessSafeKey;
use secrecy::SecretSlice;

use super::{Binding, VaultError, seal};

/// An AES-256-GCM key that seals values, and is itself stored sealed under a master key.
///
/// Nonces are 96 random bits, so one data key should seal fewer than 2³² values; one data key a project is far below.
pub struct DataKey(LessSafeKey);

impl DataKey {
    pub(super) fn new(bytes: &[u8; 32]) -> Result<Self, VaultError> {
        seal::aead_key(bytes).map(Self)
    }

    /// Seals `plaintext` for the place `binding`. The result is 29 bytes longer.
    ///
    /// # Errors
    /// [`VaultError::Seal`]: the system gave no random bytes, or the value is longer than 64 GiB.
    pub fn seal(&self, plaintext: &[u8], binding: &Binding<'_>) -> Result<Vec<u8>, VaultError> {
        seal::seal(&self.0, plaintext, &binding.encode())
    }

    /// Opens what [`Self::seal`] made for the same place.
    ///
    /// # Errors
    /// [`VaultError::Damaged`] when the bytes were changed or cut, or belong to another place or key;
    /// [`VaultError::Version`] when a newer program wrote them.
    pub fn open(&self, sealed: &[u8], binding: &Binding<'_>) -> Result<SecretSlice<u8>, VaultError> {
        let plaintext = seal::open(&self.0, sealed, &binding.encode())?;
        // A copy of exact size: turning the longer buffer itself into a boxed slice would free bytes unwiped.
        Ok(SecretSlice::from(plaintext.to_vec()))
    }
}

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DataKey([hidden])")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use secrecy::ExposeSecret;

    use super::*;

    const PLACE: Binding<'static> = Binding { table: "jobs", row: "7", name: "env/API_KEY" };

    fn key() -> DataKey {
        DataKey::new(&[7; 32]).unwrap()
    }

    #[test]
    fn every_changed_byte_is_noticed() {
        let sealed = key().seal(b"hunter2", &PLACE).unwrap();
        for index in 0..sealed.len() {
            for bit in 0..8 {
                let mut changed = sealed.clone();
                changed[index] ^= 1 << bit;
                assert!(key().open(&changed, &PLACE).is_err(), "byte {index}, bit {bit}");
            }
        }
    }

    #[test]
    fn every_cut_is_noticed() {
        let sealed = key().seal(b"hunter2", &PLACE).unwrap();
        for length in 0..sealed.len() {
            assert!(key().open(&sealed[..length], &PLACE).is_err(), "{length} bytes");
        }
        let mut longer = sealed;
        longer.push(0);
        assert!(matches!(key().open(&longer, &PLACE), Err(VaultError::Damaged)));
    }

    #[test]
    fn a_moved_value_does_not_open() {
        let sealed = key().seal(b"hunter2", &PLACE).unwrap();
        for place in [
            Binding { table: "runs", ..PLACE },
            Binding { row: "8", ..PLACE },
            Binding { name: "env/OTHER", ..PLACE },
            Binding { row: "7env", name: "/API_KEY", ..PLACE },
        ] {
            assert!(matches!(key().open(&sealed, &place), Err(VaultError::Damaged)), "{place:?}");
        }
    }

    #[test]
    fn another_key_does_not_open() {
        let sealed = key().seal(b"hunter2", &PLACE).unwrap();
        assert!(matches!(DataKey::new(&[8; 32]).unwrap().open(&sealed, &PLACE), Err(VaultError::Damaged)));
    }

    #[test]
    fn a_newer_format_is_named() {
        let mut sealed = key().seal(b"hunter2", &PLACE).unwrap();
        sealed[0] = 2;
        assert!(matches!(key().open(&sealed, &PLACE), Err(VaultError::Version(2))));
    }

    #[test]
    fn equal_values_are_sealed_differently() {
        assert_ne!(key().seal(b"same", &PLACE).unwrap(), key().seal(b"same", &PLACE).unwrap());
    }

    #[test]
    fn debug_is_silent() {
        assert_eq!(format!("{:?}", key()), "DataKey([hidden])");
    }

    proptest! {
        #[test]
        fn what_was_sealed_opens(plaintext: Vec<u8>, table: String, row: String, name: String) {
            let place = Binding { table: &table, row: &row, name: &name };
            let sealed = key().seal(&plaintext, &place).unwrap();
            prop_assert_eq!(sealed.len(), plaintext.len() + seal::OVERHEAD);
            let opened = key().open(&sealed, &place).unwrap();
            prop_assert_eq!(opened.expose_secret(), plaintext.as_slice());
        }

        #[test]
        fn foreign_bytes_never_open(bytes: Vec<u8>) {
            prop_assert!(key().open(&bytes, &PLACE).is_err());
        }
    }
}
