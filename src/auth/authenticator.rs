//! From a request's credentials to a caller.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use quick_cache::sync::Cache;

use super::{secret::hash_of, session::SessionSecret};
use crate::{
    domain::{Clock, JobId, Scope, Token},
    store::{Store, StoreError},
};

/// Tokens kept in memory.
const CACHED: usize = 10_000;
/// How long a token that was read is believed; one that is revoked through this service is forgotten at once.
const BELIEVED: Duration = Duration::from_secs(5);
/// How long somebody stays signed in at the dashboard.
const SESSION: Duration = Duration::from_secs(12 * 3600);

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
        if let Some(token) = self.believed(&hash) {
            return Ok(self.caller(token));
        }
        Ok(self.store.token_by_hash(&hash).await?.and_then(|token| self.learn(hash, token)))
    }

    /// Signs somebody in at the dashboard; what the browser is to hold, and for how long at the most.
    ///
    /// # Errors
    /// The database failed, or the system has no random numbers.
    pub async fn begin_session(&self, caller: &Caller) -> Result<(SessionSecret, Duration), StoreError> {
        let secret = SessionSecret::generate().map_err(|error| StoreError::Database(sqlx::Error::Io(error)))?;
        let now = self.clock.now();
        let longest = now.plus(SESSION);
        let end = caller.token.expires_at.map_or(longest, |end| end.min(longest));
        self.store.sign_in(caller.token.id, &secret.hash(), now, end).await?;
        Ok((secret, end.since(now)))
    }

    /// Who is signed in with this. `None` when nobody is any more, or the token has ended.
    ///
    /// # Errors
    /// The database failed.
    pub async fn session(&self, secret: &SessionSecret) -> Result<Option<Caller>, StoreError> {
        let hash = secret.hash();
        if let Some(token) = self.believed(&hash) {
            return Ok(self.caller(token));
        }
        let token = self.store.signed_in(&hash, self.clock.now()).await?;
        Ok(token.and_then(|token| self.learn(hash, token)))
    }

    /// Signs out.
    ///
    /// # Errors
    /// The database failed.
    pub async fn end_session(&self, secret: &SessionSecret) -> Result<(), StoreError> {
        self.store.sign_out(&secret.hash()).await?;
        self.cache.remove(&secret.hash());
        Ok(())
    }

    fn believed(&self, hash: &[u8; 32]) -> Option<Arc<Token>> {
        self.cache.get(hash).filter(|(read, _)| read.elapsed() < BELIEVED).map(|(_, token)| token)
    }

    fn learn(&self, hash: [u8; 32], token: Token) -> Option<Caller> {
        let token = Arc::new(token);
        self.cache.insert(hash, (Instant::now(), Arc::clone(&token)));
        self.caller(token)
    }

    fn caller(&self, token: Arc<Token>) -> Option<Caller> {
        token.is_valid(self.clock.now()).then_some(Caller { token })
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
