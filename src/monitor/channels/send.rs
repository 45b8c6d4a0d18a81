//! One try.

use std::{fmt, sync::Arc};

use reqwest::header;
use ring::digest::{SHA256, digest};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use uuid::Uuid;

use super::{digest::Digest, email, forms};
use crate::{
    callbacks::{TargetPolicy, http_client, in_words, signed},
    domain::{Change, ChannelKind, Clock, Name, Notice, NoticeId, NoticeKind, Project, Severity, next_try},
    store::{ChannelTry, Message, Sent, Store, StoredChannel},
    vault::ProjectKeys,
};

/// How many notices one message tells of.
const MOST: u32 = 2000;

/// Sends notices to channels.
pub struct Sender {
    store: Store,
    keys: ProjectKeys,
    clock: Arc<dyn Clock>,
    policy: TargetPolicy,
    public_url: Option<String>,
    http: reqwest::Client,
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").finish_non_exhaustive()
    }
}

impl Sender {
    /// A sender that goes where the policy permits. `public_url`: how people reach the service.
    ///
    /// # Errors
    /// TLS cannot be set up.
    pub fn new(
        store: Store,
        keys: ProjectKeys,
        clock: Arc<dyn Clock>,
        policy: TargetPolicy,
        public_url: Option<String>,
    ) -> anyhow::Result<Self> {
        Ok(Self { http: http_client(&policy)?, store, keys, clock, policy, public_url })
    }

    /// Sends a message that says it is a test.
    ///
    /// # Errors
    /// Why it could not be sent, for people.
    pub async fn test(&self, project: &Project, channel: &StoredChannel) -> Result<(), String> {
        let now = self.clock.now();
        let notice = Notice {
            id: NoticeId::generate(),
            project: Some(project.id),
            kind: NoticeKind::Failed,
            subject: "test".to_owned(),
            job: None,
            run: None,
            summary: format!("this is a test of the channel {}: nothing is wrong", channel.name),
            figures: Default::default(),
            times: 1,
            opened_at: now,
            seen_at: now,
            acknowledged_at: None,
            acknowledged_by: None,
            resolved_at: None,
            resolution: None,
        };
        let message = Message { id: 0, change: Change::Opened, notice };
        self.send(&project.name, channel, &[message], Uuid::now_v7()).await
    }

    /// Tries once, and stores what came of it.
    pub(super) async fn try_once(&self, one: ChannelTry) {
        let now = self.clock.now();
        let sent = match self.deliver(&one).await {
            Ok(sent) => sent,
            Err(error) => {
                let next = next_try(one.number, one.since, now, rand::random());
                let (channel, tries) = (&one.channel.name, one.number);
                match next {
                    Some(_) => tracing::info!(%channel, tries, error, "notices are sent again"),
                    None => tracing::warn!(%channel, tries, error, "notices could not be sent and are given up"),
                }
                Sent::Failed { error, next }
            }
        };
        // When this fails, the try is made again once its hold is over: twice is better than never.
        if let Err(error) = self.store.channel_tried(&one, sent, self.clock.now()).await {
            tracing::error!(error = &error as &dyn std::error::Error, "it could not be stored what was sent");
        }
    }

    async fn deliver(&self, one: &ChannelTry) -> Result<Sent, String> {
        let channel = &one.channel;
        let failed = |error: crate::store::StoreError| format!("the database failed: {error}");
        let messages = self.store.messages(channel.id, one.up_to, MOST).await.map_err(failed)?;
        let now = self.clock.now();
        let quiet_until = channel.spec.quiet_hours.as_ref().and_then(|quiet| quiet.end(now));
        let (mut done, mut wanted) = (Vec::new(), Vec::new());
        for message in messages {
            let labels = self.labels(&message.notice).await.map_err(failed)?;
            let wants = channel.spec.wants(&message.notice, message.change, &labels);
            // Held until the quiet hours are over.
            if wants && quiet_until.is_some() && message.notice.kind.severity() < Severity::Critical {
                continue;
            }
            done.push(message.id);
            if wants {
                wanted.push(message);
            }
        }
        if !wanted.is_empty() {
            let project = self.store.project_by_id(channel.project).await.map_err(failed)?;
            let (project, _) = project.ok_or("the project is gone")?;
            let delivery = delivery_id(channel, one.up_to);
            self.send(&project.name, channel, &wanted, delivery).await?;
            tracing::info!(channel = %channel.name, notices = wanted.len(), "notices were sent");
        }
        Ok(Sent::Done { messages: done, delivered: !wanted.is_empty(), rest_at: quiet_until.unwrap_or(now) })
    }

    async fn labels(&self, notice: &Notice) -> Result<indexmap::IndexMap<String, String>, crate::store::StoreError> {
        let Some((job, _)) = &notice.job else { return Ok(Default::default()) };
        Ok(self.store.job_by_id(*job).await?.map(|(_, revision)| revision.spec.labels).unwrap_or_default())
    }

    async fn send(
        &self,
        project: &Name,
        channel: &StoredChannel,
        messages: &[Message],
        delivery: Uuid,
    ) -> Result<(), String> {
        let secret = self.keys.open_channel(channel.project, channel.id, &channel.secret).await;
        let secret = secret.map_err(|error| format!("the channel cannot be opened: {error}"))?;
        let digest = Digest::of(project, messages, self.public_url.as_deref());
        match channel.spec.kind {
            ChannelKind::Webhook => {
                let key = self.keys.webhook_key(channel.project).await.map_err(|error| error.to_string())?;
                let now = self.clock.now();
                let body = forms::webhook(project, messages, now).to_string().into_bytes();
                self.post(&secret, |request| signed(request, &key, delivery, now, &body).body(body.clone())).await
            }
            ChannelKind::Slack => self.post_json(&secret, forms::slack(&digest)).await,
            ChannelKind::Teams => self.post_json(&secret, forms::teams(&digest)).await,
            ChannelKind::Email => {
                let spec = channel.spec.email.as_ref().ok_or("the channel does not say how mail is sent")?;
                email::send(spec, &secret, &self.policy, &digest, delivery).await
            }
        }
    }

    async fn post_json(&self, url: &SecretString, body: Value) -> Result<(), String> {
        self.post(url, |request| request.body(body.to_string())).await
    }

    async fn post(
        &self,
        url: &SecretString,
        finish: impl FnOnce(reqwest::RequestBuilder) -> reqwest::RequestBuilder,
    ) -> Result<(), String> {
        // It may have been allowed when it was given.
        let url = self.policy.check(url.expose_secret())?;
        let request = self.http.post(url).header(header::CONTENT_TYPE, "application/json");
        match finish(request).send().await {
            Ok(answer) if answer.status().is_success() => Ok(()),
            Ok(answer) => Err(format!("the receiver answered {}", answer.status())),
            Err(error) => Err(in_words(error)),
        }
    }
}

/// Names what is sent, the same in every try.
fn delivery_id(channel: &StoredChannel, up_to: i64) -> Uuid {
    let hash = digest(&SHA256, &[channel.id.0.as_bytes().as_slice(), &up_to.to_be_bytes()].concat());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash.as_ref()[..16]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}
