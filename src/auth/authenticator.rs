//! From a request's credentials to a caller.

use std::{
    borrow::Cow,
    sync::Arc,
    time::{Duration, Instant},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use quick_cache::sync::Cache;

use super::{
    caller::SignedIn,
    oidc::{Arrival, Bearer, BearerError, Oidc, TokenIssuers},
    secret::hash_of,
    session::SessionSecret,
};
use crate::{
    domain::{Clock, Token},
    store::{PersonSession, Store, StoreError},
};

/// Tokens kept in memory, and sessions.
const CACHED: usize = 10_000;
/// How long what was read is believed; what ends through this service is forgotten at once.
const BELIEVED: Duration = Duration::from_secs(5);
/// How long somebody stays signed in at the dashboard.
const SESSION: Duration = Duration::from_secs(12 * 3600);

/// Knows tokens. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Authenticator {
    store: Store,
    clock: Arc<dyn Clock>,
    oidc: Option<Arc<Oidc>>,
    issuers: Arc<TokenIssuers>,
    bearers: Arc<Recent<Bearer>>,
    tokens: Arc<Recent<Arc<Token>>>,
    // Apart from tokens: what a browser holds opens the dashboard alone.
    sessions: Arc<Recent<SignedIn>>,
}

/// Nobody can say who it is.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Whoever holds a token of another issuer is not let in.
    #[error(transparent)]
    Bearer(#[from] BearerError),
}

/// By the hash of a secret: what was read, and when.
type Recent<T> = Cache<[u8; 32], (Instant, T)>;

impl Authenticator {
    /// Reads tokens from this database, and believes those of these issuers; people sign in at this one, if there is one.
    #[must_use]
    pub fn new(store: Store, clock: Arc<dyn Clock>, oidc: Option<Oidc>, issuers: TokenIssuers) -> Self {
        let (tokens, sessions, bearers) = (Cache::new(CACHED), Cache::new(CACHED), Cache::new(CACHED));
        let (tokens, sessions, bearers) = (Arc::new(tokens), Arc::new(sessions), Arc::new(bearers));
        Self { store, clock, oidc: oidc.map(Arc::new), issuers: Arc::new(issuers), bearers, tokens, sessions }
    }

    /// Where people sign in without a token.
    #[must_use]
    pub fn oidc(&self) -> Option<&Oidc> {
        self.oidc.as_deref()
    }

    /// Who sent this `Authorization` header: `Bearer TOKEN`, or `Basic` with the token as password. `None` when it is
    /// neither, or the token is unknown, revoked or expired.
    ///
    /// # Errors
    /// The database failed, or the token's issuer does not let its holder in.
    pub async fn authenticate(&self, header: &str) -> Result<Option<SignedIn>, AuthError> {
        let Some((scheme, credentials)) = header.split_once(' ') else { return Ok(None) };
        let text = if scheme.eq_ignore_ascii_case("bearer") {
            Cow::Borrowed(credentials.trim())
        } else if scheme.eq_ignore_ascii_case("basic") {
            let Some(password) = password_of(credentials.trim()) else { return Ok(None) };
            Cow::Owned(password)
        } else {
            return Ok(None);
        };
        let hash = hash_of(&text);
        if let Some(token) = believed(&self.tokens, &hash) {
            return Ok(self.in_force(SignedIn::Token(token)));
        }
        if let Some(bearer) = believed(&self.bearers, &hash) {
            return Ok(self.holder(bearer));
        }
        // On the heap: each request has room for this, and all but the first of a token can do without.
        Box::pin(self.look_up(&text, hash)).await
    }

    async fn look_up(&self, text: &str, hash: [u8; 32]) -> Result<Option<SignedIn>, AuthError> {
        if let Some(bearer) = self.issuers.bearer(text).await? {
            self.bearers.insert(hash, (Instant::now(), bearer.clone()));
            return Ok(self.holder(bearer));
        }
        let Some(token) = self.store.token_by_hash(&hash).await?.map(Arc::new) else { return Ok(None) };
        self.tokens.insert(hash, (Instant::now(), Arc::clone(&token)));
        Ok(self.in_force(SignedIn::Token(token)))
    }

    /// Signs the holder of a token in at the dashboard; what the browser is to hold, and for how long at the most.
    ///
    /// # Errors
    /// The database failed, or the system has no random numbers.
    pub async fn begin_session(&self, token: &Token) -> Result<(SessionSecret, Duration), StoreError> {
        let (secret, now) = (new_secret()?, self.clock.now());
        let longest = now.plus(SESSION);
        let end = token.expires_at.map_or(longest, |end| end.min(longest));
        self.store.sign_in(token.id, &secret.hash(), now, end).await?;
        Ok((secret, end.since(now)))
    }

    /// Signs in at the dashboard whom the issuer has named; `None` when the request has led to a session before.
    ///
    /// # Errors
    /// The database failed, or the system has no random numbers.
    pub async fn begin_person_session(
        &self,
        oidc: &Oidc,
        arrival: &Arrival,
    ) -> Result<Option<(SessionSecret, Duration)>, StoreError> {
        let (secret, now) = (new_secret()?, self.clock.now());
        let session = PersonSession {
            hash: secret.hash(),
            request: arrival.request,
            settings: oidc.settings().digest(),
            person: arrival.person.clone(),
            expires_at: now.plus(oidc.settings().session),
        };
        let begun = self.store.sign_in_person(session, now).await?;
        Ok(begun.then_some((secret, oidc.settings().session)))
    }

    /// Who is signed in with this. `None` when nobody is any more, or what let them in has ended.
    ///
    /// # Errors
    /// The database failed.
    pub async fn session(&self, secret: &SessionSecret) -> Result<Option<SignedIn>, StoreError> {
        let (hash, now) = (secret.hash(), self.clock.now());
        if let Some(who) = believed(&self.sessions, &hash) {
            return Ok(self.in_force(who));
        }
        let who = match (self.store.signed_in(&hash, now).await?, &self.oidc) {
            (Some(token), _) => Some(SignedIn::Token(Arc::new(token))),
            (None, Some(oidc)) => {
                let person = self.store.signed_in_person(&hash, &oidc.settings().digest(), now).await?;
                person.map(|person| SignedIn::Person(Arc::new(person)))
            }
            (None, None) => None,
        };
        let Some(who) = who else { return Ok(None) };
        self.sessions.insert(hash, (Instant::now(), who.clone()));
        Ok(self.in_force(who))
    }

    /// Signs out.
    ///
    /// # Errors
    /// The database failed.
    pub async fn end_session(&self, secret: &SessionSecret) -> Result<(), StoreError> {
        self.store.sign_out(&secret.hash(), self.clock.now()).await?;
        self.sessions.remove(&secret.hash());
        Ok(())
    }

    fn holder(&self, bearer: Bearer) -> Option<SignedIn> {
        (bearer.expires_at > self.clock.now()).then_some(SignedIn::Person(bearer.person))
    }

    fn in_force(&self, who: SignedIn) -> Option<SignedIn> {
        match &who {
            SignedIn::Token(token) => token.is_valid(self.clock.now()).then_some(who),
            SignedIn::Person(_) => Some(who),
        }
    }

    /// Forgets what it knows, because a token was revoked.
    pub fn forget(&self) {
        self.tokens.clear();
        self.sessions.clear();
    }
}

/// What was read lately.
fn believed<T: Clone>(recent: &Recent<T>, hash: &[u8; 32]) -> Option<T> {
    recent.get(hash).filter(|(read, _)| read.elapsed() < BELIEVED).map(|(_, known)| known)
}

fn new_secret() -> Result<SessionSecret, StoreError> {
    SessionSecret::generate().map_err(|error| StoreError::Database(sqlx::Error::Io(error)))
}

/// RFC 7617: base64 of `user:password`; the user's name plays no part.
fn password_of(credentials: &str) -> Option<String> {
    let text = String::from_utf8(BASE64_STANDARD.decode(credentials).ok()?).ok()?;
    Some(text.split_once(':')?.1.to_owned())
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
