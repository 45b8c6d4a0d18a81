//! What the issuer publishes of itself: where it is asked, and the keys that it signs with.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use openidconnect::{IssuerUrl, core::CoreProviderMetadata};
use tokio::sync::Mutex;

use super::{http::IssuerHttp, settings::OidcSettings};
use crate::with_causes;

/// How long what the issuer publishes is believed.
const BELIEVED: Duration = Duration::from_secs(600);
/// How long it counts as silent once it was. Who waited for the same answer does not ask again.
const SILENT: Duration = Duration::from_secs(3);

/// The issuer, which is asked when somebody wants to sign in.
#[derive(Debug)]
pub(super) struct Issuer {
    pub(super) http: IssuerHttp,
    url: IssuerUrl,
    known: Mutex<Option<Known>>,
}

#[derive(Debug)]
struct Known {
    asked: Instant,
    answer: Result<Arc<CoreProviderMetadata>, String>,
}

impl Issuer {
    /// # Errors
    /// TLS cannot be set up, or the issuer is no URL.
    pub(super) fn new(settings: &OidcSettings) -> anyhow::Result<Self> {
        let url = IssuerUrl::new(settings.issuer.clone())?;
        Ok(Self { http: IssuerHttp::new(&settings.issuer)?, url, known: Mutex::default() })
    }

    /// What it publishes, as it was asked for after `since`, or lately.
    ///
    /// # Errors
    /// It does not answer, or not as an issuer: says why, for the log.
    pub(super) async fn metadata(&self, since: Option<Instant>) -> Result<Arc<CoreProviderMetadata>, String> {
        // Held while it is asked: all who wait get the same answer.
        let mut known = self.known.lock().await;
        if let Some(Known { asked, answer }) = known.as_ref() {
            let believed = if answer.is_ok() { BELIEVED } else { SILENT };
            if asked.elapsed() < believed && since.is_none_or(|since| *asked > since) {
                return answer.clone();
            }
        }
        let asked = Instant::now();
        let answer = CoreProviderMetadata::discover_async(self.url.clone(), &self.http).await;
        let answer = answer.map(Arc::new).map_err(|error| with_causes(&error));
        *known = Some(Known { asked, answer: answer.clone() });
        answer
    }
}
