//! How figures, times and states are written on pages.

use std::{fmt, time::Duration};

use askama::filters::HtmlSafe;

use crate::domain::{RunState, Timestamp};

/// A length of time in the two units that matter: `3m 20s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span(pub Duration);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (millis, seconds) = (self.0.as_millis(), self.0.as_secs());
        match seconds {
            0 => write!(f, "{millis} ms"),
            1..=9 => write!(f, "{:.1} s", self.0.as_secs_f64().min(9.9)),
            10..=59 => write!(f, "{seconds} s"),
            60..=3599 => write!(f, "{}m {:02}s", seconds / 60, seconds % 60),
            3600..=86_399 => write!(f, "{}h {:02}m", seconds / 3600, seconds % 3600 / 60),
            _ => write!(f, "{}d {:02}h", seconds / 86_400, seconds % 86_400 / 3600),
        }
    }
}

impl HtmlSafe for Span {}

/// A moment as people speak of it, with the exact time for whoever points at it.
#[derive(Debug, Clone, Copy)]
pub struct Ago {
    at: Timestamp,
    now: Timestamp,
}

impl Ago {
    /// A moment, seen from another.
    #[must_use]
    pub const fn new(at: Timestamp, now: Timestamp) -> Self {
        Self { at, now }
    }
}

impl fmt::Display for Ago {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exact = exact(self.at);
        write!(f, r#"<time datetime="{}" title="{exact} UTC">"#, self.at)?;
        let (ahead, between) = match self.at > self.now {
            true => (true, self.at.since(self.now)),
            false => (false, self.now.since(self.at)),
        };
        let seconds = between.as_secs();
        let (count, unit) = match seconds {
            0..=4 if !ahead => (0, "just now"),
            0..=59 => (seconds, "s"),
            60..=3599 => (seconds / 60, "min"),
            3600..=86_399 => (seconds / 3600, "h"),
            86_400..=1_209_599 => (seconds / 86_400, "d"),
            _ => (0, exact.split(' ').next().unwrap_or_default()),
        };
        match (count, ahead) {
            (0, _) => f.write_str(unit)?,
            (_, true) => write!(f, "in {count} {unit}")?,
            (_, false) => write!(f, "{count} {unit} ago")?,
        }
        f.write_str("</time>")
    }
}

impl HtmlSafe for Ago {}

/// A moment to the second: `2026-01-31 07:00:00`.
#[must_use]
pub fn exact(at: Timestamp) -> String {
    let text = at.to_string();
    text.get(..19).unwrap_or(&text).replace('T', " ")
}

/// The time of day to the millisecond, for lines of a log.
#[must_use]
pub fn clock_time(at: Timestamp) -> String {
    at.to_string().get(11..23).unwrap_or_default().to_owned()
}

/// A count with its thousands apart: `12,000`.
#[must_use]
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A size in bytes.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "one digit after the point is shown")]
pub fn bytes(number: u64) -> String {
    match number {
        0..=1023 => format!("{number} B"),
        1024..=1_048_575 => format!("{:.1} KiB", number as f64 / 1024.0),
        _ => format!("{:.1} MiB", number as f64 / 1_048_576.0),
    }
}

/// A measured value, without digits that say nothing.
#[must_use]
pub fn figure(value: f64) -> String {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole, and not large, as just seen")]
    if value.fract() == 0.0 && (0.0..1e15).contains(&value) {
        return count(value as u64);
    }
    format!("{value:.3}").trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A run's state as colour, shape and word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Badge(pub RunState);

impl Badge {
    /// The state in words.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self.0 {
            RunState::TimedOut => "timed out",
            state => state.as_str(),
        }
    }
}

impl fmt::Display for Badge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, word) = (self.0.as_str(), self.word());
        write!(f, r##"<span class="state {name}"><svg aria-hidden="true"><use href="#{name}"/></svg>{word}</span>"##)
    }
}

impl HtmlSafe for Badge {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_show_two_units_at_most() {
        let shown = |millis| Span(Duration::from_millis(millis)).to_string();
        assert_eq!(shown(420), "420 ms");
        assert_eq!(shown(9_999), "9.9 s");
        assert_eq!(shown(59_999), "59 s");
        assert_eq!(shown(200_000), "3m 20s");
        assert_eq!(shown(7_500_000), "2h 05m");
        assert_eq!(shown(277_200_000), "3d 05h");
    }

    #[test]
    fn moments_are_told_from_now() {
        let now = Timestamp::from_micros(1_700_000_000_000_000);
        let shown = |seconds: i64| {
            let text = Ago::new(Timestamp::from_micros(now.as_micros() + seconds * 1_000_000), now).to_string();
            text.split_once('>').unwrap().1.trim_end_matches("</time>").to_owned()
        };
        assert_eq!(shown(-2), "just now");
        assert_eq!(shown(-59), "59 s ago");
        assert_eq!(shown(-3_600), "1 h ago");
        assert_eq!(shown(120), "in 2 min");
        assert_eq!(shown(-40 * 86_400), "2023-10-05");
    }

    #[test]
    fn figures_are_short() {
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(figure(1200.0), "1,200");
        assert_eq!(figure(0.125), "0.125");
        assert_eq!(figure(-3.50), "-3.5");
        assert_eq!(bytes(1536), "1.5 KiB");
    }
}
