//! The data keys of projects, and the sealed forms of what projects keep.

use std::{
    path::PathBuf,
    sync::{Arc, PoisonError, RwLock},
};

use quick_cache::sync::Cache;
use ring::hmac;
use secrecy::{ExposeSecret, SecretString};
use uuid::Uuid;

use super::{Binding, DataKey, Keyring, SealedDataKey, VaultError};
use crate::{
    domain::{ChannelId, JobConfig, JobId, Name, ProjectId, RunId},
    store::{Store, StoreError},
};

/// Opened data keys kept in memory.
const CACHED: usize = 1000;

/// Seals and opens what projects keep. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ProjectKeys {
    /// Replaced when the master key is.
    keyring: Arc<RwLock<Arc<Keyring>>>,
    /// Where a new master key is put.
    pub(super) file: Option<PathBuf>,
    pub(super) rotating: Arc<tokio::sync::Mutex<()>>,
    pub(super) store: Store,
    cache: Arc<Cache<ProjectId, Arc<DataKey>>>,
    /// What each project signs with.
    pub(super) signing: Arc<Cache<ProjectId, hmac::Key>>,
}

/// A value could not be sealed or opened.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The key does not fit, or the value was tampered with.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The project is gone, or what was opened is not what was sealed.
    #[error("the sealed {0} cannot be read")]
    Unreadable(&'static str),
}

impl ProjectKeys {
    /// Keys under this keyring, kept in this database.
    #[must_use]
    pub fn new(keyring: Keyring, store: Store) -> Self {
        Self {
            keyring: Arc::new(RwLock::new(Arc::new(keyring))),
            file: None,
            rotating: Arc::default(),
            store,
            cache: Arc::new(Cache::new(CACHED)),
            signing: Arc::new(Cache::new(CACHED)),
        }
    }

    /// The same, where a new master key may be put in this file, which this service alone reads.
    #[must_use]
    pub fn rotating_in(self, file: Option<PathBuf>) -> Self {
        Self { file, ..self }
    }

    pub(super) fn ring(&self) -> Arc<Keyring> {
        Arc::clone(&self.keyring.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn set_ring(&self, ring: Keyring) {
        *self.keyring.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(ring);
    }

    /// A data key for a new project, in its sealed form.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub fn new_data_key(&self, project: ProjectId) -> Result<Vec<u8>, KeyError> {
        Ok(self.ring().new_data_key(&project.to_string())?.1.0)
    }

    /// Whether the project's data key opens.
    ///
    /// # Errors
    /// It does not: the master key is another one.
    pub async fn check(&self, project: ProjectId) -> Result<(), KeyError> {
        self.key(project).await.map(|_| ())
    }

    pub(super) async fn key(&self, project: ProjectId) -> Result<Arc<DataKey>, KeyError> {
        if let Some(key) = self.cache.get(&project) {
            return Ok(key);
        }
        let (_, sealed) = self.store.project_by_id(project).await?.ok_or(KeyError::Unreadable("data key"))?;
        let key = Arc::new(self.ring().open_data_key(&SealedDataKey(sealed), &project.to_string())?);
        self.cache.insert(project, Arc::clone(&key));
        Ok(key)
    }

    async fn seal(&self, project: ProjectId, plain: &[u8], at: &Binding<'_>) -> Result<Vec<u8>, KeyError> {
        Ok(self.key(project).await?.seal(plain, at)?)
    }

    async fn open<T: serde::de::DeserializeOwned>(
        &self,
        project: ProjectId,
        sealed: &[u8],
        at: &Binding<'_>,
    ) -> Result<T, KeyError> {
        let plain = self.key(project).await?.open(sealed, at)?;
        serde_json::from_slice(plain.expose_secret()).map_err(|_| KeyError::Unreadable("value"))
    }

    /// Seals a revision's configuration.
    ///
    /// # Errors
    /// See [`KeyError`].
    pub async fn seal_config(
        &self,
        project: ProjectId,
        job: JobId,
        number: u32,
        config: &JobConfig,
    ) -> Result<Vec<u8>, KeyError> {
        let plain = SecretString::from(serde_json::to_string(config).map_err(|_| KeyError::Unreadable("config"))?);
        let row = format!("{job}/{number}");
        let at = Binding { table: "revisions", row: &row, name: "config" };
        self.seal(project, plain.expose_secret().as_bytes(), &at).await
    }

    /// Opens a revision's configuration.
    ///
    /// # Errors
    /// See [`KeyError`].
    pub async fn open_config(
        &self,
        project: ProjectId,
        job: JobId,
        number: u32,
        sealed: &[u8],
    ) -> Result<JobConfig, KeyError> {
        let row = format!("{job}/{number}");
        self.open(project, sealed, &Binding { table: "revisions", row: &row, name: "config" }).await
    }

    /// Seals a run's own environment.
    ///
    /// # Errors
    /// See [`KeyError`].
    pub async fn seal_env<T: serde::Serialize + Sync>(
        &self,
        project: ProjectId,
        run: RunId,
        env: &T,
    ) -> Result<Vec<u8>, KeyError> {
        let plain = SecretString::from(serde_json::to_string(env).map_err(|_| KeyError::Unreadable("env"))?);
        let row = run.to_string();
        self.seal(project, plain.expose_secret().as_bytes(), &Binding { table: "runs", row: &row, name: "env" }).await
    }

    /// Opens a run's own environment.
    ///
    /// # Errors
    /// See [`KeyError`].
    pub async fn open_env<T: serde::de::DeserializeOwned>(
        &self,
        project: ProjectId,
        run: RunId,
        sealed: &[u8],
    ) -> Result<T, KeyError> {
        let row = run.to_string();
        self.open(project, sealed, &Binding { table: "runs", row: &row, name: "env" }).await
    }

    /// Seals the address that a callback goes to.
    ///
    /// # Errors
    /// See [`KeyError`].
    pub async fn seal_callback_url(&self, project: ProjectId, delivery: Uuid, url: &str) -> Result<Vec<u8>, KeyError> {
        let row = delivery.to_string();
        self.seal(project, url.as_bytes(), &Binding { table: "callbacks", row: &row, name: "url" }).await
    }

    /// Opens such an address.
    ///
    /// # Errors
    /// See [`KeyError`].
    pub async fn open_callback_url(
        &self,
        project: ProjectId,
        delivery: Uuid,
        sealed: &[u8],
    ) -> Result<String, KeyError> {
        let row = delivery.to_string();
        let at = Binding { table: "callbacks", row: &row, name: "url" };
        let plain = self.key(project).await?.open(sealed, &at)?;
        String::from_utf8(plain.expose_secret().to_vec()).map_err(|_| KeyError::Unreadable("callback"))
    }

    /// Seals a channel's address or password.
    ///
    /// # Errors
    /// See [`KeyError`].
    pub async fn seal_channel(
        &self,
        project: ProjectId,
        channel: ChannelId,
        secret: &SecretString,
    ) -> Result<Vec<u8>, KeyError> {
        let row = channel.to_string();
        let at = Binding { table: "channels", row: &row, name: "secret" };
        self.seal(project, secret.expose_secret().as_bytes(), &at).await
    }

    /// Opens it.
    ///
    /// # Errors
    /// See [`KeyError`].
    pub async fn open_channel(
        &self,
        project: ProjectId,
        channel: ChannelId,
        sealed: &[u8],
    ) -> Result<SecretString, KeyError> {
        let row = channel.to_string();
        let at = Binding { table: "channels", row: &row, name: "secret" };
        let plain = self.key(project).await?.open(sealed, &at)?;
        let text = std::str::from_utf8(plain.expose_secret()).map_err(|_| KeyError::Unreadable("channel"))?;
        Ok(SecretString::from(text.to_owned()))
    }

    /// Seals the value of a project's secret (`table` = `secrets`) or a registry's password (`registries`).
    ///
    /// # Errors
    /// See [`KeyError`].
    pub async fn seal_named(
        &self,
        project: ProjectId,
        table: &'static str,
        name: &Name,
        value: &SecretString,
    ) -> Result<Vec<u8>, KeyError> {
        let row = format!("{project}/{name}");
        self.seal(project, value.expose_secret().as_bytes(), &Binding { table, row: &row, name: "value" }).await
    }

    /// Opens such a value.
    ///
    /// # Errors
    /// See [`KeyError`].
    pub async fn open_named(
        &self,
        project: ProjectId,
        table: &'static str,
        name: &Name,
        sealed: &[u8],
    ) -> Result<SecretString, KeyError> {
        let row = format!("{project}/{name}");
        let plain = self.key(project).await?.open(sealed, &Binding { table, row: &row, name: "value" })?;
        let text = std::str::from_utf8(plain.expose_secret()).map_err(|_| KeyError::Unreadable("value"))?;
        Ok(SecretString::from(text.to_owned()))
    }
}
