//! Made-up histories: noise, patterns of hours and days, growth, steps, failures, and planted trouble.

use std::time::Duration;

use haulier::domain::{NoticeKind, RunId, Sample, SampleFigures, Timestamp};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

/// Monday, 4 January 2027, 00:00 UTC.
const START: Timestamp = Timestamp::from_micros(1_799_020_800_000_000);
const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
/// How many runs go by before trouble is planted.
const WARM_UP: usize = 60;

/// A kind of job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    Nightly,
    NightlyNoisy,
    HourlyByDay,
    QuarterHourly,
    WorkdaysHeavyMonday,
    OfficeHours,
    NightlyGrowsAndSteps,
    OftenNothingToDo,
}

/// How the figures of a job's runs vary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Noise {
    /// Lognormal.
    Normal,
    /// The same variance, but with exponential tails on the logarithmic scale: now and then a run is far off.
    HeavyTails,
    /// Lognormal, but each run resembles the one before: a correlation of 0.7.
    AlikeInTurn,
}

/// A run that was made or should have been, and what is wrong with it.
#[derive(Debug, Clone, Copy)]
pub struct Made {
    /// When it was, or would have been, made.
    pub at: Timestamp,
    /// `None`: it was missed.
    pub run: Option<Sample>,
    /// What was planted.
    pub planted: Option<NoticeKind>,
}

impl Shape {
    pub const ALL: [Self; 8] = [
        Self::Nightly,
        Self::NightlyNoisy,
        Self::HourlyByDay,
        Self::QuarterHourly,
        Self::WorkdaysHeavyMonday,
        Self::OfficeHours,
        Self::NightlyGrowsAndSteps,
        Self::OftenNothingToDo,
    ];

    pub const fn words(self) -> &'static str {
        match self {
            Self::Nightly => "nightly, noise 15 %",
            Self::NightlyNoisy => "nightly, noise 35 %, 3 % failures",
            Self::HourlyByDay => "hourly, four times as long by day",
            Self::QuarterHourly => "every 15 minutes, noise 30 %",
            Self::WorkdaysHeavyMonday => "workdays at six, Mondays 2.5 times",
            Self::OfficeHours => "hourly from eight to six on workdays",
            Self::NightlyGrowsAndSteps => "nightly, doubles in a year, one step of 1.8",
            Self::OftenNothingToDo => "hourly, every sixth has nothing to do",
        }
    }

    /// Seconds from one due time to the next, and whether this time is one at all.
    const fn every(self) -> u64 {
        match self {
            Self::Nightly | Self::NightlyNoisy | Self::NightlyGrowsAndSteps | Self::WorkdaysHeavyMonday => DAY,
            Self::HourlyByDay | Self::OfficeHours | Self::OftenNothingToDo => HOUR,
            Self::QuarterHourly => 15 * MINUTE,
        }
    }

    const fn is_due(self, second: u64) -> bool {
        let (day, hour) = (second / DAY % 7, second % DAY / HOUR);
        match self {
            Self::WorkdaysHeavyMonday => day < 5,
            Self::OfficeHours => day < 5 && hour >= 8 && hour < 18,
            _ => true,
        }
    }

    /// How much of the noise there is, as the standard deviation of the logarithm.
    const fn noise(self) -> f64 {
        match self {
            Self::NightlyNoisy => 0.35,
            Self::QuarterHourly => 0.3,
            Self::WorkdaysHeavyMonday | Self::HourlyByDay | Self::OfficeHours => 0.2,
            Self::Nightly | Self::NightlyGrowsAndSteps | Self::OftenNothingToDo => 0.15,
        }
    }

    const fn failures(self) -> f64 {
        if matches!(self, Self::NightlyNoisy) { 0.03 } else { 0.005 }
    }

    /// How much there is to do at this time, of 1.
    fn load(self, second: u64, year: f64) -> f64 {
        let (day, hour) = (second / DAY % 7, second % DAY / HOUR);
        let weekly = match self {
            Self::HourlyByDay if (8..20).contains(&hour) => 4.0,
            Self::WorkdaysHeavyMonday if day == 0 => 2.5,
            _ => 1.0,
        };
        let step = if self == Self::NightlyGrowsAndSteps && year > 0.6 { 1.8 } else { 1.0 };
        let growth = if self == Self::NightlyGrowsAndSteps { 1.0 + year } else { 1.0 + 0.2 * year };
        weekly * step * growth
    }

    /// How often trouble is planted.
    const fn trouble(self) -> f64 {
        match self.every() {
            DAY => 0.03,
            _ => 0.004,
        }
    }

    /// What can go wrong: what is usual for the job is no trouble.
    const fn troubles(self) -> &'static [NoticeKind] {
        use NoticeKind::{FewRows, Overdue, Short, Slow};
        match self {
            Self::OftenNothingToDo => &[Slow, Overdue],
            _ => &[Slow, Short, FewRows, Overdue],
        }
    }
}

/// A year of a job of this shape, with or without trouble.
pub fn year(shape: Shape, noise: Noise, seed: u64, with_trouble: bool) -> Vec<Made> {
    let mut rng = StdRng::seed_from_u64(seed ^ ((shape as u64) << 32));
    let mut before = [0.0; 2];
    let seconds = 10.0_f64.powf(rng.random_range(1.7..3.3));
    let rows = 10.0_f64.powf(rng.random_range(2.5..6.0));
    let first = rng.random_range(0..shape.every() / 2);
    let (mut made, mut healthy) = (Vec::new(), 0);
    let mut second = if shape.every() == DAY { 6 * HOUR } else { 0 } + first % (30 * MINUTE);
    while second < 365 * DAY {
        if shape.is_due(second) {
            let trouble = with_trouble && healthy > 4 && made.len() > WARM_UP && rng.random_bool(shape.trouble());
            let planted = trouble.then(|| shape.troubles()[rng.random_range(0..shape.troubles().len())]);
            healthy = if planted.is_some() { 0 } else { healthy + 1 };
            made.push(one(shape, second, (seconds, rows), planted, (noise, &mut before, &mut rng)));
        }
        second += shape.every();
    }
    made
}

fn one(
    shape: Shape,
    second: u64,
    typical: (f64, f64),
    planted: Option<NoticeKind>,
    (noise, before, rng): (Noise, &mut [f64; 2], &mut StdRng),
) -> Made {
    // Orchestrators are seconds late, and sometimes minutes.
    let late = if rng.random_bool(0.02) { rng.random_range(0..180) } else { rng.random_range(0..20) };
    let at = START.plus(Duration::from_secs(second + late));
    if planted == Some(NoticeKind::Overdue) {
        return Made { at, run: None, planted };
    }
    #[expect(clippy::cast_precision_loss, reason = "seconds of a year")]
    let year = second as f64 / (365 * DAY) as f64;
    let load = shape.load(second, year);
    let idle = shape == Shape::OftenNothingToDo && rng.random_bool(1.0 / 6.0);
    let mut varied = |typical: f64, before: &mut f64| {
        *before = noise.next(*before, rng);
        typical * load * (shape.noise() * *before).exp()
    };
    let (mut seconds, mut rows) = (varied(typical.0, &mut before[0]), varied(typical.1, &mut before[1]));
    if idle {
        (seconds, rows) = (2.0 * lognormal(0.2, rng), 0.0);
    }
    match planted {
        Some(NoticeKind::Slow) => seconds *= rng.random_range(5.0..12.0),
        Some(NoticeKind::Short) => seconds /= rng.random_range(8.0..20.0),
        Some(NoticeKind::FewRows) => {
            rows = if rng.random_bool(0.5) { 0.0 } else { rows / rng.random_range(10.0..40.0) }
        }
        _ => {}
    }
    let succeeded = planted.is_some() || !rng.random_bool(shape.failures());
    let queue_seconds = Some(0.4 * lognormal(0.5, rng));
    let figures = SampleFigures { seconds: Some(seconds), queue_seconds, rows: Some(rows.round()) };
    Made { at, run: Some(Sample { run: RunId(uuid::Uuid::nil()), made_at: at, succeeded, figures }), planted }
}

impl Noise {
    /// Of variance 1; `before` is the one before.
    fn next(self, before: f64, rng: &mut StdRng) -> f64 {
        match self {
            Self::Normal => normal(rng),
            Self::HeavyTails => {
                let half = rng.random_range(-0.5..0.5_f64);
                -half.signum() * (1.0 - 2.0 * half.abs()).max(f64::MIN_POSITIVE).ln() / std::f64::consts::SQRT_2
            }
            Self::AlikeInTurn => 0.7 * before + 0.51_f64.sqrt() * normal(rng),
        }
    }
}

fn lognormal(sigma: f64, rng: &mut StdRng) -> f64 {
    (sigma * normal(rng)).exp()
}

fn normal(rng: &mut StdRng) -> f64 {
    let (a, b): (f64, f64) = (rng.random_range(f64::MIN_POSITIVE..1.0), rng.random());
    (-2.0 * a.ln()).sqrt() * (std::f64::consts::TAU * b).cos()
}
