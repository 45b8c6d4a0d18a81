//! Tokens that others sign: for a managed identity of Azure, a CI job, a service account of Kubernetes.
//!
//! One is believed when an issuer that the configuration trusts has signed it, for an audience that is given there, and
//! while it is in force. What its holder may do, grants say, as they do for people. Nothing is kept of it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use openidconnect::{
    ClaimsVerificationError, ClientId, JsonWebTokenType, Nonce, SignatureVerificationError,
    core::{CoreIdToken, CoreIdTokenVerifier, CoreJwsSigningAlgorithm as Algorithm, CoreProviderMetadata},
};
use serde_json::{Map, Value};

use super::{STEP, issuer::Issuer, person, settings::TokenIssuerSettings, tell_unfit};
use crate::{
    domain::{Clock, Person, Timestamp},
    with_causes,
};

/// The longest token, in bytes.
const LONGEST: usize = 16 * 1024;
/// An issuer's keys are asked for again for a token that names another, but not sooner than this: anybody can make up
/// such tokens.
const KEYS_BELIEVED: Duration = Duration::from_secs(10);
/// How far the issuer's clock may be ahead of ours.
const AHEAD: Duration = Duration::from_secs(60);
/// All that need a private key of the issuer's: with the others, whoever can check a token could make one.
const ALGORITHMS: [Algorithm; 9] = [
    Algorithm::RsaSsaPkcs1V15Sha256,
    Algorithm::RsaSsaPkcs1V15Sha384,
    Algorithm::RsaSsaPkcs1V15Sha512,
    Algorithm::RsaSsaPssSha256,
    Algorithm::RsaSsaPssSha384,
    Algorithm::RsaSsaPssSha512,
    Algorithm::EcdsaP256Sha256,
    Algorithm::EcdsaP384Sha384,
    Algorithm::EdDsa,
];
/// What a token may say that it is: RFC 7519, and RFC 9068 for those of OAuth.
const TYPES: [&str; 2] = ["JWT", "at+jwt"];

/// The issuers whose tokens are believed.
#[derive(Debug)]
pub struct TokenIssuers {
    issuers: Vec<TokenIssuer>,
    clock: Arc<dyn Clock>,
}

#[derive(Debug)]
struct TokenIssuer {
    settings: TokenIssuerSettings,
    issuer: Issuer,
}

/// Whoever holds a token that is believed.
#[derive(Debug, Clone)]
pub struct Bearer {
    /// Who, and what they may do.
    pub person: Arc<Person>,
    /// Until when.
    pub expires_at: Timestamp,
}

/// Why whoever holds a token of an issuer that is trusted is not let in.
#[derive(Debug, thiserror::Error)]
pub enum BearerError {
    /// Its keys are not known. The cause is in the log.
    #[error("the issuer of this token, {0}, does not answer as it should: try again")]
    Silent(String),
    /// They are known, but may do nothing here.
    #[error(
        "{issuer} knows the holder of this token as {subject}, who has no access here: give it by [[issuers.grants]] \
         in the service's configuration"
    )]
    NoGrant {
        /// Who signed it.
        issuer: String,
        /// How the issuer tells them from others.
        subject: String,
    },
}

impl TokenIssuers {
    /// With these settings.
    ///
    /// # Errors
    /// TLS cannot be set up, or an issuer is no URL.
    pub fn new(settings: Vec<TokenIssuerSettings>, clock: Arc<dyn Clock>) -> anyhow::Result<Self> {
        let issuer =
            |settings: TokenIssuerSettings| Ok(TokenIssuer { issuer: Issuer::new(&settings.issuer)?, settings });
        Ok(Self { issuers: settings.into_iter().map(issuer).collect::<anyhow::Result<_>>()?, clock })
    }

    /// Who holds this token; `None` when it is none, or cannot be believed, of which the log says why.
    ///
    /// # Errors
    /// See [`BearerError`].
    pub async fn bearer(&self, text: &str) -> Result<Option<Bearer>, BearerError> {
        let Some((token, claims)) = self.read(text) else { return Ok(None) };
        let from = claims.get("iss").and_then(Value::as_str).unwrap_or_default();
        let Some(issuer) = self.issuers.iter().find(|issuer| issuer.settings.issuer == from) else {
            tracing::info!(issuer = from, "a token of an issuer that is not trusted was refused");
            return Ok(None);
        };
        let checked = tokio::time::timeout(STEP, issuer.check(&token, &claims)).await;
        let checked = checked.unwrap_or(Err(Doubt::Silent)).and_then(|()| self.in_force(&claims));
        match checked {
            Ok(expires_at) => Ok(Some(Bearer { person: issuer.person(&claims)?, expires_at })),
            Err(Doubt::Silent) => Err(BearerError::Silent(issuer.settings.issuer.clone())),
            Err(Doubt::Untrue(cause)) => {
                tracing::info!(issuer = from, cause, "a token was refused");
                Ok(None)
            }
        }
    }

    fn read(&self, text: &str) -> Option<(CoreIdToken, Map<String, Value>)> {
        if self.issuers.is_empty() || text.len() > LONGEST || text.split('.').count() != 3 {
            return None;
        }
        let token: CoreIdToken = text.parse().ok()?;
        let claims = super::payload(&token)?;
        Some((token, claims))
    }

    /// The end of its time, which has begun.
    fn in_force(&self, claims: &Map<String, Value>) -> Result<Timestamp, Doubt> {
        let at = |name| claims.get(name).and_then(Value::as_f64).map(|seconds| seconds * 1e6);
        #[expect(clippy::cast_possible_truncation, reason = "it saturates")]
        let at = |name| at(name).map(|micros| Timestamp::from_micros(micros as i64));
        if at("nbf").is_some_and(|begin| begin > self.clock.now().plus(AHEAD)) {
            return Err(Doubt::Untrue("it is not in force yet".to_owned()));
        }
        at("exp").ok_or_else(|| Doubt::Untrue("it says not when it expires".to_owned()))
    }
}

/// Why a token is not believed.
enum Doubt {
    /// The issuer's keys are not known.
    Silent,
    Untrue(String),
}

impl TokenIssuer {
    /// Whether the issuer has signed it, for us, and it has not expired.
    async fn check(&self, token: &CoreIdToken, claims: &Map<String, Value>) -> Result<(), Doubt> {
        let audiences = &self.settings.audiences;
        let audience = audiences.iter().find(|audience| is_for(claims, audience)).ok_or_else(|| {
            let said = claims.get("aud").map(ToString::to_string).unwrap_or_default();
            Doubt::Untrue(format!("it is for {said}, not for {}", audiences.join(" or ")))
        })?;
        let metadata = self.issuer.metadata(None).await.ok_or(Doubt::Silent)?;
        let verified = match verify(token, audience, &metadata) {
            Err(ClaimsVerificationError::SignatureVerification(SignatureVerificationError::NoMatchingKey)) => {
                let lately = Instant::now().checked_sub(KEYS_BELIEVED);
                let metadata = self.issuer.metadata(lately).await.ok_or(Doubt::Silent)?;
                verify(token, audience, &metadata)
            }
            verified => verified,
        };
        verified.map_err(|error| Doubt::Untrue(with_causes(&error)))
    }

    fn person(&self, claims: &Map<String, Value>) -> Result<Arc<Person>, BearerError> {
        let issuer = || self.settings.issuer.clone();
        let nobody =
            || BearerError::NoGrant { issuer: issuer(), subject: "nobody: it has no decent subject".to_owned() };
        let person = person(&self.settings.grants, claims).ok_or_else(nobody)?;
        if person.access.is_empty() {
            tell_unfit(&person, &self.settings.grants, claims);
            return Err(BearerError::NoGrant { issuer: issuer(), subject: person.subject });
        }
        Ok(Arc::new(person))
    }
}

fn is_for(claims: &Map<String, Value>, audience: &str) -> bool {
    match claims.get("aud") {
        Some(Value::Array(list)) => list.iter().any(|one| one == audience),
        Some(one) => one == audience,
        None => false,
    }
}

fn verify(token: &CoreIdToken, audience: &str, metadata: &CoreProviderMetadata) -> Result<(), ClaimsVerificationError> {
    let types = TYPES.iter().filter_map(|name| JsonWebTokenType::new((*name).to_owned()).normalize().ok());
    let verifier = CoreIdTokenVerifier::new_public_client(
        ClientId::new(audience.to_owned()),
        metadata.issuer().clone(),
        metadata.jwks().clone(),
    )
    .set_allowed_algs(ALGORITHMS)
    .set_allowed_jose_types(types)
    // It may be for others too.
    .set_other_audience_verifier_fn(|_| true);
    // Nobody has asked for it with a nonce.
    token.claims(&verifier, |_: Option<&Nonce>| Ok(())).map(|_| ())
}
