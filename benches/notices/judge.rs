//! Judging a history run by run, as the service does, and keeping the score.

use std::collections::{BTreeMap, BTreeSet};

use haulier::{
    domain::{NoticeKind, NotifySpec, Sample, Timestamp},
    monitor::{History, Judged, judge_end, judge_overdue},
};
use jiff::tz::TimeZone;

use crate::{generate::Made, ratio};

/// How many runs are remembered, as in the service.
const REMEMBERED: usize = 500;

/// How notices and planted trouble compare.
#[derive(Debug, Default)]
pub struct Score {
    /// Of each kind: how much was told, how much was planted.
    pub found: BTreeMap<NoticeKind, (usize, usize)>,
    /// Notices that tell of nothing planted.
    pub falsely: Vec<NoticeKind>,
}

impl Score {
    pub fn add(&mut self, other: Self) {
        for (kind, (told, planted)) in other.found {
            let entry = self.found.entry(kind).or_default();
            (entry.0, entry.1) = (entry.0 + told, entry.1 + planted);
        }
        self.falsely.extend(other.falsely);
    }

    fn told(&self) -> usize {
        self.found.values().map(|(told, _)| told).sum()
    }

    pub fn planted(&self) -> usize {
        self.found.values().map(|(_, planted)| planted).sum()
    }

    pub fn false_notices(&self) -> usize {
        self.falsely.len()
    }

    pub fn precision(&self) -> f64 {
        ratio(self.told(), self.told() + self.falsely.len())
    }

    pub fn recall(&self) -> f64 {
        ratio(self.told(), self.planted())
    }
}

/// Judges a year.
pub fn judge(year: &[Made]) -> Score {
    let (notify, mut score) = (NotifySpec::default(), Score::default());
    let (mut samples, mut history) = (Vec::<Sample>::new(), History::default());
    let (mut since, mut last): (usize, Option<Timestamp>) = (0, None);
    let (mut open, mut missed) = (BTreeSet::new(), false);
    for made in year {
        if let Some(kind) = made.planted {
            score.found.entry(kind).or_default().1 += 1;
        }
        let Some(run) = made.run else {
            missed = true;
            continue;
        };
        let expected = last.and_then(|last| judge_overdue(&history, &notify, last));
        match (expected.is_some_and(|by| by < made.at), missed) {
            (true, true) => score.found.entry(NoticeKind::Overdue).or_default().0 += 1,
            (true, false) => score.falsely.push(NoticeKind::Overdue),
            (false, _) => {}
        }
        missed = false;
        last = Some(made.at);
        for judged in judge_end(&history, &notify, &run, None) {
            let kind = judged.kind();
            match judged {
                Judged::Fine(_) => _ = open.remove(&kind),
                Judged::Trouble { .. } if kind == NoticeKind::Failed => {}
                // One that is open already is not told again, but what was planted is known all the same.
                Judged::Trouble { .. } if made.planted == Some(kind) => {
                    open.insert(kind);
                    score.found.entry(kind).or_default().0 += 1;
                }
                Judged::Trouble { .. } if open.insert(kind) => score.falsely.push(kind),
                Judged::Trouble { .. } => {}
            }
        }
        samples.push(run);
        since += 1;
        if samples.len() > REMEMBERED {
            samples.remove(0);
        }
        // As the service does, not anew for every run.
        if since > samples.len() / 20 {
            (history, since) = (History::of(&samples, &TimeZone::UTC), 0);
        }
    }
    score
}
