//! What one message says about many notices.

use crate::{
    domain::{Change, Name, NoticeKind, Severity},
    store::Message,
};

/// How many notices a message names; the rest is counted.
const NAMED: usize = 20;

/// What one message says.
#[derive(Debug)]
pub(super) struct Digest {
    /// In a few words.
    pub(super) title: String,
    /// One line a notice, the worst first, and how many are not named.
    pub(super) lines: Vec<Line>,
    pub(super) not_named: usize,
    /// The worst of what was opened; `None` when all is over.
    pub(super) severity: Option<Severity>,
}

/// One notice.
#[derive(Debug)]
pub(super) struct Line {
    /// What it is about.
    pub(super) about: String,
    /// In words.
    pub(super) text: String,
    pub(super) resolved: bool,
    /// Where to read on.
    pub(super) run: Option<String>,
}

impl Digest {
    /// Of these messages, of which there is at least one. `url`: how the service is reached.
    pub(super) fn of(project: &Name, messages: &[Message], url: Option<&str>) -> Self {
        let mut sorted: Vec<_> = messages.iter().collect();
        let rank = |message: &Message| (message.change == Change::Opened, message.notice.kind.severity());
        sorted.sort_by_key(|message| std::cmp::Reverse(rank(message)));
        let opened = messages.iter().filter(|message| message.change == Change::Opened);
        Self {
            title: title(project, messages),
            lines: sorted.iter().take(NAMED).map(|message| line(message, url)).collect(),
            not_named: messages.len().saturating_sub(NAMED),
            severity: opened.map(|message| message.notice.kind.severity()).max(),
        }
    }

    /// What is said of those that are not named.
    pub(super) fn rest(&self) -> Option<String> {
        (self.not_named > 0).then(|| format!("and {} more: see haulier notices", self.not_named))
    }

    /// All of it as plain text.
    pub(super) fn text(&self) -> String {
        let mut text = format!("{}\n\n", self.title);
        for line in &self.lines {
            let mark = if line.resolved { "over: " } else { "" };
            text += &format!("- {mark}{}: {}\n", line.about, line.text);
            if let Some(run) = &line.run {
                text += &format!("  {run}\n");
            }
        }
        if let Some(rest) = self.rest() {
            text += &format!("- {rest}\n");
        }
        text
    }
}

fn title(project: &Name, messages: &[Message]) -> String {
    if let [one] = messages {
        let about = one.notice.job.as_ref().map_or("haulier", |(_, name)| name.as_str());
        let what = if one.change == Change::Opened { words(one.notice.kind) } else { "all is well again" };
        return format!("{about}: {what} ({project})");
    }
    let opened: Vec<_> = messages.iter().filter(|message| message.change == Change::Opened).collect();
    let over = messages.len() - opened.len();
    let mut parts = Vec::new();
    for kind in NoticeKind::ALL {
        let count = opened.iter().filter(|message| message.notice.kind == kind).count();
        if count > 0 {
            parts.push(format!("{count} {}", kind.as_str().replace('_', " ")));
        }
    }
    if over > 0 {
        parts.push(format!("{over} over"));
    }
    format!("{project}: {}", parts.join(", "))
}

fn line(message: &Message, url: Option<&str>) -> Line {
    let notice = &message.notice;
    let resolved = message.change == Change::Resolved;
    let job = notice.job.as_ref().map_or("haulier", |(_, name)| name.as_str());
    let text = match (&notice.resolution, resolved) {
        (Some(resolution), true) => format!("{resolution} (it was: {})", notice.summary),
        _ => notice.summary.clone(),
    };
    let run = notice.run.map(|run| match url {
        Some(url) => format!("{}/api/v1/runs/{run}", url.trim_end_matches('/')),
        None => format!("run {run}"),
    });
    Line { about: format!("{job} {}", words(notice.kind)), text, resolved, run }
}

/// A kind as people say it.
const fn words(kind: NoticeKind) -> &'static str {
    match kind {
        NoticeKind::Failed => "failed",
        NoticeKind::Failing => "goes on failing",
        NoticeKind::Slow => "is slow",
        NoticeKind::Short => "was suspiciously short",
        NoticeKind::FewRows => "has few rows",
        NoticeKind::Overdue => "is overdue",
        NoticeKind::Stuck => "is stuck in the queue",
        NoticeKind::EngineUnreachable => "engine does not answer",
        NoticeKind::LimitHeld => "holds a limit very long",
        NoticeKind::DiskFull => "disk is nearly full",
        NoticeKind::TokenExpiring => "token is about to expire",
        NoticeKind::SecretExpiring => "secret is about to expire",
    }
}
