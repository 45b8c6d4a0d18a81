//! Channels, and what is still to be sent to them.

use std::time::Duration;

use super::{
    Session, Store, StoreError,
    notices::{notice_columns, notice_from},
    session::{Row, Value, json_text, values},
};
use crate::domain::{Change, ChannelId, ChannelSpec, Name, Notice, NoticeId, ProjectId, Timestamp};

/// How long a message waits for others that come at the same time: they go as one.
const GATHER: Duration = Duration::from_secs(5);

/// A channel as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredChannel {
    /// Its id.
    pub id: ChannelId,
    /// Its project.
    pub project: ProjectId,
    /// Its name, unique in the project.
    pub name: Name,
    /// What it is.
    pub spec: ChannelSpec,
    /// The address or the password, sealed for this id.
    pub secret: Vec<u8>,
    /// What of the address may be shown.
    pub target: String,
    /// When it was set.
    pub updated_at: Timestamp,
    /// When what waits for it is sent.
    pub due_at: Option<Timestamp>,
    /// Why the last try failed, and when.
    pub last_error: Option<(String, Timestamp)>,
    /// When something was last delivered.
    pub delivered_at: Option<Timestamp>,
}

/// A channel for which something is to be sent, held by one service for a while.
#[derive(Debug, Clone)]
pub struct ChannelTry {
    /// The channel.
    pub channel: StoredChannel,
    /// Which try this is, from 1.
    pub number: u32,
    /// The last message that is to be sent.
    pub up_to: i64,
    /// When it was first tried.
    pub since: Timestamp,
}

/// A message that waits for its channel.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// Grows with time.
    pub id: i64,
    /// What becomes known.
    pub change: Change,
    /// Of which notice.
    pub notice: Notice,
}

/// What a try came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sent {
    /// These messages are done; what is left is sent at `rest_at`.
    Done {
        /// Sent, or not wanted.
        messages: Vec<i64>,
        /// Whether anything was sent.
        delivered: bool,
        /// When what is left is sent.
        rest_at: Timestamp,
    },
    /// Nothing was sent; it is tried again at `next`, or never.
    Failed {
        /// Why, for people.
        error: String,
        /// When it is tried again; `None` = what was to be sent is given up.
        next: Option<Timestamp>,
    },
}

macro_rules! channel_columns {
    () => {
        "id, project_id, name, spec, secret, target, updated_at, due_at, last_error, failed_at, delivered_at"
    };
}

fn channel_from(row: &Row) -> Result<StoredChannel, StoreError> {
    let error: Option<String> = row.get("last_error")?;
    Ok(StoredChannel {
        id: ChannelId(row.get("id")?),
        project: ProjectId(row.get("project_id")?),
        name: row.word("name", |text| text.parse().ok())?,
        spec: row.json("spec")?,
        secret: row.get("secret")?,
        target: row.get("target")?,
        updated_at: row.time("updated_at")?,
        due_at: row.time_opt("due_at")?,
        last_error: error.zip(row.time_opt("failed_at")?),
        delivered_at: row.time_opt("delivered_at")?,
    })
}

impl Store {
    /// Makes a channel, or changes it. One that is there keeps its id: seal the secret for that.
    ///
    /// # Errors
    /// The database failed.
    pub async fn set_channel(&self, channel: StoredChannel) -> Result<(), StoreError> {
        let spec = json_text(&channel.spec)?;
        self.write(move |session| {
            let (channel, spec) = (channel.clone(), spec.clone());
            Box::pin(async move {
                let sql = "INSERT INTO channels (id, project_id, name, spec, secret, target, updated_at) \
                           VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (project_id, name) DO UPDATE SET \
                           spec = excluded.spec, secret = excluded.secret, target = excluded.target, \
                           updated_at = excluded.updated_at WHERE channels.id = excluded.id";
                let (name, at) = (channel.name.as_str(), channel.updated_at);
                let values = values![channel.id, channel.project, name, spec, channel.secret, channel.target, at];
                session.execute(sql, values).await.map(|_| ())
            })
        })
        .await
    }

    /// A channel.
    ///
    /// # Errors
    /// The database failed.
    pub async fn channel(&self, project: ProjectId, name: &Name) -> Result<Option<StoredChannel>, StoreError> {
        const SQL: &str = concat!("SELECT ", channel_columns!(), " FROM channels WHERE project_id = $1 AND name = $2");
        let row = self.read().await?.first(SQL, values![project, name.as_str()]).await?;
        row.as_ref().map(channel_from).transpose()
    }

    /// A project's channels by name, those after `after`.
    ///
    /// # Errors
    /// The database failed.
    pub async fn channels(
        &self,
        project: ProjectId,
        after: Option<&Name>,
        limit: u32,
    ) -> Result<Vec<StoredChannel>, StoreError> {
        const SQL: &str = concat!(
            "SELECT ",
            channel_columns!(),
            " FROM channels WHERE project_id = $1 AND name > $2 ORDER BY name LIMIT $3"
        );
        let after = after.map_or("", |name| name.as_str());
        let rows = self.read().await?.all(SQL, values![project, after, limit]).await?;
        rows.iter().map(channel_from).collect()
    }

    /// Removes a channel and what waits for it; `false` when there was none.
    ///
    /// # Errors
    /// The database failed.
    pub async fn remove_channel(&self, project: ProjectId, name: &Name) -> Result<bool, StoreError> {
        let name = name.to_string();
        self.write(move |session| {
            let name = name.clone();
            Box::pin(async move {
                let waiting = "DELETE FROM messages WHERE channel_id IN \
                               (SELECT id FROM channels WHERE project_id = $1 AND name = $2)";
                session.execute(waiting, values![project, name.as_str()]).await?;
                let sql = "DELETE FROM channels WHERE project_id = $1 AND name = $2";
                Ok(session.execute(sql, values![project, name]).await? > 0)
            })
        })
        .await
    }

    /// Takes channels for which something is to be sent now, at most `limit`: nobody else does for `hold`.
    ///
    /// # Errors
    /// The database failed.
    pub async fn claim_channels(
        &self,
        now: Timestamp,
        hold: Duration,
        limit: u32,
    ) -> Result<Vec<ChannelTry>, StoreError> {
        const DUE: &str = "SELECT id, due_at FROM channels WHERE due_at IS NOT NULL AND due_at <= $1 \
                           ORDER BY due_at LIMIT $2";
        const CLAIM: &str = concat!(
            "UPDATE channels SET due_at = $1, tries = tries + 1, batch_since = COALESCE(batch_since, $2), \
             batch_to = COALESCE(batch_to, (SELECT MAX(messages.id) FROM messages WHERE channel_id = channels.id)) \
             WHERE id = $3 AND due_at = $4 RETURNING tries, batch_to, batch_since, ",
            channel_columns!()
        );
        // There is mostly nothing to do, and a write is dear.
        if self.read().await?.first(DUE, values![now, 1]).await?.is_none() {
            return Ok(Vec::new());
        }
        self.write(move |session| {
            Box::pin(async move {
                let mut claimed = Vec::new();
                for row in session.all(DUE, values![now, limit]).await? {
                    let (id, due_at) = (ChannelId(row.get("id")?), row.time("due_at")?);
                    let Some(row) = session.first(CLAIM, values![now.plus(hold), now, id, due_at]).await? else {
                        continue;
                    };
                    claimed.push(ChannelTry {
                        channel: channel_from(&row)?,
                        number: row.number("tries")?,
                        up_to: row.get::<Option<i64>>("batch_to")?.unwrap_or(0),
                        since: row.time("batch_since")?,
                    });
                }
                Ok(claimed)
            })
        })
        .await
    }

    /// When something is next to be sent.
    ///
    /// # Errors
    /// The database failed.
    pub async fn next_message_at(&self) -> Result<Option<Timestamp>, StoreError> {
        let sql = "SELECT MIN(due_at) AS due_at FROM channels WHERE due_at IS NOT NULL";
        self.read().await?.first(sql, Vec::new()).await?.map_or(Ok(None), |row| row.time_opt("due_at"))
    }

    /// What waits for a channel, the oldest first, up to a message.
    ///
    /// # Errors
    /// The database failed.
    pub async fn messages(&self, channel: ChannelId, up_to: i64, limit: u32) -> Result<Vec<Message>, StoreError> {
        const NOTICE: &str = concat!("SELECT ", notice_columns!(), " FROM notices WHERE id = $1");
        let mut session = self.read().await?;
        let sql = "SELECT id, notice_id, change FROM messages WHERE channel_id = $1 AND id <= $2 ORDER BY id LIMIT $3";
        let mut messages = Vec::new();
        for row in session.all(sql, values![channel, up_to, limit]).await? {
            let notice = session.first(NOTICE, values![NoticeId(row.get("notice_id")?)]).await?;
            let notice = notice.ok_or_else(|| StoreError::corrupt("message"))?;
            let (id, change) = (row.get("id")?, row.word("change", Change::parse)?);
            messages.push(Message { id, change, notice: notice_from(&notice)? });
        }
        Ok(messages)
    }

    /// Stores what a try came to. Does nothing when somebody else has tried since.
    ///
    /// # Errors
    /// The database failed.
    pub async fn channel_tried(&self, tried: &ChannelTry, sent: Sent, now: Timestamp) -> Result<(), StoreError> {
        let (id, number, up_to) = (tried.channel.id, tried.number, tried.up_to);
        self.write(move |session| {
            let sent = sent.clone();
            Box::pin(async move { keep(session, (id, number, up_to), &sent, now).await })
        })
        .await
    }
}

async fn keep(
    session: &mut Session,
    (channel, number, up_to): (ChannelId, u32, i64),
    sent: &Sent,
    now: Timestamp,
) -> Result<(), StoreError> {
    let mine = "SELECT id FROM channels WHERE id = $1 AND tries = $2";
    if session.first(mine, values![channel, number]).await?.is_none() {
        return Ok(());
    }
    match sent {
        Sent::Failed { error, next: Some(next) } => {
            let sql = "UPDATE channels SET due_at = $1, last_error = $2, failed_at = $3 WHERE id = $4";
            session.execute(sql, values![*next, error.as_str(), now, channel]).await?;
            return Ok(());
        }
        Sent::Failed { error, next: None } => {
            let sql = "UPDATE channels SET last_error = $1, failed_at = $2 WHERE id = $3";
            session.execute(sql, values![error.as_str(), now, channel]).await?;
            session.execute("DELETE FROM messages WHERE channel_id = $1 AND id <= $2", values![channel, up_to]).await?;
        }
        Sent::Done { messages, delivered, .. } => {
            for some in messages.chunks(200) {
                let places: Vec<_> = (2..some.len() + 2).map(|place| format!("${place}")).collect();
                let sql = format!("DELETE FROM messages WHERE channel_id = $1 AND id IN ({})", places.join(", "));
                let ids = some.iter().map(|id| Value::from(*id));
                session.all_built(sql, std::iter::once(Value::from(channel)).chain(ids).collect()).await?;
            }
            if *delivered {
                let sql = "UPDATE channels SET delivered_at = $1, last_error = NULL, failed_at = NULL WHERE id = $2";
                session.execute(sql, values![now, channel]).await?;
            }
        }
    }
    let rest_at = if let Sent::Done { rest_at, .. } = sent { *rest_at } else { now };
    let sql = "UPDATE channels SET tries = 0, batch_to = NULL, batch_since = NULL, due_at = CASE \
               WHEN EXISTS (SELECT 1 FROM messages WHERE channel_id = $1 AND id > $2) THEN $3 \
               WHEN EXISTS (SELECT 1 FROM messages WHERE channel_id = $1) THEN $4 ELSE NULL END WHERE id = $1";
    session.execute(sql, values![channel, up_to, now, rest_at]).await.map(|_| ())
}

/// Has the channels of a project told, or only those of these names. What concerns the whole installation goes to the
/// channels of the project that was there first.
pub(super) async fn tell(
    session: &mut Session,
    project: Option<ProjectId>,
    chosen: &[Name],
    notice: NoticeId,
    change: Change,
    now: Timestamp,
) -> Result<(), StoreError> {
    let sql =
        "SELECT id, name FROM channels WHERE project_id = COALESCE($1, (SELECT id FROM projects WHERE name = $2))";
    let default = Name::default_project();
    let rows = session.all(sql, values![project, default.as_str()]).await?;
    let mut statements = Vec::new();
    for row in &rows {
        let name: String = row.get("name")?;
        if !chosen.is_empty() && !chosen.iter().any(|chosen| chosen.as_str() == name) {
            continue;
        }
        let channel = ChannelId(row.get("id")?);
        statements.push((
            "INSERT INTO messages (channel_id, notice_id, change, at) VALUES ($1, $2, $3, $4)",
            values![channel, notice, change.as_str(), now],
        ));
        statements.push((
            // What is held back until quiet hours end does not hold up what comes; what is being tried goes on.
            "UPDATE channels SET due_at = $1 WHERE id = $2 AND tries = 0 AND (due_at IS NULL OR due_at > $1)",
            values![now.plus(GATHER), channel],
        ));
    }
    session.execute_all(statements).await
}
