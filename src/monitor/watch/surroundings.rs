//! What the service stands on: engines, tokens, the disk.

use std::{collections::BTreeMap, time::Duration};

use super::{Seen, Watch};
use crate::{
    domain::{Finding, NoticeKind, Timestamp},
    monitor::rules::time,
    store::StoreError,
};

/// How long an engine may be away without a word.
const AWAY: Duration = Duration::from_secs(60);
/// How long before its end a token is told of.
const SOON: Duration = Duration::from_secs(14 * 86_400);
/// The disk is nearly full when so much, or less, is free: of all of it, and in bytes.
const LITTLE: (f64, f64) = (0.05, 5e9);

/// Since when each engine does not answer.
#[derive(Debug, Default)]
pub(super) struct Engines(BTreeMap<String, Timestamp>);

fn of_installation(kind: NoticeKind, subject: String, summary: String, figures: &[(&'static str, f64)]) -> Finding {
    Finding {
        kind,
        subject,
        project: None,
        job: None,
        run: None,
        summary,
        figures: figures.iter().copied().collect(),
        channels: Vec::new(),
    }
}

impl Watch {
    pub(super) fn look_at_engines(&mut self, seen: &mut Seen) {
        let now = self.clock.now();
        for (name, entry) in self.runner.engines().iter() {
            let Some(status) = entry.status() else { continue };
            if status.health.reachable {
                self.engines.0.remove(name);
                continue;
            }
            let away = now.since(*self.engines.0.entry(name.to_owned()).or_insert(now));
            if away >= AWAY {
                let why = status.health.detail.as_deref().unwrap_or("it does not say why");
                let away = away.as_secs_f64();
                let summary = format!("the engine {name} does not answer since {}: {why}", time(away));
                let (kind, subject) = (NoticeKind::EngineUnreachable, format!("engine:{name}"));
                seen.found.push(of_installation(kind, subject, summary, &[("value", away)]));
            }
        }
        seen.whole.push((NoticeKind::EngineUnreachable, "the engine answers again"));
    }

    pub(super) async fn look_at_tokens(&self, seen: &mut Seen) -> Result<(), StoreError> {
        let now = self.clock.now();
        for token in self.store.expiring_tokens(now, now.plus(SOON)).await? {
            let Some(left) = left_of(token.created_at, token.expires_at, now) else { continue };
            let left = time(left.as_secs_f64());
            let summary = format!("the token {} ends in {left}: make another and put it in its place", token.name);
            let subject = format!("token:{}", token.token);
            let finding = of_installation(NoticeKind::TokenExpiring, subject, summary, &[]);
            seen.found.push(Finding { project: token.project, ..finding });
        }
        seen.whole.push((NoticeKind::TokenExpiring, "the token has ended or was revoked"));
        Ok(())
    }

    pub(super) async fn look_at_secrets(&self, seen: &mut Seen) -> Result<(), StoreError> {
        let now = self.clock.now();
        for (project, secret) in self.store.expiring_secrets(now.plus(SOON)).await? {
            let Some(left) = secret.expires_at.and_then(|end| left_of(secret.updated_at, end, now)) else { continue };
            let name = secret.name;
            let ends = match left.is_zero() {
                true => "is not valid any more".to_owned(),
                false => format!("is valid for {} more", time(left.as_secs_f64())),
            };
            let summary = format!("the secret {name} {ends}: get a new value and set it");
            let subject = format!("secret:{project}/{name}");
            let finding = of_installation(NoticeKind::SecretExpiring, subject, summary, &[]);
            seen.found.push(Finding { project: Some(project), ..finding });
        }
        seen.whole.push((NoticeKind::SecretExpiring, "the secret was set anew or removed"));
        Ok(())
    }

    #[cfg(target_os = "linux")]
    pub(super) fn look_at_disk(&self, seen: &mut Seen) {
        let places =
            [(Some(&self.data_dir), "disk", "service's data"), (self.logs_dir.as_ref(), "disk:logs", "runs' logs")];
        let mut looked_at = None;
        for (place, subject, what) in places {
            let Some(disk) = place.and_then(|place| rustix::fs::statvfs(place).ok()) else { continue };
            if looked_at.replace(disk.f_fsid) == Some(disk.f_fsid) {
                continue;
            }
            #[expect(clippy::cast_precision_loss, reason = "sizes of disks")]
            let bytes = |blocks: u64| blocks as f64 * disk.f_frsize as f64;
            let (free, all) = (bytes(disk.f_bavail), bytes(disk.f_blocks));
            if free < all * LITTLE.0 && free < LITTLE.1 {
                let (free_mib, part) = (free / 1048576.0, 100.0 * free / all.max(1.0));
                let summary = format!("only {free_mib:.0} MiB ({part:.1} %) are free for the {what}: make room");
                let figures = [("free_bytes", free), ("all_bytes", all)];
                seen.found.push(of_installation(NoticeKind::DiskFull, subject.to_owned(), summary, &figures));
            }
        }
        seen.whole.push((NoticeKind::DiskFull, "there is room again"));
    }

    /// Elsewhere nothing is known of the disk.
    #[cfg(not(target_os = "linux"))]
    pub(super) fn look_at_disk(&self, seen: &mut Seen) {
        let _ = (&self.data_dir, &self.logs_dir, seen, LITTLE);
    }
}

/// How long something is good for that ends soon; `None` while more than a fifth of its time is left: what was made for a
/// short time ends soon from the start.
fn left_of(begin: Timestamp, end: Timestamp, now: Timestamp) -> Option<Duration> {
    Some(end.since(now)).filter(|left| *left <= end.since(begin) / 5)
}
