//! The file that holds the master keys.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use secrecy::{ExposeSecret, SecretString, zeroize::Zeroizing};

use super::VaultError;

/// More than any keyring needs, in bytes; keeps a wrong path from being read whole.
const MAX_LENGTH: u64 = 64 * 1024;

/// Reads the file, unless others may too.
pub(super) fn read(path: &Path) -> Result<SecretString, VaultError> {
    let failed = |source| failure("read", path, source);
    let file = File::open(path).map_err(failed)?;
    // Asked of the open file, not of the path, so that both are about the same file.
    let mode = file.metadata().map_err(failed)?.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(VaultError::KeyFileMode { path: path.to_owned(), mode });
    }
    let mut text = Zeroizing::new(String::with_capacity(4096));
    file.take(MAX_LENGTH).read_to_string(&mut text).map_err(failed)?;
    Ok(SecretString::from(text.as_str()))
}

/// Makes the file, for its owner alone. Fails if there is one.
pub(super) fn create(path: &Path, text: &SecretString) -> Result<(), VaultError> {
    let write = || {
        // The name appears with the whole content or not at all: a reader never sees a half-written key.
        let draft = write_draft(path, text)?;
        let linked = fs::hard_link(&draft, path);
        fs::remove_file(&draft)?;
        linked?;
        sync_parent(path)
    };
    write().map_err(|source| failure("create", path, source))
}

/// Replaces the file in one step.
pub(super) fn replace(path: &Path, text: &SecretString) -> Result<(), VaultError> {
    let write = || {
        fs::rename(write_draft(path, text)?, path)?;
        sync_parent(path)
    };
    write().map_err(|source| failure("replace", path, source))
}

/// Writes the text under another name in the same directory, safe on disk.
fn write_draft(path: &Path, text: &SecretString) -> io::Result<PathBuf> {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}.tmp", uuid::Uuid::now_v7().simple()));
    let draft = PathBuf::from(name);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
    let written = file.write_all(text.expose_secret().as_bytes()).and_then(|()| file.sync_all());
    if let Err(error) = written {
        // The draft is of no use to anyone; the first error is the one to tell.
        let _ = fs::remove_file(&draft);
        return Err(error);
    }
    Ok(draft)
}

/// Makes the directory's change safe on disk.
fn sync_parent(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent)?.sync_all()
}

fn failure(operation: &'static str, path: &Path, source: io::Error) -> VaultError {
    VaultError::KeyFile { operation, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use crate::vault::{Keyring, VaultError};

    #[test]
    fn a_made_file_is_private_and_reads_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("master.key");
        let made = Keyring::read_or_create_file(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
        assert_eq!(Keyring::read_or_create_file(&path).unwrap().current(), made.current());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "no draft is left");
    }

    #[test]
    fn an_existing_file_is_never_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("master.key");
        let made = Keyring::create_file(&path).unwrap();
        assert!(matches!(Keyring::create_file(&path), Err(VaultError::KeyFile { operation: "create", .. })));
        assert_eq!(Keyring::read_file(&path).unwrap().current(), made.current());
    }

    #[test]
    fn a_file_for_others_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("master.key");
        Keyring::create_file(&path).unwrap();
        for mode in [0o640, 0o604, 0o620, 0o666] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            let message = Keyring::read_file(&path).unwrap_err().to_string();
            assert!(message.contains("chmod 600"), "{message}");
        }
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o400)).unwrap();
        Keyring::read_file(&path).unwrap();
    }

    #[test]
    fn a_missing_file_is_named() {
        let message = Keyring::read_file("/nonexistent/master.key".as_ref()).unwrap_err().to_string();
        assert!(message.contains("/nonexistent/master.key"), "{message}");
    }
}
