//! An OpenID Connect issuer over HTTP, which signs with keys of its own and can be made to lie.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock, Mutex, MutexGuard},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use axum::{
    Form, Json, Router,
    extract::{Query, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Redirect, Response},
    routing::{get, post},
};
use base64::{
    Engine as _,
    prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD},
};
use haulier::{
    auth::{Grant, OidcSettings, TokenIssuerSettings},
    domain::{Access, Scope},
};
use rsa::{
    RsaPrivateKey,
    pkcs1v15::SigningKey,
    rand_core::OsRng,
    sha2::{Digest, Sha256},
    signature::{SignatureEncoding as _, Signer as _},
    traits::PublicKeyParts as _,
};
use serde_json::{Value, json};

pub const CLIENT: &str = "haulier";
/// With what has to be escaped.
const SECRET: &str = "s3cret/with+signs&more";

/// Two keys for all tests: making one takes a second.
static KEYS: LazyLock<[RsaPrivateKey; 2]> =
    LazyLock::new(|| [(); 2].map(|()| RsaPrivateKey::new(&mut OsRng, 2048).unwrap()));

#[derive(Clone)]
pub struct Issuer {
    url: String,
    inner: Arc<Mutex<Inner>>,
}

/// What it does, for tests to change.
pub struct Inner {
    /// Claims of whoever signs in; those that are null are left out.
    pub claims: Value,
    /// The key that signs, and its name.
    pub key: (usize, &'static str),
    /// The key that is published, and its name.
    pub published: (usize, &'static str),
    pub algorithm: &'static str,
    /// What it says that its tokens are.
    pub kind: &'static str,
    /// Answers to everything, if at all.
    pub trouble: Option<(StatusCode, String)>,
    /// Says no instead of giving a code.
    pub refuses: Option<(&'static str, &'static str)>,
    /// Takes a code again and again.
    pub forgetful: bool,
    /// How often keys were asked for.
    pub asked_for_keys: usize,
    codes: HashMap<String, HashMap<String, String>>,
}

impl Issuer {
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let issuer = Self {
            url: format!("http://{}", listener.local_addr().unwrap()),
            inner: Arc::new(Mutex::new(Inner {
                claims: json!({"sub": "4711", "email": "anna@example.com", "groups": ["data-team"]}),
                key: (0, "first"),
                published: (0, "first"),
                algorithm: "RS256",
                kind: "JWT",
                trouble: None,
                refuses: None,
                forgetful: false,
                asked_for_keys: 0,
                codes: HashMap::new(),
            })),
        };
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(discovery))
            .route("/keys", get(keys))
            .route("/authorize", get(authorize))
            .route("/token", post(token))
            .with_state(issuer.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        issuer
    }

    pub fn set(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    /// Settings that trust this issuer to sign people in. A grant is a group, a project or `*` for all, and scopes.
    pub fn settings(&self, grants: &[(&str, &str, &[Scope])]) -> OidcSettings {
        OidcSettings {
            name: "Example <ID>".to_owned(),
            issuer: self.url.clone(),
            client_id: CLIENT.to_owned(),
            client_secret: Some(SECRET.into()),
            scopes: vec!["email".to_owned()],
            grants: granted(grants),
            session: Duration::from_secs(3600),
        }
    }

    /// Settings that believe tokens of this issuer for these audiences.
    pub fn token_settings(&self, audiences: &[&str], grants: &[(&str, &str, &[Scope])]) -> TokenIssuerSettings {
        let audiences = audiences.iter().map(|audience| (*audience).to_owned()).collect();
        TokenIssuerSettings { issuer: self.url.clone(), audiences, grants: granted(grants) }
    }

    /// A token that is sent with requests, with these claims besides those of whoever signs in; null leaves one out.
    pub fn token(&self, claims: &Value) -> String {
        self.set().signed(&self.url, &json!({}), claims)
    }
}

fn granted(grants: &[(&str, &str, &[Scope])]) -> Vec<Grant> {
    let grant = |(group, project, scopes): &(&str, &str, &[Scope])| Grant {
        claim: "groups".to_owned(),
        value: (*group).to_owned(),
        access: Access { project: (*project != "*").then(|| project.parse().unwrap()), scopes: scopes.to_vec() },
    };
    grants.iter().map(grant).collect()
}

type Answer = Result<Response, Response>;

/// The issuer, unless it is in trouble.
fn well(issuer: &Issuer) -> Result<MutexGuard<'_, Inner>, Response> {
    let inner = issuer.set();
    match &inner.trouble {
        Some((status, body)) => {
            Err((*status, [(header::CONTENT_TYPE, "application/json")], body.clone()).into_response())
        }
        None => Ok(inner),
    }
}

async fn discovery(State(issuer): State<Issuer>) -> Answer {
    drop(well(&issuer)?);
    let at = |path: &str| format!("{}{path}", issuer.url);
    Ok(Json(json!({
        "issuer": issuer.url,
        "authorization_endpoint": at("/authorize"),
        "token_endpoint": at("/token"),
        "jwks_uri": at("/keys"),
        "response_types_supported": ["code"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
    }))
    .into_response())
}

async fn keys(State(issuer): State<Issuer>) -> Answer {
    let mut inner = well(&issuer)?;
    inner.asked_for_keys += 1;
    let (key, kid) = (&KEYS[inner.published.0], inner.published.1);
    let (n, e) = (key.n().to_bytes_be(), key.e().to_bytes_be());
    let (n, e) = (BASE64_URL_SAFE_NO_PAD.encode(n), BASE64_URL_SAFE_NO_PAD.encode(e));
    Ok(Json(json!({"keys": [{"kty": "RSA", "use": "sig", "alg": "RS256", "kid": kid, "n": n, "e": e}]}))
        .into_response())
}

/// Whoever comes is signed in at once.
async fn authorize(State(issuer): State<Issuer>, Query(query): Query<HashMap<String, String>>) -> Answer {
    let mut inner = well(&issuer)?;
    assert_eq!((query["response_type"].as_str(), query["client_id"].as_str()), ("code", CLIENT));
    assert_eq!((query["code_challenge_method"].as_str(), query["scope"].as_str()), ("S256", "openid email"));
    let mut back = reqwest::Url::parse(&query["redirect_uri"]).unwrap();
    back.query_pairs_mut().append_pair("state", &query["state"]);
    match inner.refuses {
        Some((error, words)) => {
            back.query_pairs_mut().append_pair("error", error).append_pair("error_description", words);
        }
        None => {
            let code = format!("code-{}", inner.codes.len());
            back.query_pairs_mut().append_pair("code", &code);
            inner.codes.insert(code, query);
        }
    }
    Ok(Redirect::to(back.as_str()).into_response())
}

async fn token(State(issuer): State<Issuer>, headers: HeaderMap, Form(form): Form<HashMap<String, String>>) -> Answer {
    let mut inner = well(&issuer)?;
    let escaped = percent_encoding::utf8_percent_encode(SECRET, percent_encoding::NON_ALPHANUMERIC);
    let login = format!("Basic {}", BASE64_STANDARD.encode(format!("{CLIENT}:{escaped}")));
    if headers[header::AUTHORIZATION] != login {
        return Ok((StatusCode::UNAUTHORIZED, Json(json!({"error": "invalid_client"}))).into_response());
    }
    assert_eq!(form["grant_type"], "authorization_code");
    let asked =
        if inner.forgetful { inner.codes.get(&form["code"]).cloned() } else { inner.codes.remove(&form["code"]) };
    let challenge = BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(&form["code_verifier"]));
    let Some(asked) =
        asked.filter(|asked| asked["code_challenge"] == challenge && asked["redirect_uri"] == form["redirect_uri"])
    else {
        return Ok((StatusCode::BAD_REQUEST, Json(json!({"error": "invalid_grant"}))).into_response());
    };
    let id_token = inner.signed(&issuer.url, &json!({"nonce": asked["nonce"]}), &json!({}));
    Ok(Json(json!({"access_token": "a", "token_type": "Bearer", "expires_in": 60, "id_token": id_token}))
        .into_response())
}

impl Inner {
    /// With these claims, those of whoever signs in, and these: later ones count.
    fn signed(&self, issuer: &str, first: &Value, last: &Value) -> String {
        #[expect(clippy::disallowed_methods, reason = "the issuer has a clock of its own")]
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let mut claims = json!({"iss": issuer, "aud": CLIENT, "iat": now, "exp": now + 60});
        for (name, value) in [first, &self.claims, last].into_iter().flat_map(|more| more.as_object().unwrap()) {
            claims[name] = value.clone();
        }
        claims.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        let part = |value: Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
        let header = json!({"alg": self.algorithm, "kid": self.key.1, "typ": self.kind});
        let signed = format!("{}.{}", part(header), part(claims));
        let signature = match self.algorithm {
            "none" => Vec::new(),
            _ => SigningKey::<Sha256>::new(KEYS[self.key.0].clone()).sign(signed.as_bytes()).to_vec(),
        };
        format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
    }
}
