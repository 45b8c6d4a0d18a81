//! What the issuer publishes of itself: where it is asked, and the keys that it signs with.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use openidconnect::{IssuerUrl, core::CoreProviderMetadata};
use tokio::sync::Mutex;

use super::http::IssuerHttp;
use crate::with_causes;

/// How long what the issuer publishes is believed.
const BELIEVED: Duration = Duration::from_secs(600);
/// How long it counts as silent once it was. Who waited for the same answer does not ask again.
const SILENT: Duration = Duration::from_secs(3);

/// An issuer, which is asked when somebody wants to be let in.
#[derive(Debug)]
pub(super) struct Issuer {
    pub(super) http: IssuerHttp,
    url: IssuerUrl,
    known: Mutex<Option<Known>>,
}

#[derive(Debug)]
struct Known {
    asked: Instant,
    answer: Option<Arc<CoreProviderMetadata>>,
}

impl Issuer {
    /// # Errors
    /// TLS cannot be set up, or the issuer is no URL.
    pub(super) fn new(issuer: &str) -> anyhow::Result<Self> {
        let url = IssuerUrl::new(issuer.to_owned())?;
        Ok(Self { http: IssuerHttp::new(issuer)?, url, known: Mutex::default() })
    }

    /// What it publishes, as it was asked for after `since`, or lately; `None` when it does not answer as an issuer does,
    /// of which the log says why.
    pub(super) async fn metadata(&self, since: Option<Instant>) -> Option<Arc<CoreProviderMetadata>> {
        // Held while it is asked: all who wait get the same answer.
        let mut known = self.known.lock().await;
        if let Some(Known { asked, answer }) = known.as_ref() {
            let believed = if answer.is_some() { BELIEVED } else { SILENT };
            if asked.elapsed() < believed && since.is_none_or(|since| *asked > since) {
                return answer.clone();
            }
        }
        let asked = Instant::now();
        let answer = CoreProviderMetadata::discover_async(self.url.clone(), &self.http).await;
        let answer = answer.map(Arc::new).map_err(|error| {
            let cause = with_causes(&error);
            tracing::warn!(issuer = self.url.as_str(), cause, "the issuer of identities does not tell of itself");
        });
        let answer = answer.ok();
        *known = Some(Known { asked, answer: answer.clone() });
        answer
    }
}
