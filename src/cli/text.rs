//! Values as people write and read them.

use std::{fmt, time::Duration};

use crate::domain::{Clock, SystemClock, Timestamp};

/// A moment, to the second.
#[must_use]
pub fn time(time: Timestamp) -> String {
    let text = time.to_string();
    let seconds = text.split('.').next().unwrap_or_default();
    format!("{}Z", seconds.replacen('T', " ", 1))
}

/// What may be missing.
#[must_use]
pub fn maybe(value: Option<impl fmt::Display>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

/// How long something took: `0.25 s`, `4.1 s`, `3m 05s`, `2h 07m`.
#[must_use]
pub fn millis(millis: u64) -> String {
    let seconds = millis / 1000;
    match seconds {
        0 => format!("{}.{:02} s", seconds, millis / 10),
        1..60 => format!("{seconds}.{} s", millis % 1000 / 100),
        60..3600 => format!("{}m {:02}s", seconds / 60, seconds % 60),
        _ => format!("{}h {:02}m", seconds / 3600, seconds / 60 % 60),
    }
}

/// A number of bytes.
#[must_use]
pub fn bytes(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{} KiB", bytes / 1024),
        _ => format!("{} MiB", bytes / 1_048_576),
    }
}

/// Reads `90`, `90s`, `15m`, `12h`, `30d`, `2w`, or several of them: `1h30m`.
///
/// # Errors
/// The text says no time.
pub fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no time: write it like 90s, 15m, 12h, 30d or 1h30m");
    if let Ok(seconds) = text.parse() {
        return Ok(Duration::from_secs(seconds));
    }
    let mut total: u64 = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let count: u64 = rest[..digits].parse().map_err(|_| wrong())?;
        let unit = match rest.as_bytes()[digits] {
            b's' => 1,
            b'm' => 60,
            b'h' => 3600,
            b'd' => 86_400,
            b'w' => 604_800,
            _ => return Err(wrong()),
        };
        total = count.checked_mul(unit).and_then(|part| total.checked_add(part)).ok_or_else(wrong)?;
        rest = &rest[digits + 1..];
    }
    if text.is_empty() { Err(wrong()) } else { Ok(Duration::from_secs(total)) }
}

/// Reads a time in whole seconds.
///
/// # Errors
/// The text says no time, or too long a one.
pub fn seconds(text: &str) -> Result<u32, String> {
    u32::try_from(duration(text)?.as_secs()).map_err(|_| format!("{text} is too long"))
}

/// Reads a moment: RFC 3339, or how long ago.
///
/// # Errors
/// The text is neither.
pub fn moment_ago(text: &str) -> Result<Timestamp, String> {
    if let Ok(time) = Timestamp::parse(text) {
        return Ok(time);
    }
    let ago = duration(text).map_err(|_| {
        format!("{text:?} is no time: write how long ago, like 2h, or RFC 3339, like 2026-01-31T07:00:00Z")
    })?;
    Ok(SystemClock.now().minus(ago))
}

/// Reads a moment: RFC 3339, or how long from now.
///
/// # Errors
/// The text is neither.
pub fn moment_ahead(text: &str) -> Result<Timestamp, String> {
    if let Ok(time) = Timestamp::parse(text) {
        return Ok(time);
    }
    let ahead = duration(text).map_err(|_| {
        format!("{text:?} is no time: write how long from now, like 30d, or RFC 3339, like 2026-01-31T07:00:00Z")
    })?;
    Ok(SystemClock.now().plus(ahead))
}

/// Reads `key=value`.
///
/// # Errors
/// There is no `=`, or nothing before it.
pub fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write key=value".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_and_written() {
        assert_eq!(time(Timestamp::from_micros(1_700_000_000_123_456)), "2023-11-14 22:13:20Z");
        for (text, seconds) in [("90", 90), ("90s", 90), ("15m", 900), ("1h30m", 5400), ("30d", 2_592_000)] {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for bad in ["", "s", "5x", "1h30", "-1s", "1.5h", "99999999999999999999d", "9999999999999999d", "1é"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
        let shown = [7, 250, 4_199, 185_000, 7_620_000].map(millis);
        assert_eq!(shown, ["0.00 s", "0.25 s", "4.1 s", "3m 05s", "2h 07m"]);
    }

    #[test]
    fn pairs_keep_what_follows() {
        assert_eq!(pair("a=b=c"), Ok(("a".to_owned(), "b=c".to_owned())));
        assert_eq!(pair("a="), Ok(("a".to_owned(), String::new())));
        assert!(pair("a").is_err() && pair("=a").is_err());
    }
}
