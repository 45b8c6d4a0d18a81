//! Where notices are sent.

use std::{collections::BTreeMap, time::Duration};

use jiff::{ToSpan as _, civil, tz::TimeZone};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Name, Notice, NoticeKind, Problems, Severity, Timestamp, validate::FieldError};

/// What becomes known of a notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// It was opened.
    Opened,
    /// It is over.
    Resolved,
}

impl Change {
    /// The change as it is stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Opened => "opened",
            Self::Resolved => "resolved",
        }
    }

    /// Reads a stored change.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Opened, Self::Resolved].into_iter().find(|change| change.as_str() == text)
    }
}

/// How a channel sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ChannelKind {
    /// Haulier's own JSON, signed as callbacks are.
    Webhook,
    /// A Slack incoming webhook.
    Slack,
    /// A Teams workflow that posts adaptive cards.
    Teams,
    /// E-mail over SMTP.
    Email,
}

impl ChannelKind {
    /// The kind as it is stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Webhook => "webhook",
            Self::Slack => "slack",
            Self::Teams => "teams",
            Self::Email => "email",
        }
    }

    /// Reads a stored kind.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Webhook, Self::Slack, Self::Teams, Self::Email].into_iter().find(|kind| kind.as_str() == text)
    }
}

/// Where notices are sent, and which of them. Its address and its password are apart, sealed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChannelSpec {
    /// How it sends.
    pub kind: ChannelKind,
    /// For kind `email`: the mail server, who sends and who receives.
    #[serde(default)]
    pub email: Option<EmailSpec>,
    /// This bad, or worse.
    #[serde(default = "ChannelSpec::all")]
    pub min_severity: Severity,
    /// Of these kinds; empty = all.
    #[serde(default)]
    pub kinds: Vec<NoticeKind>,
    /// About these jobs, by name; empty = all, and what is about no job.
    #[serde(default)]
    pub jobs: Vec<Name>,
    /// About jobs with all of these labels.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Whether it is told too when a notice is over.
    #[serde(default = "ChannelSpec::yes")]
    pub resolved: bool,
    /// When only critical notices are sent. The others are sent when these hours are over.
    #[serde(default)]
    pub quiet_hours: Option<QuietHours>,
}

/// How mail is sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EmailSpec {
    /// The mail server.
    #[schema(example = "smtp.example.com")]
    pub host: String,
    /// Its port; by default 587, or 465 with `tls: implicit`.
    #[serde(default)]
    pub port: Option<u16>,
    /// How the connection is protected.
    #[serde(default)]
    pub tls: MailTls,
    /// A certificate authority to trust besides the usual ones, as PEM.
    #[serde(default)]
    pub ca_certificate: Option<String>,
    /// Who logs in; nobody, when left out.
    #[serde(default)]
    pub username: Option<String>,
    /// Who sends.
    #[schema(example = "Haulier <haulier@example.com>")]
    pub from: String,
    /// Who receives.
    pub to: Vec<String>,
}

/// How a connection to a mail server is protected.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum MailTls {
    /// By STARTTLS, or nothing is sent.
    #[default]
    Starttls,
    /// From the first byte on.
    Implicit,
    /// Not at all. A password is never sent so.
    None,
}

/// Hours of each day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct QuietHours {
    /// From then on, like `22:00`.
    #[schema(example = "22:00")]
    pub from: String,
    /// Until then, like `07:00`; on the next day when it is earlier.
    #[schema(example = "07:00")]
    pub to: String,
    /// A name of the IANA time zone database.
    #[serde(default = "QuietHours::utc")]
    pub timezone: String,
}

impl QuietHours {
    fn utc() -> String {
        "UTC".to_owned()
    }

    fn read(&self) -> Option<(civil::Time, civil::Time, TimeZone)> {
        let time = |text: &str| civil::Time::strptime("%H:%M", text).ok();
        let zone = (1..=64).contains(&self.timezone.len()).then(|| TimeZone::get(&self.timezone).ok()).flatten()?;
        Some((time(&self.from)?, time(&self.to)?, zone)).filter(|(from, to, _)| from != to)
    }

    /// When they end, if this moment lies in them.
    #[must_use]
    pub fn end(&self, now: Timestamp) -> Option<Timestamp> {
        let (from, to, zone) = self.read()?;
        let local = zone.to_datetime(jiff::Timestamp::from_microsecond(now.as_micros()).ok()?);
        let (time, today) = (local.time(), local.date());
        let day = match from < to {
            true if time >= from && time < to => today,
            false if time >= from => today.checked_add(1.day()).ok()?,
            false if time < to => today,
            _ => return None,
        };
        let end = day.to_datetime(to).to_zoned(zone).ok()?;
        let end = Timestamp::from_micros(end.timestamp().as_microsecond());
        // Where clocks change, the end may have been just now.
        Some(end.max(now.plus(Duration::from_secs(1))))
    }
}

impl ChannelSpec {
    const fn all() -> Severity {
        Severity::Warning
    }

    const fn yes() -> bool {
        true
    }

    /// Whether it is told of this. `labels` are those of the notice's job.
    #[must_use]
    pub fn wants(&self, notice: &Notice, change: Change, labels: &indexmap::IndexMap<String, String>) -> bool {
        let job = notice.job.as_ref().map(|(_, name)| name);
        notice.kind.severity() >= self.min_severity
            && (self.resolved || change == Change::Opened)
            && (self.kinds.is_empty() || self.kinds.contains(&notice.kind))
            && (self.jobs.is_empty() || job.is_some_and(|job| self.jobs.contains(job)))
            && self.labels.iter().all(|(label, value)| labels.get(label) == Some(value))
    }

    /// Everything that is wrong with it by itself.
    ///
    /// # Errors
    /// What is wrong, with pointers.
    pub fn check(&self) -> Result<(), Vec<FieldError>> {
        let mut problems = Problems::default();
        let p = &mut problems;
        p.require(self.kinds.len() <= 16, "/kinds", "at most 16 kinds");
        p.require(self.jobs.len() <= 100, "/jobs", "at most 100 jobs");
        super::validate::check_labels("/labels", self.labels.iter(), p);
        if let Some(quiet) = &self.quiet_hours {
            let detail = "two different times of day like 22:00 and 07:00, and a time zone like Europe/Amsterdam";
            p.require(quiet.read().is_some(), "/quiet_hours", detail);
        }
        match (self.kind, &self.email) {
            (ChannelKind::Email, None) => p.add("/email", "say how mail is sent: host, from, to"),
            (ChannelKind::Email, Some(email)) => email.check(p),
            (_, Some(_)) => p.add("/email", "is for channels of kind email"),
            (_, None) => {}
        }
        problems.into_result()
    }
}

impl EmailSpec {
    /// Where the mail server listens.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port.unwrap_or(if self.tls == MailTls::Implicit { 465 } else { 587 })
    }

    fn check(&self, p: &mut Problems) {
        let host = (1..=253).contains(&self.host.len())
            && self.host.bytes().all(|c| c.is_ascii_alphanumeric() || b"-._:".contains(&c));
        p.require(host, "/email/host", "a host name like smtp.example.com, without a port");
        let address = |text: &str| text.len() <= 320 && text.contains('@') && !text.contains(['\r', '\n', '\0']);
        p.require(address(&self.from), "/email/from", "an address like haulier@example.com");
        p.require((1..=50).contains(&self.to.len()), "/email/to", "from 1 to 50 addresses");
        for (index, to) in self.to.iter().enumerate() {
            p.require(address(to), format!("/email/to/{index}"), "an address like ops@example.com");
        }
        let small = self.ca_certificate.as_ref().is_none_or(|pem| pem.len() <= 64 * 1024);
        p.require(small, "/email/ca_certificate", "at most 64 KiB");
        let open = self.tls == MailTls::None && self.username.is_some();
        p.require(!open, "/email/username", "a password is not sent without TLS: use tls starttls or implicit");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    #[test]
    fn quiet_hours_go_over_midnight() {
        let quiet = QuietHours { from: "22:00".into(), to: "07:00".into(), timezone: "Europe/Amsterdam".into() };
        let end = |now: &str| quiet.end(at(now)).map(|end| end.to_string());
        assert_eq!(end("2026-06-01T12:00:00Z"), None);
        assert_eq!(end("2026-06-01T20:30:00Z").as_deref(), Some("2026-06-02T05:00:00.000000Z"));
        assert_eq!(end("2026-06-02T04:59:00Z").as_deref(), Some("2026-06-02T05:00:00.000000Z"));
        assert_eq!(end("2026-06-02T05:00:00Z"), None);
        let noon = QuietHours { from: "12:00".into(), to: "13:30".into(), timezone: "UTC".into() };
        assert_eq!(noon.end(at("2026-06-01T12:00:00Z")), Some(at("2026-06-01T13:30:00Z")));
        assert_eq!(noon.end(at("2026-06-01T11:59:59Z")), None);
    }

    #[test]
    fn what_is_wrong_is_told() {
        let pointers = |text: &str| {
            let spec: ChannelSpec = serde_json::from_str(text).unwrap();
            let errors = spec.check().err().unwrap_or_default();
            errors.into_iter().map(|error| error.pointer).collect::<Vec<_>>()
        };
        assert_eq!(pointers(r#"{"kind": "slack"}"#), [""; 0]);
        assert_eq!(pointers(r#"{"kind": "email"}"#), ["/email"]);
        let open = r#"{"kind": "email", "email": {"host": "h:1/x", "from": "x", "to": [], "tls": "none", "username": "u"},
                       "quiet_hours": {"from": "25:00", "to": "07:00"}}"#;
        assert_eq!(pointers(open), ["/quiet_hours", "/email/host", "/email/from", "/email/to", "/email/username"]);
    }
}
