//! Keys that a project signs with: what it sends to receivers of callbacks, and links that need no token.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use ring::hmac;
use secrecy::{ExposeSecret, SecretString, zeroize::Zeroizing};

use super::{Binding, KeyError, ProjectKeys, seal};
use crate::domain::ProjectId;

impl ProjectKeys {
    /// The key that callbacks of this project are signed with (HMAC-SHA256).
    ///
    /// # Errors
    /// See [`KeyError`].
    pub async fn webhook_key(&self, project: ProjectId) -> Result<hmac::Key, KeyError> {
        Ok(hmac::Key::new(hmac::HMAC_SHA256, self.derived(project, "webhook").await?.as_ref()))
    }

    /// The same key as receivers are given it: `whsec_` and base64, as the Standard Webhooks specification has it.
    ///
    /// # Errors
    /// See [`KeyError`].
    pub async fn webhook_secret(&self, project: ProjectId) -> Result<SecretString, KeyError> {
        let key = self.derived(project, "webhook").await?;
        Ok(format!("whsec_{}", BASE64_STANDARD.encode(key.as_ref())).into())
    }

    /// The key that links to runs of this project are signed with.
    ///
    /// # Errors
    /// See [`KeyError`].
    pub async fn link_key(&self, project: ProjectId) -> Result<hmac::Key, KeyError> {
        Ok(hmac::Key::new(hmac::HMAC_SHA256, self.derived(project, "link").await?.as_ref()))
    }

    /// A key for one purpose, made from the project's signing key.
    async fn derived(&self, project: ProjectId, purpose: &str) -> Result<hmac::Tag, KeyError> {
        if let Some(key) = self.signing.get(&project) {
            return Ok(hmac::sign(&key, purpose.as_bytes()));
        }
        let row = project.to_string();
        let at = Binding { table: "settings", row: &row, name: "signing" };
        let data_key = self.key(project).await?;
        // Whoever is first decides: all services come to the same key.
        let fresh = BASE64_STANDARD.encode(data_key.seal(seal::random::<32>()?.as_ref(), &at)?);
        let stored = self.store.setting_or(&format!("signing/{project}"), fresh).await?;
        let sealed = BASE64_STANDARD.decode(stored).map_err(|_| KeyError::Unreadable("signing key"))?;
        let bytes = data_key.open(&sealed, &at)?;
        let key = hmac::Key::new(hmac::HMAC_SHA256, &Zeroizing::new(bytes.expose_secret().to_vec()));
        self.signing.insert(project, key.clone());
        Ok(hmac::sign(&key, purpose.as_bytes()))
    }
}
