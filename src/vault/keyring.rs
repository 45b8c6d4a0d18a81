//! The keyring: the current master key and older ones.

use std::path::Path;

use secrecy::{ExposeSecret, SecretString};

use super::{DataKey, KeyId, MasterKey, VaultError, binding::encode, key_file, seal};

/// A data key as it is stored: `master key id (8) | sealed form`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedDataKey(pub Vec<u8>);

impl SealedDataKey {
    /// The master key that opens it.
    ///
    /// # Errors
    /// [`VaultError::Damaged`]: the bytes are too short.
    pub fn master_key(&self) -> Result<KeyId, VaultError> {
        self.parts().map(|(id, _)| id)
    }

    fn parts(&self) -> Result<(KeyId, &[u8]), VaultError> {
        let (id, sealed) = self.0.split_first_chunk().ok_or(VaultError::Damaged)?;
        Ok((KeyId(*id), sealed))
    }
}

/// The master key that new data keys are sealed under, and older ones that still open what they sealed.
///
/// As text: keys separated by blanks, line ends or commas; the first is the current one.
#[derive(Debug)]
pub struct Keyring {
    current: MasterKey,
    older: Vec<MasterKey>,
}

impl Keyring {
    /// A keyring of these keys.
    #[must_use]
    pub const fn new(current: MasterKey, older: Vec<MasterKey>) -> Self {
        Self { current, older }
    }

    /// Reads a keyring from text.
    ///
    /// # Errors
    /// [`VaultError::NoKey`] or [`VaultError::KeyText`].
    pub fn parse(text: &SecretString) -> Result<Self, VaultError> {
        let words = text.expose_secret().split(|c: char| c == ',' || c.is_whitespace());
        let mut keys = words.filter(|word| !word.is_empty()).map(MasterKey::parse_str);
        let current = keys.next().ok_or(VaultError::NoKey)??;
        Ok(Self { current, older: keys.collect::<Result<_, _>>()? })
    }

    /// Reads a keyring from a file that its owner alone may read. Blocks.
    ///
    /// # Errors
    /// [`VaultError::KeyFile`], [`VaultError::KeyFileMode`], or as [`Self::parse`].
    pub fn read_file(path: &Path) -> Result<Self, VaultError> {
        Self::parse(&key_file::read(path)?)
    }

    /// Makes a file with one new random key. Never overwrites. Blocks.
    ///
    /// # Errors
    /// [`VaultError::KeyFile`]: the file exists or cannot be made.
    pub fn create_file(path: &Path) -> Result<Self, VaultError> {
        let keyring = Self::new(MasterKey::generate()?, Vec::new());
        key_file::create(path, &keyring.to_text())?;
        Ok(keyring)
    }

    /// Reads the file, or makes it where there is none. Of several processes at once, one makes it and all read the
    /// same key. Blocks.
    ///
    /// # Errors
    /// As [`Self::read_file`] and [`Self::create_file`].
    pub fn read_or_create_file(path: &Path) -> Result<Self, VaultError> {
        if path.try_exists().unwrap_or(true) {
            return Self::read_file(path);
        }
        match Self::create_file(path) {
            Err(VaultError::KeyFile { source, .. }) if source.kind() == std::io::ErrorKind::AlreadyExists => {
                Self::read_file(path)
            }
            made => made,
        }
    }

    /// Puts a new random key before those in the file, if those pass this check. The file is replaced in one step.
    /// Blocks.
    ///
    /// # Errors
    /// As [`Self::read_file`], or the check's; the file is then as it was.
    pub fn rotate_file(path: &Path, check: impl FnOnce(&Self) -> Result<(), VaultError>) -> Result<Self, VaultError> {
        let before = Self::read_file(path)?;
        check(&before)?;
        let Self { current, older } = before;
        let rotated = Self::new(MasterKey::generate()?, std::iter::once(current).chain(older).collect());
        key_file::replace(path, &rotated.to_text())?;
        Ok(rotated)
    }

    /// The name of the key that new data keys are sealed under.
    #[must_use]
    pub const fn current(&self) -> KeyId {
        self.current.id()
    }

    /// A new data key for `context` (say, a project's id), and its stored form, which opens for that context alone.
    ///
    /// # Errors
    /// [`VaultError::Seal`]: the system gave no random bytes.
    pub fn new_data_key(&self, context: &str) -> Result<(DataKey, SealedDataKey), VaultError> {
        let bytes = seal::random::<32>()?;
        Ok((DataKey::new(&bytes)?, self.wrap(bytes.as_ref(), context)?))
    }

    /// Opens a stored data key.
    ///
    /// # Errors
    /// [`VaultError::UnknownKey`] when its master key is not here; [`VaultError::Damaged`] when it was changed or
    /// belongs to another context; [`VaultError::Version`] when a newer program wrote it.
    pub fn open_data_key(&self, sealed: &SealedDataKey, context: &str) -> Result<DataKey, VaultError> {
        let bytes = self.unwrap(sealed, context)?;
        DataKey::new(bytes.as_slice().try_into().map_err(|_| VaultError::Damaged)?)
    }

    /// The same data key sealed under the current master key; `None` when it already is.
    ///
    /// # Errors
    /// As [`Self::open_data_key`] and [`Self::new_data_key`].
    pub fn rewrap(&self, sealed: &SealedDataKey, context: &str) -> Result<Option<SealedDataKey>, VaultError> {
        let bytes = self.unwrap(sealed, context)?;
        if sealed.master_key()? == self.current() {
            return Ok(None);
        }
        self.wrap(&bytes, context).map(Some)
    }

    fn wrap(&self, data_key: &[u8], context: &str) -> Result<SealedDataKey, VaultError> {
        let sealed = seal::seal(self.current.aead(), data_key, &binding(self.current(), context))?;
        Ok(SealedDataKey([&self.current().0[..], &sealed].concat()))
    }

    fn unwrap(
        &self,
        sealed: &SealedDataKey,
        context: &str,
    ) -> Result<secrecy::zeroize::Zeroizing<Vec<u8>>, VaultError> {
        let (wanted, bytes) = sealed.parts()?;
        let key = self.keys().find(|key| key.id() == wanted).ok_or_else(|| VaultError::UnknownKey {
            wanted,
            known: self.keys().map(|key| key.id().to_string()).collect::<Vec<_>>().join(", "),
        })?;
        seal::open(key.aead(), bytes, &binding(wanted, context))
    }

    /// The names of all keys, the current one first.
    pub fn ids(&self) -> impl Iterator<Item = KeyId> {
        self.keys().map(MasterKey::id)
    }

    fn keys(&self) -> impl Iterator<Item = &MasterKey> {
        std::iter::once(&self.current).chain(&self.older)
    }

    fn to_text(&self) -> SecretString {
        self.keys().map(|key| key.to_text().expose_secret().to_owned() + "\n").collect::<String>().into()
    }
}

fn binding(key: KeyId, context: &str) -> Vec<u8> {
    encode("haulier data key v1", &[&key.0, context.as_bytes()])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vault::Binding;

    const PLACE: Binding<'static> = Binding { table: "jobs", row: "7", name: "env/API_KEY" };

    fn ring() -> Keyring {
        Keyring::new(MasterKey::generate().unwrap(), Vec::new())
    }

    #[test]
    fn a_stored_data_key_opens_what_it_sealed() {
        let ring = ring();
        let (key, stored) = ring.new_data_key("project-1").unwrap();
        let sealed = key.seal(b"hunter2", &PLACE).unwrap();
        let opened = ring.open_data_key(&stored, "project-1").unwrap().open(&sealed, &PLACE).unwrap();
        assert_eq!(opened.expose_secret(), b"hunter2");
        assert_eq!(stored.master_key().unwrap(), ring.current());
    }

    #[test]
    fn changes_cuts_and_other_contexts_are_noticed() {
        let ring = ring();
        let (_, stored) = ring.new_data_key("project-1").unwrap();
        assert!(matches!(ring.open_data_key(&stored, "project-2"), Err(VaultError::Damaged)));
        for index in 0..stored.0.len() {
            let mut changed = stored.clone();
            changed.0[index] ^= 0x10;
            assert!(ring.open_data_key(&changed, "project-1").is_err(), "byte {index}");
            assert!(ring.open_data_key(&SealedDataKey(stored.0[..index].to_vec()), "project-1").is_err());
        }
    }

    #[test]
    fn a_missing_master_key_is_named() {
        let (old, new) = (ring(), ring());
        let (_, stored) = old.new_data_key("p").unwrap();
        let message = new.open_data_key(&stored, "p").unwrap_err().to_string();
        assert!(message.contains(&old.current().to_string()), "{message}");
        assert!(message.contains(&new.current().to_string()), "{message}");
    }

    #[test]
    fn rotation_keeps_every_value_readable() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("master.key");
        let before = Keyring::create_file(&path).unwrap();
        let (key, stored) = before.new_data_key("p").unwrap();
        let sealed = key.seal(b"hunter2", &PLACE).unwrap();

        let refused = Keyring::rotate_file(&path, |_| Err(VaultError::Damaged));
        assert!(matches!(refused, Err(VaultError::Damaged)));
        assert_eq!(Keyring::read_file(&path).unwrap().current(), before.current());
        let after = Keyring::rotate_file(&path, |_| Ok(())).unwrap();
        assert_ne!(after.current(), before.current());
        let rewrapped = after.rewrap(&stored, "p").unwrap().unwrap();
        assert_eq!(rewrapped.master_key().unwrap(), after.current());
        assert_eq!(after.rewrap(&rewrapped, "p").unwrap(), None);

        // The old master key is no longer needed, and the value itself was not touched.
        let alone = Keyring::new(MasterKey::parse(&after.current.to_text()).unwrap(), Vec::new());
        let opened = alone.open_data_key(&rewrapped, "p").unwrap().open(&sealed, &PLACE).unwrap();
        assert_eq!(opened.expose_secret(), b"hunter2");
        assert!(matches!(alone.open_data_key(&stored, "p"), Err(VaultError::UnknownKey { .. })));
    }

    #[test]
    fn text_holds_the_current_key_first() {
        let (a, b) = (MasterKey::generate().unwrap(), MasterKey::generate().unwrap());
        let text = format!("{},\n {}", a.to_text().expose_secret(), b.to_text().expose_secret());
        let ring = Keyring::parse(&text.into()).unwrap();
        assert_eq!(ring.keys().map(MasterKey::id).collect::<Vec<_>>(), [a.id(), b.id()]);
        assert!(matches!(Keyring::parse(&" \n".into()), Err(VaultError::NoKey)));
    }

    #[test]
    fn debug_is_silent() {
        let ring = ring();
        let secret = ring.current.to_text();
        assert!(!format!("{ring:?}").contains(secret.expose_secret()));
    }
}
