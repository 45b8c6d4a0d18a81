//! What ended, by the hour. Hours that are over never change, so they are counted once.

use std::time::Duration;

use quick_cache::sync::Cache;

use super::plots::Hour;
use crate::{
    api::Problem,
    domain::{Phase, ProjectId, Timestamp},
    store::{RunFilter, Store},
};

/// How many hours are shown.
pub(super) const HOURS: i64 = 24;
/// How many runs of one hour and one end are counted.
const MOST: u32 = 10_000;
const HOUR: i64 = 3_600_000_000;
/// Ends may be stored a little later than they say, by a service whose clock is a little behind.
const SETTLED: Duration = Duration::from_secs(600);

/// Hours that are over, of projects that somebody looked at.
#[derive(Debug)]
pub(super) struct Hours(Cache<(ProjectId, i64), Hour>);

impl Default for Hours {
    fn default() -> Self {
        Self(Cache::new(10_000))
    }
}

impl Hours {
    /// The last hours in order; the last is the present one.
    pub(super) async fn last(&self, store: &Store, filter: &RunFilter, now: Timestamp) -> Result<Vec<Hour>, Problem> {
        let present = now.as_micros().div_euclid(HOUR);
        let mut hours = Vec::new();
        for number in present - HOURS + 1..=present {
            // A token that is bound to some jobs sees other figures than the project's.
            let key = filter.project.filter(|_| filter.jobs.is_empty()).map(|project| (project, number));
            if let Some(hour) = key.and_then(|key| self.0.get(&key)) {
                hours.push(hour);
                continue;
            }
            let hour = count(store, filter, number).await?;
            let over = now.minus(SETTLED).as_micros() >= (number + 1) * HOUR;
            if let Some(key) = key.filter(|_| over) {
                self.0.insert(key, hour);
            }
            hours.push(hour);
        }
        Ok(hours)
    }
}

async fn count(store: &Store, filter: &RunFilter, number: i64) -> Result<Hour, Problem> {
    let (from, to) = (Timestamp::from_micros(number * HOUR), Timestamp::from_micros((number + 1) * HOUR));
    let mut counts = [0; 4];
    for (count, phase) in counts.iter_mut().zip([Phase::Succeeded, Phase::Failed, Phase::TimedOut, Phase::Cancelled]) {
        *count = store.count_ended(filter, phase, from, to, MOST).await?;
    }
    let [succeeded, failed, timed_out, cancelled] = counts;
    let capped = counts.iter().any(|count| *count >= u64::from(MOST));
    Ok(Hour { succeeded, failed: failed + timed_out, cancelled, capped })
}
