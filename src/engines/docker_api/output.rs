//! Output as the daemon sends it.

use bollard::{container::LogOutput, query_parameters::LogsOptions};
use bytes::{Buf, Bytes};

use crate::{
    domain::Timestamp,
    engines::{LogFrame, LogSource},
};

/// All output from the first byte, with times.
pub(in crate::engines) fn whole_output(follow: bool) -> LogsOptions {
    LogsOptions { follow, stdout: true, stderr: true, timestamps: true, tail: "all".to_owned(), ..Default::default() }
}

/// What a shell-less start leaves on stderr when the init process, which is the container's first, cannot execute
/// the command: the daemon itself does not know.
pub(in crate::engines) fn complaint_of_init(line: &[u8]) -> Option<String> {
    let line = String::from_utf8_lossy(line);
    let of_init = line.starts_with("[FATAL tini (") || line.contains("(catatonit:");
    (of_init && line.contains("exec") && line.contains("failed")).then(|| line.trim().to_owned())
}

/// Makes frames of what the daemon sends.
#[derive(Debug)]
pub(in crate::engines) struct Decoder {
    /// The last frame's time, for a frame that has none.
    time: Timestamp,
}

impl Default for Decoder {
    fn default() -> Self {
        Self { time: Timestamp::from_micros(0) }
    }
}

impl Decoder {
    /// Takes the time off the front of a frame. The daemon writes it before each part of a split line as well.
    pub(in crate::engines) fn decode(&mut self, output: LogOutput) -> Option<LogFrame> {
        let (source, mut bytes) = match output {
            LogOutput::StdErr { message } => (LogSource::Stderr, message),
            LogOutput::StdOut { message } | LogOutput::Console { message } => (LogSource::Stdout, message),
            LogOutput::StdIn { .. } => return None,
        };
        if let Some((time, length)) = leading_time(&bytes) {
            self.time = time;
            bytes.advance(length);
        }
        (!bytes.is_empty()).then_some(LogFrame { time: self.time, source, bytes })
    }
}

/// The time that a frame begins with, and how many bytes that and the space behind it take.
fn leading_time(bytes: &Bytes) -> Option<(Timestamp, usize)> {
    let space = bytes.iter().take(40).position(|byte| *byte == b' ')?;
    let time = Timestamp::parse(std::str::from_utf8(&bytes[..space]).ok()?).ok()?;
    Some((time, space + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_told_from_text() {
        let frame = Bytes::from_static(b"2026-01-31T07:00:00.123456789Z 2026 was fine\n");
        let (time, length) = leading_time(&frame).unwrap();
        assert_eq!(time.to_string(), "2026-01-31T07:00:00.123456Z");
        assert_eq!(&frame[length..], b"2026 was fine\n");
        assert_eq!(leading_time(&Bytes::from_static(b"no time here")), None);
    }
}
