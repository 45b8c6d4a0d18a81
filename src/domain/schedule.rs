//! When a job starts by itself.

use std::time::Duration;

use croner::{
    Cron,
    parser::{CronParser, Seconds, Year},
};
use jiff::{Zoned, tz::TimeZone};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{JobId, Problems, Timestamp, validate::check_range};

/// The most times that [`CatchUp::All`] makes up for.
const MOST_MISSED: usize = 100;
/// How late a time may be served and still not count as missed: a change of the leading service takes seconds.
const PUNCTUAL: Duration = Duration::from_secs(60);

/// When a job starts by itself. Times are local to the time zone.
///
/// Where clocks jump forward, a time that does not exist is served at the first moment that does; where they go back,
/// a time that comes twice is served the first time. Patterns with a step or `*` for minutes or hours follow real
/// time: what falls into the gap is left out, and what comes twice is served twice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ScheduleSpec {
    /// Minute, hour, day of month, month, day of week; `@daily` and the like too.
    #[schema(example = "30 2 * * mon-fri")]
    pub cron: String,
    /// A name of the IANA time zone database.
    #[serde(default = "ScheduleSpec::utc")]
    #[schema(example = "Europe/Amsterdam")]
    pub timezone: String,
    /// Starts nothing. What is missed meanwhile is not made up for.
    #[serde(default)]
    pub paused: bool,
    /// Each run is started up to so much later, so that jobs with one time do not start at once. A job's delay is
    /// always the same.
    #[serde(default)]
    #[schema(maximum = 3600)]
    pub jitter_seconds: u32,
    /// What happens about times at which no service ran.
    #[serde(default)]
    pub catch_up: CatchUp,
}

/// What happens about times at which no service ran.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CatchUp {
    /// They are gone.
    None,
    /// One run for the last of them.
    #[default]
    Latest,
    /// A run for each, the oldest first; for the last 100 at the most.
    All,
}

/// What a schedule comes to at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Occasion {
    /// The time to start a run for; `None` when it is too late for all that were due.
    pub serve: Option<Timestamp>,
    /// The time after it; `None` when there is none any more.
    pub next: Option<Timestamp>,
}

/// A schedule that can be computed with.
#[derive(Debug, Clone)]
pub struct Schedule {
    cron: Cron,
    zone: TimeZone,
    catch_up: CatchUp,
    delay: Duration,
}

impl ScheduleSpec {
    fn utc() -> String {
        "UTC".to_owned()
    }

    /// The same, ready to be computed with, for this job. `None` when it says something that cannot be.
    #[must_use]
    pub fn of_job(&self, job: JobId) -> Option<Schedule> {
        let delay = Duration::from_secs(job.0.as_u64_pair().1 % (u64::from(self.jitter_seconds) + 1));
        Some(Schedule { cron: parse(&self.cron).ok()?, zone: zone(&self.timezone)?, catch_up: self.catch_up, delay })
    }

    pub(super) fn check(&self, problems: &mut Problems) {
        check_range("/schedule/jitter_seconds", Some(self.jitter_seconds), 0, 3600, problems);
        let zone = zone(&self.timezone);
        problems.require(zone.is_some(), "/schedule/timezone", "a time zone like Europe/Amsterdam, or UTC");
        match parse(&self.cron) {
            Err(detail) => problems.add("/schedule/cron", detail),
            Ok(cron) => {
                let schedule = Schedule { cron, zone: TimeZone::UTC, catch_up: self.catch_up, delay: Duration::ZERO };
                let comes = schedule.next_after(Timestamp::from_micros(0)).is_some();
                problems.require(comes, "/schedule/cron", "this time never comes: see day and month");
            }
        }
    }
}

impl Schedule {
    /// The first time after a moment.
    #[must_use]
    pub fn next_after(&self, moment: Timestamp) -> Option<Timestamp> {
        self.cron.find_next_occurrence(&self.local(moment)?, false).ok().map(|time| stamp(&time))
    }

    /// The last time at or before a moment.
    fn last_until(&self, moment: Timestamp) -> Option<Timestamp> {
        self.cron.find_previous_occurrence(&self.local(moment)?, true).ok().map(|time| stamp(&time))
    }

    /// The next times after a moment.
    pub fn upcoming(&self, moment: Timestamp) -> impl Iterator<Item = Timestamp> {
        std::iter::successors(self.next_after(moment), |time| self.next_after(*time))
    }

    /// When a run for this time is started: later by the job's own delay.
    #[must_use]
    pub fn starts_at(&self, time: Timestamp) -> Timestamp {
        time.plus(self.delay)
    }

    /// What to do now about `due`, the first time that was not served yet, and those that have come since.
    #[must_use]
    pub fn occasion(&self, due: Timestamp, now: Timestamp) -> Occasion {
        let until = now.minus(self.delay);
        let last = self.last_until(until).filter(|last| *last > due).unwrap_or(due);
        let serve = match self.catch_up {
            CatchUp::Latest => Some(last),
            CatchUp::None => Some(last).filter(|last| until.since(*last) <= PUNCTUAL),
            CatchUp::All => Some(self.earliest_to_make_up_for(due, last)),
        };
        Occasion { serve, next: self.next_after(serve.unwrap_or(last)) }
    }

    fn earliest_to_make_up_for(&self, due: Timestamp, last: Timestamp) -> Timestamp {
        let before = |time: &Timestamp| self.last_until(Timestamp::from_micros(time.as_micros() - 1));
        let mut missed = std::iter::successors(Some(last), before).take(MOST_MISSED).take_while(|time| *time >= due);
        let first = missed.next().unwrap_or(last);
        missed.last().unwrap_or(first)
    }

    fn local(&self, moment: Timestamp) -> Option<Zoned> {
        let moment = jiff::Timestamp::from_microsecond(moment.as_micros()).ok()?;
        Some(moment.to_zoned(self.zone.clone()))
    }
}

fn stamp(time: &Zoned) -> Timestamp {
    Timestamp::from_micros(time.timestamp().as_microsecond())
}

fn zone(name: &str) -> Option<TimeZone> {
    (1..=64).contains(&name.len()).then(|| TimeZone::get(name).ok()).flatten()
}

fn parse(text: &str) -> Result<Cron, String> {
    const ADVICE: &str = "five fields: minute, hour, day of month, month, day of week, like '30 2 * * mon-fri'";
    if text.len() > 256 {
        return Err(ADVICE.to_owned());
    }
    let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
    parser.parse(text).map_err(|error| format!("{ADVICE} ({})", error.to_string().trim_end_matches('.')))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(cron: &str, zone: &str, catch_up: CatchUp) -> Schedule {
        let (cron, timezone) = (cron.to_owned(), zone.to_owned());
        let spec = ScheduleSpec { cron, timezone, paused: false, jitter_seconds: 0, catch_up };
        spec.of_job(JobId::generate()).unwrap()
    }

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    fn upcoming(cron: &str, from: &str, number: usize) -> Vec<String> {
        let schedule = schedule(cron, "Europe/Amsterdam", CatchUp::Latest);
        let short = |time: Timestamp| time.to_string().replace(":00.000000Z", "Z");
        schedule.upcoming(at(from)).take(number).map(short).collect()
    }

    fn problems(spec: &str) -> Vec<String> {
        let spec: ScheduleSpec = serde_json::from_str(spec).unwrap();
        let mut problems = Problems::default();
        spec.check(&mut problems);
        problems.into_result().err().unwrap_or_default().into_iter().map(|error| error.pointer).collect()
    }

    #[test]
    fn what_cannot_be_is_told() {
        assert_eq!(problems(r#"{"cron": "@daily"}"#), [""; 0]);
        assert_eq!(problems(r#"{"cron": "0 6 * * mon-fri", "timezone": "America/New_York"}"#), [""; 0]);
        for cron in ["", "* * * *", "61 * * * *", "0 0 30 2 *", "* * * * * *", "at noon"] {
            assert_eq!(problems(&format!(r#"{{"cron": "{cron}"}}"#)), ["/schedule/cron"], "{cron}");
        }
        let wrong = r#"{"cron": "* * * * *", "timezone": "Europe/Atlantis", "jitter_seconds": 3601}"#;
        assert_eq!(problems(wrong), ["/schedule/jitter_seconds", "/schedule/timezone"]);
    }

    /// Amsterdam, 29 March 2026: 01:59:59 is followed by 03:00:00.
    #[test]
    fn a_time_that_does_not_exist_is_served_at_the_next_that_does() {
        let days = upcoming("30 2 * * *", "2026-03-28T00:00:00Z", 3);
        assert_eq!(days, ["2026-03-28T01:30Z", "2026-03-29T01:00Z", "2026-03-30T00:30Z"]);
        let steps = upcoming("*/30 * * * *", "2026-03-29T00:15:00Z", 3);
        assert_eq!(steps, ["2026-03-29T00:30Z", "2026-03-29T01:00Z", "2026-03-29T01:30Z"]);
    }

    /// Amsterdam, 25 October 2026: the hour from 02:00 comes twice.
    #[test]
    fn a_time_that_comes_twice_is_served_once() {
        let days = upcoming("30 2 * * *", "2026-10-24T12:00:00Z", 2);
        assert_eq!(days, ["2026-10-25T00:30Z", "2026-10-26T01:30Z"]);
        let steps = upcoming("*/30 * * * *", "2026-10-25T00:15:00Z", 4);
        assert_eq!(steps, ["2026-10-25T00:30Z", "2026-10-25T01:00Z", "2026-10-25T01:30Z", "2026-10-25T02:00Z"]);
    }

    #[test]
    fn missed_times_are_made_up_for_as_is_said() {
        let (due, now) = (at("2026-01-01T02:00:00Z"), at("2026-01-01T05:10:00Z"));
        let (last, next) = (at("2026-01-01T05:00:00Z"), Some(at("2026-01-01T06:00:00Z")));
        let hourly = |catch_up| schedule("0 * * * *", "UTC", catch_up);
        let occasion = hourly(CatchUp::Latest).occasion(due, now);
        assert_eq!(occasion, Occasion { serve: Some(last), next });
        assert_eq!(hourly(CatchUp::None).occasion(due, now), Occasion { serve: None, next });
        let punctual = hourly(CatchUp::None).occasion(last, last.plus(Duration::from_secs(5)));
        assert_eq!(punctual, Occasion { serve: Some(last), next });
        // One after the other, up to the present.
        let all = hourly(CatchUp::All);
        let mut served = Vec::new();
        let mut due = due;
        while due <= now {
            let occasion = all.occasion(due, now);
            served.extend(occasion.serve);
            due = occasion.next.unwrap();
        }
        assert_eq!((served.len(), served[0], due), (4, at("2026-01-01T02:00:00Z"), next.unwrap()));
        // After a year, not all of it.
        let years_later = all.occasion(at("2025-01-01T02:00:00Z"), now);
        assert_eq!(years_later.serve, Some(last.minus(Duration::from_secs(99 * 3600))));
    }

    #[test]
    fn jitter_is_the_jobs_own_and_bounded() {
        let spec: ScheduleSpec = serde_json::from_str(r#"{"cron": "0 * * * *", "jitter_seconds": 60}"#).unwrap();
        let time = at("2026-01-01T02:00:00Z");
        let delays: std::collections::HashSet<_> = (0..200)
            .map(|_| {
                let (job, later) = (JobId::generate(), Duration::from_secs(61));
                let schedule = spec.of_job(job).unwrap();
                assert_eq!(schedule.starts_at(time), spec.of_job(job).unwrap().starts_at(time));
                assert_eq!(schedule.occasion(time, time.plus(later)).serve, Some(time));
                schedule.starts_at(time).since(time).as_secs()
            })
            .collect();
        assert!(delays.len() > 20 && delays.iter().all(|delay| *delay <= 60), "{delays:?}");
    }
}
