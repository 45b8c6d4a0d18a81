//! The forms in which chat services and programs take messages.

use serde_json::{Value, json};

use super::digest::Digest;
use crate::{
    domain::{Name, Severity, Timestamp},
    store::Message,
};

/// How many notices a webhook is given at once.
const MOST: usize = 100;

/// Haulier's own form.
pub(super) fn webhook(project: &Name, messages: &[Message], now: Timestamp) -> Value {
    let notice = |message: &Message| {
        let notice = &message.notice;
        let job = notice.job.as_ref();
        json!({"change": message.change, "notice": {
            "id": notice.id, "kind": notice.kind, "severity": notice.kind.severity(),
            "job": job.map(|(_, name)| name), "job_id": job.map(|(id, _)| id), "run": notice.run,
            "summary": notice.summary, "figures": notice.figures, "times": notice.times,
            "opened_at": notice.opened_at, "resolved_at": notice.resolved_at, "resolution": notice.resolution,
        }})
    };
    let told: Vec<_> = messages.iter().take(MOST).map(notice).collect();
    let more = messages.len() - told.len();
    json!({"type": "notices", "timestamp": now, "data": {"project": project, "notices": told, "more": more}})
}

/// For a Slack incoming webhook ("Sending messages using incoming webhooks" and "Block Kit" in its documentation).
pub(super) fn slack(digest: &Digest) -> Value {
    let escape = |text: &str| text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let section = |text: String| json!({"type": "section", "text": {"type": "mrkdwn", "text": cut(&text, 3000)}});
    let title = format!("{} {}", sign(digest.severity), digest.title);
    let header = json!({"type": "header", "text": {"type": "plain_text", "text": cut(&title, 150)}});
    let mut blocks = vec![header];
    for line in &digest.lines {
        let mark = if line.resolved { "✓ " } else { "" };
        let run = line.run.as_deref().map(|run| format!("\n{run}")).unwrap_or_default();
        blocks.push(section(format!("{mark}*{}*: {}{}", escape(&line.about), escape(&line.text), escape(&run))));
    }
    blocks.extend(digest.rest().map(section));
    json!({"text": cut(&escape(&title), 3000), "blocks": blocks})
}

/// For a Teams workflow that posts what it gets ("Create incoming webhooks with Workflows" in its documentation).
pub(super) fn teams(digest: &Digest) -> Value {
    // A text block reads some Markdown.
    let escape = |text: &str| {
        text.chars().fold(String::new(), |mut plain, c| {
            if matches!(c, '\\' | '*' | '_' | '[' | ']' | '#' | '`') {
                plain.push('\\');
            }
            plain.push(c);
            plain
        })
    };
    let block = |text: String| json!({"type": "TextBlock", "text": cut(&text, 1000), "wrap": true});
    let colour = match digest.severity {
        Some(Severity::Critical | Severity::Error) => "attention",
        Some(Severity::Warning) => "warning",
        None => "good",
    };
    let title = format!("{} {}", sign(digest.severity), escape(&digest.title));
    let mut body = vec![json!({
        "type": "TextBlock", "text": cut(&title, 300), "wrap": true, "weight": "bolder", "size": "medium",
        "color": colour,
    })];
    for line in &digest.lines {
        let mark = if line.resolved { "✓ " } else { "" };
        body.push(block(format!("{mark}**{}**: {}", escape(&line.about), escape(&line.text))));
        body.extend(line.run.as_deref().map(|run| {
            json!({
                "type": "TextBlock", "text": run, "wrap": true, "isSubtle": true, "spacing": "none", "size": "small",
            })
        }));
    }
    body.extend(digest.rest().map(block));
    json!({"type": "message", "attachments": [{
        "contentType": "application/vnd.microsoft.card.adaptive",
        "contentUrl": null,
        "content": {
            "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
            "type": "AdaptiveCard", "version": "1.4", "body": body,
        },
    }]})
}

const fn sign(severity: Option<Severity>) -> &'static str {
    match severity {
        Some(Severity::Critical) => "⛔",
        Some(Severity::Error) => "❌",
        Some(Severity::Warning) => "⚠️",
        None => "✅",
    }
}

fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let kept: String = text.chars().take(most - 1).collect();
    format!("{kept}…")
}
