//! Changing the master key while the service runs.

use std::{collections::BTreeMap, path::Path};

use super::{KeyError, KeyId, Keyring, ProjectKeys, SealedDataKey};
use crate::domain::Project;

/// The master key could not be changed.
#[derive(Debug, thiserror::Error)]
pub enum RotationError {
    /// A key cannot be used, or the database failed.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// There is nothing to do: all is under the current key, and there is no file of this service's own for another.
    #[error(
        "this service was given its master keys and may not add to them: put a new one (`openssl rand -base64 32`) \
         before the others, separated by a comma, start each service that uses this database again, then rotate again"
    )]
    NotInAFile,
}

/// What a rotation has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rotation {
    /// The master key that every data key is sealed under now.
    pub current: KeyId,
    /// Whether it was made by this.
    pub made: bool,
    /// How many projects' data keys were sealed anew.
    pub rewrapped: usize,
}

/// A master key, and what depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyUse {
    /// Its name.
    pub id: KeyId,
    /// Whether new data keys are sealed under it.
    pub current: bool,
    /// Whether this service has it.
    pub known: bool,
    /// How many projects' data keys are sealed under it.
    pub projects: usize,
}

impl ProjectKeys {
    /// The master keys that the service has or its database needs, the current one first.
    ///
    /// # Errors
    /// The database failed, or a data key is damaged.
    pub async fn master_keys(&self) -> Result<Vec<KeyUse>, KeyError> {
        let mut uses: BTreeMap<[u8; 8], usize> = BTreeMap::new();
        for (_, sealed) in self.store.projects().await? {
            *uses.entry(SealedDataKey(sealed).master_key()?.0).or_default() += 1;
        }
        let ring = self.ring();
        let mut keys: Vec<_> = ring
            .ids()
            .map(|id| {
                let projects = uses.remove(&id.0).unwrap_or_default();
                KeyUse { id, current: id == ring.current(), known: true, projects }
            })
            .collect();
        let unknown = uses.into_iter().map(|(id, projects)| (KeyId(id), projects));
        keys.extend(unknown.map(|(id, projects)| KeyUse { id, current: false, known: false, projects }));
        Ok(keys)
    }

    /// Seals every project's data key under a new master key, which is put before the others in their file; where there
    /// is no file to put it in, under the first of those that the service was given. Values stay as they are.
    ///
    /// # Errors
    /// The file cannot be used, or lacks a key that is needed: nothing is changed. There is nothing to do for a service
    /// that was given its keys: [`RotationError::NotInAFile`]. The database failed: the next rotation does the rest.
    pub async fn rotate(&self) -> Result<Rotation, RotationError> {
        let _one_at_a_time = self.rotating.lock().await;
        if let Some(file) = self.file.clone() {
            let projects = self.store.projects().await.map_err(KeyError::from)?;
            let made = tokio::task::spawn_blocking(move || add_key(&file, &projects)).await;
            self.set_ring(made.map_err(|_| KeyError::Unreadable("key file"))??);
        }
        let rewrapped = self.rewrap().await?;
        if self.file.is_none() && rewrapped == 0 {
            return Err(RotationError::NotInAFile);
        }
        Ok(Rotation { current: self.ring().current(), made: self.file.is_some(), rewrapped })
    }

    /// Seals every project's data key under the current master key; how many were changed.
    async fn rewrap(&self) -> Result<usize, KeyError> {
        let (mut changed, ring) = (0, self.ring());
        for (project, sealed) in self.store.projects().await? {
            let context = project.id.to_string();
            if let Some(rewrapped) = ring.rewrap(&SealedDataKey(sealed.clone()), &context)?
                && self.store.replace_data_key(project.id, sealed, rewrapped.0).await?
            {
                changed += 1;
            }
        }
        Ok(changed)
    }
}

/// Adds a key to the file, unless somebody has taken one from it without which a data key would not open any more.
fn add_key(file: &Path, projects: &[(Project, Vec<u8>)]) -> Result<Keyring, KeyError> {
    let all_open = |ring: &Keyring| {
        projects.iter().try_for_each(|(project, sealed)| {
            ring.open_data_key(&SealedDataKey(sealed.clone()), &project.id.to_string()).map(|_| ())
        })
    };
    Ok(Keyring::rotate_file(file, all_open)?)
}
