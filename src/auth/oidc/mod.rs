//! Identities that others vouch for: signing in with OpenID Connect, the authorization code flow with PKCE; and, in
//! `bearer`, tokens that are sent with requests.
//!
//! The issuer is asked for the first time when the first person wants to sign in: the service starts without it.

mod bearer;
mod http;
mod issuer;
mod request;
mod settings;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use openidconnect::{
    AuthType, AuthorizationCode, ClaimsVerificationError, ClientId, ClientSecret, CsrfToken, EndpointMaybeSet,
    EndpointNotSet, EndpointSet, Nonce, PkceCodeChallenge, PkceCodeVerifier, RedirectUrl, RequestTokenError, Scope,
    SignatureVerificationError, TokenResponse as _,
    core::{
        CoreAuthenticationFlow, CoreClient, CoreClientAuthMethod, CoreErrorResponseType, CoreIdToken,
        CoreProviderMetadata, CoreTokenResponse,
    },
};
use secrecy::ExposeSecret;
use serde_json::{Map, Value};
use tokio::sync::Semaphore;

pub use bearer::{Bearer, BearerError, TokenIssuers};
pub use request::REQUEST_LIFETIME;
pub use settings::{Grant, OidcSettings, TokenIssuerSettings};

use crate::{
    domain::{Clock, Person},
    with_causes,
};
use issuer::Issuer;
use request::SignInRequest;

/// How long the service may take for one step, with all the calls that it needs.
const STEP: Duration = Duration::from_secs(20);
/// How many steps are taken at once; who waits longer than a step may take is sent back. Whoever is nobody yet can
/// make the service call the issuer.
const AT_ONCE: usize = 16;
/// The longest mail address, and the longest subject, in bytes.
const LONGEST_NAME: usize = 255;

/// A client of the issuer that knows where to send people and whom to ask for tokens.
type Client =
    CoreClient<EndpointSet, EndpointNotSet, EndpointNotSet, EndpointNotSet, EndpointMaybeSet, EndpointMaybeSet>;

/// Lets people sign in at the issuer.
#[derive(Debug)]
pub struct Oidc {
    settings: OidcSettings,
    issuer: Issuer,
    clock: Arc<dyn Clock>,
    places: Semaphore,
}

/// A sign-in that is to go on at the issuer.
#[derive(Debug)]
pub struct Departure {
    /// Where the browser goes.
    pub to: String,
    /// What it holds meanwhile, for [`REQUEST_LIFETIME`] at the most.
    pub cookie: String,
}

/// What the browser brings back.
#[derive(Debug)]
pub struct Return<'r> {
    /// What it held; empty when nothing.
    pub cookie: &'r str,
    /// The state that the issuer handed back.
    pub state: &'r str,
    /// What the issuer said.
    pub said: Said<'r>,
}

/// What the issuer said of a sign-in.
#[derive(Debug)]
pub enum Said<'r> {
    /// This code stands for the tokens.
    Code(&'r str),
    /// It lets nobody in: its code for why, and its words.
    No(&'r str, &'r str),
}

/// A sign-in that went well.
#[derive(Debug)]
pub struct Arrival {
    /// Who.
    pub person: Person,
    /// What the request is remembered by, which must lead to one session alone.
    pub request: [u8; 32],
    /// Where to go.
    pub then: String,
}

/// Why somebody is not signed in.
#[derive(Debug, thiserror::Error)]
pub enum SignInError {
    /// The browser did not begin this sign-in, or too long ago, or it has been used.
    #[error("this sign-in was begun elsewhere, took too long or has been used: sign in again")]
    Stale,
    /// The issuer does not answer. The cause is in the log.
    #[error("{0} does not answer as it should: try again in a minute, or sign in with a token")]
    Silent(String),
    /// The issuer lets them not in.
    #[error("{name} did not sign you in: {reason}")]
    Refused {
        /// What people call the issuer.
        name: String,
        /// Its words.
        reason: String,
    },
    /// What the issuer said cannot be believed. The cause is in the log.
    #[error("what {0} said of you cannot be trusted: sign in again, and tell whoever runs this service if it stays")]
    Untrusted(String),
    /// They are known, but may do nothing here.
    #[error(
        "{issuer} knows you as {person} (subject {subject}), but you have no access here: ask whoever runs this \
         service for it, and tell them this name; if you were just given it, sign in again"
    )]
    NoGrant {
        /// What people call the issuer.
        issuer: String,
        /// Who.
        person: String,
        /// How the issuer tells them from others.
        subject: String,
    },
}

impl Oidc {
    /// With these settings.
    ///
    /// # Errors
    /// TLS cannot be set up, or the issuer is no URL.
    pub fn new(settings: OidcSettings, clock: Arc<dyn Clock>) -> anyhow::Result<Self> {
        Ok(Self { issuer: Issuer::new(&settings.issuer)?, settings, clock, places: Semaphore::new(AT_ONCE) })
    }

    /// Its settings.
    #[must_use]
    pub const fn settings(&self) -> &OidcSettings {
        &self.settings
    }

    /// Begins a sign-in that comes back to `redirect`, an address of this service that the issuer knows, and goes on
    /// to `then`.
    ///
    /// # Errors
    /// The issuer does not answer.
    pub async fn depart(&self, redirect: &str, then: &str) -> Result<Departure, SignInError> {
        let request = SignInRequest::new(then).map_err(|error| self.silent(&error))?;
        let metadata = self.bounded(self.metadata(None)).await?;
        let client = self.client(&metadata, redirect)?;
        let (state, nonce) = (request.state(self.clock.now()), request.nonce());
        let verifier = PkceCodeVerifier::new(request.verifier());
        let (to, _, _) = client
            .authorize_url(
                CoreAuthenticationFlow::AuthorizationCode,
                move || CsrfToken::new(state),
                move || Nonce::new(nonce),
            )
            .add_scopes(self.settings.scopes.iter().cloned().map(Scope::new))
            .set_pkce_challenge(PkceCodeChallenge::from_code_verifier_sha256(&verifier))
            .url();
        Ok(Departure { to: to.into(), cookie: request.to_cookie() })
    }

    /// Ends a sign-in: checks that this browser began it, asks the issuer who it is, and what they may do here.
    ///
    /// # Errors
    /// See [`SignInError`].
    pub async fn arrive(&self, redirect: &str, back: Return<'_>) -> Result<Arrival, SignInError> {
        let request = SignInRequest::from_cookie(back.cookie).ok_or(SignInError::Stale)?;
        if !request.is_own(back.state, self.clock.now()) {
            return Err(SignInError::Stale);
        }
        let code = match back.said {
            Said::Code(code) => code,
            Said::No(code, words) => {
                let reason: String = format!("{code} {words}").trim().chars().take(300).collect();
                tracing::info!(reason, "the issuer did not sign somebody in");
                return Err(SignInError::Refused { name: self.settings.name.clone(), reason });
            }
        };
        let claims = self.bounded(self.claims(redirect, code, &request)).await?;
        let person = self.person(&claims)?;
        tracing::info!(person = person.name, subject = person.subject, "signed in");
        Ok(Arrival { person, request: request.hash(), then: request.then })
    }

    /// What the ID token that the code stands for claims, once it is known to be the issuer's, for us, for this
    /// request, and in force.
    async fn claims(
        &self,
        redirect: &str,
        code: &str,
        request: &SignInRequest,
    ) -> Result<Map<String, Value>, SignInError> {
        let began = Instant::now();
        let metadata = self.metadata(None).await?;
        let client = self.client(&metadata, redirect)?;
        let token = self.id_token(&client, code, request).await?;
        let nonce = Nonce::new(request.nonce());
        let verified = match token.claims(&client.id_token_verifier(), &nonce) {
            Err(ClaimsVerificationError::SignatureVerification(SignatureVerificationError::NoMatchingKey)) => {
                // Keys are replaced now and then. They are asked for again once a sign-in, and only for a token that
                // the issuer itself has just handed out.
                let metadata = self.metadata(Some(began)).await?;
                token.claims(&self.client(&metadata, redirect)?.id_token_verifier(), &nonce).map(|_| ())
            }
            verified => verified.map(|_| ()),
        };
        verified.map_err(|error| self.untrusted(&with_causes(&error)))?;
        payload(&token).ok_or_else(|| self.untrusted("the ID token's claims are no JSON object"))
    }

    async fn id_token(&self, client: &Client, code: &str, request: &SignInRequest) -> Result<CoreIdToken, SignInError> {
        let exchange = client
            .exchange_code(AuthorizationCode::new(code.to_owned()))
            .map_err(|error| self.silent(&error))?
            .set_pkce_verifier(PkceCodeVerifier::new(request.verifier()));
        let answer: Result<CoreTokenResponse, _> = exchange.request_async(&self.issuer.http).await;
        let tokens = answer.map_err(|error| match error {
            RequestTokenError::ServerResponse(refusal) => match refusal.error() {
                CoreErrorResponseType::InvalidGrant => SignInError::Stale,
                // Like a client secret that is wrong: nothing that trying again can help.
                _ => self.silent_because(&format!("it gives no tokens: {refusal}")),
            },
            // The answer itself is not told: it may hold a token.
            RequestTokenError::Parse(error, _) => self.silent(&error),
            error => self.silent(&error),
        })?;
        tokens.id_token().cloned().ok_or_else(|| self.untrusted("the issuer gave no ID token"))
    }

    fn client(&self, metadata: &CoreProviderMetadata, redirect: &str) -> Result<Client, SignInError> {
        let redirect = RedirectUrl::new(redirect.to_owned()).map_err(|error| self.silent(&error))?;
        let secret = self.settings.client_secret.as_ref().map(|text| ClientSecret::new(text.expose_secret().into()));
        let client_id = ClientId::new(self.settings.client_id.clone());
        let client = CoreClient::from_provider_metadata(metadata.clone(), client_id, secret).set_redirect_uri(redirect);
        let (basic, post) = (CoreClientAuthMethod::ClientSecretBasic, CoreClientAuthMethod::ClientSecretPost);
        // Left out means: in the header.
        let in_body = metadata
            .token_endpoint_auth_methods_supported()
            .is_some_and(|methods| methods.contains(&post) && !methods.contains(&basic));
        Ok(if in_body { client.set_auth_type(AuthType::RequestBody) } else { client })
    }

    fn person(&self, claims: &Map<String, Value>) -> Result<Person, SignInError> {
        let person = person(&self.settings.grants, claims)
            .ok_or_else(|| self.untrusted("the ID token has no subject of decent length"))?;
        if person.access.is_empty() {
            tell_unfit(&person, &self.settings.grants, claims);
            let (issuer, Person { name, subject, .. }) = (self.settings.name.clone(), person);
            return Err(SignInError::NoGrant { issuer, person: name, subject });
        }
        Ok(person)
    }

    async fn metadata(&self, since: Option<Instant>) -> Result<Arc<CoreProviderMetadata>, SignInError> {
        self.issuer.metadata(since).await.ok_or_else(|| SignInError::Silent(self.settings.name.clone()))
    }

    async fn bounded<T>(&self, work: impl Future<Output = Result<T, SignInError>>) -> Result<T, SignInError> {
        let work = async {
            let _place = self.places.acquire().await;
            work.await
        };
        let answer = tokio::time::timeout(STEP, work).await;
        answer.unwrap_or_else(|_| Err(self.silent_because(&format!("no answer within {} s", STEP.as_secs()))))
    }

    fn silent(&self, error: &dyn std::error::Error) -> SignInError {
        self.silent_because(&with_causes(error))
    }

    fn silent_because(&self, cause: &str) -> SignInError {
        tracing::warn!(issuer = self.settings.issuer, cause, "the issuer of identities does not answer as it should");
        SignInError::Silent(self.settings.name.clone())
    }

    fn untrusted(&self, cause: &str) -> SignInError {
        tracing::warn!(issuer = self.settings.issuer, cause, "a sign-in was refused");
        SignInError::Untrusted(self.settings.name.clone())
    }
}

/// All claims of a token whose signature was checked: the library's types know those of the standard alone.
fn payload(token: &CoreIdToken) -> Option<Map<String, Value>> {
    let token = token.to_string();
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    serde_json::from_slice(&bytes).ok()
}

/// Whoever these claims are about, and what they may do, which may be nothing; `None` without a subject.
fn person(grants: &[Grant], claims: &Map<String, Value>) -> Option<Person> {
    let subject = text(claims, "sub")?;
    // An address that somebody may have made up must not stand for whoever has it.
    let verified = claims.get("email_verified").is_none_or(|said| *said == Value::Bool(true));
    let mail = text(claims, "email").filter(|mail| verified && mail.contains('@'));
    let name = mail.map_or_else(|| format!("oidc:{subject}"), str::to_owned);
    Some(Person { name, subject: subject.to_owned(), access: settings::access(grants, claims) })
}

/// For whoever writes grants.
fn tell_unfit(person: &Person, grants: &[Grant], claims: &Map<String, Value>) {
    let names: std::collections::BTreeSet<_> = grants.iter().map(|grant| &grant.claim).collect();
    let missing: Vec<_> = names.into_iter().filter(|name| settings::find(claims, name).is_none()).collect();
    let (person, subject) = (&person.name, &person.subject);
    tracing::info!(person, subject, ?missing, "no grant fits somebody; `missing` are claims that are not there");
}

/// A claim that can stand for somebody.
fn text<'c>(claims: &'c Map<String, Value>, name: &str) -> Option<&'c str> {
    let text = claims.get(name)?.as_str()?;
    let good = (1..=LONGEST_NAME).contains(&text.len()) && !text.chars().any(|c| c.is_control() || c.is_whitespace());
    good.then_some(text)
}
