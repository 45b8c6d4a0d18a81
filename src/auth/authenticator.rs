//! From a request's credentials to a caller.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use quick_cache::sync::Cache;

use super::secret::hash_of;
use crate::{
    domain::{Clock, JobId, Scope, Token},
    store::{Store, StoreError},
};

/// Tokens kept in memory.
const CACHED: usize = 10_000;
/// How long a token that was read is believed; one that is revoked through this service is forgotten at once.
const BELIEVED: Duration = Duration::from_secs(5);

/// Knows tokens. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Authenticator {
    store: Store,
    clock: Arc<dyn Clock>,
    cache: Arc<Cache<[u8; 32], Known>>,
}

/// A token, and when it was read.
type Known = (Instant, Arc<Token>);

/// Somebody with a valid token.
#[derive(Debug, Clone)]
pub struct Caller {
    token: Arc<Token>,
}

impl Authenticator {
    /// Reads tokens from this database.
    #[must_use]
    pub fn new(store: Store, clock: Arc<dyn Clock>) -> Self {
        Self { store, clock, cache: Arc::new(Cache::new(CACHED)) }
    }

    /// Who sent this `Authorization` header: `Bearer TOKEN`, or `Basic` with the token as password. `None` when it is
    /// neither, or the token is unknown, revoked or expired.
    ///
    /// # Errors
    /// The database failed.
    pub async fn authenticate(&self, header: &str) -> Result<Option<Caller>, StoreError> {
        let Some((scheme, credentials)) = header.split_once(' ') else { return Ok(None) };
        let hash = if scheme.eq_ignore_ascii_case("bearer") {
            hash_of(credentials.trim())
        } else if scheme.eq_ignore_ascii_case("basic") {
            let Some(password) = password_of(credentials.trim()) else { return Ok(None) };
            hash_of(&password)
        } else {
            return Ok(None);
        };
        let token = match self.cache.get(&hash) {
            Some((read, token)) if read.elapsed() < BELIEVED => token,
            _ => {
                let Some(token) = self.store.token_by_hash(&hash).await? else { return Ok(None) };
                let token = Arc::new(token);
                self.cache.insert(hash, (Instant::now(), Arc::clone(&token)));
                token
            }
        };
        Ok(token.is_valid(self.clock.now()).then_some(Caller { token }))
    }

    /// Forgets what it knows, because a token was revoked.
    pub fn forget(&self) {
        self.cache.clear();
    }
}

/// RFC 7617: base64 of `user:password`; the user's name plays no part.
fn password_of(credentials: &str) -> Option<String> {
    let text = String::from_utf8(BASE64_STANDARD.decode(credentials).ok()?).ok()?;
    Some(text.split_once(':')?.1.to_owned())
}

impl Caller {
    /// The token's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.token.name
    }

    /// The token, without its secret.
    #[must_use]
    pub fn token(&self) -> &Token {
        &self.token
    }

    /// Whether the caller may do what the scope allows.
    #[must_use]
    pub fn may(&self, scope: Scope) -> bool {
        self.token.may(scope)
    }

    /// Whether the token reaches this job.
    #[must_use]
    pub fn reaches(&self, job: JobId) -> bool {
        self.token.jobs.is_empty() || self.token.jobs.contains(&job)
    }

    /// Whether the token belongs to the whole installation and holds `admin`.
    #[must_use]
    pub fn is_instance_admin(&self) -> bool {
        self.token.project.is_none() && self.token.may(Scope::Admin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn basic_carries_the_token_as_password() {
        let encoded = BASE64_STANDARD.encode("any:hlr_x:y");
        assert_eq!(password_of(&encoded).as_deref(), Some("hlr_x:y"));
        assert_eq!(password_of("not base64"), None);
    }
}
