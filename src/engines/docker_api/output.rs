//! Output as the daemon sends it.

use std::pin::pin;

use bollard::{container::LogOutput, errors::Error, query_parameters::LogsOptions};
use bytes::{Buf, Bytes};
use futures::{Stream, TryStreamExt};

use crate::{
    domain::Timestamp,
    engines::{LogFrame, LogSource},
};

/// All output from the first byte, with times.
pub(in crate::engines) fn whole_output(follow: bool) -> LogsOptions {
    LogsOptions { follow, stdout: true, stderr: true, timestamps: true, tail: "all".to_owned(), ..Default::default() }
}

/// More than any init process has to say.
const COMPLAINT_BYTES: usize = 1024;

/// The error output from its first byte.
pub(in crate::engines) fn first_errors() -> LogsOptions {
    LogsOptions { stderr: true, tail: "all".to_owned(), ..Default::default() }
}

/// The beginning of an output. A complaint of the init process is there and nowhere else, and may come in pieces: an old
/// Podman that is asked for the last line shows the last piece alone.
pub(in crate::engines) async fn beginning(
    output: impl Stream<Item = Result<LogOutput, Error>>,
) -> Result<Vec<u8>, Error> {
    let mut output = pin!(output);
    let mut bytes = Vec::new();
    while bytes.len() < COMPLAINT_BYTES
        && let Some(frame) = output.try_next().await?
    {
        bytes.extend_from_slice(frame.as_ref());
    }
    Ok(bytes)
}

/// What a shell-less start leaves on stderr when the init process, which is the container's first, cannot execute
/// the command: the daemon itself does not know.
pub(in crate::engines) fn complaint_of_init(output: &[u8]) -> Option<String> {
    let output = String::from_utf8_lossy(output);
    let of_init = output.starts_with("[FATAL tini (") || output.contains("(catatonit:");
    (of_init && output.contains("exec") && output.contains("failed")).then(|| output.trim().to_owned())
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

    #[tokio::test]
    async fn a_complaint_may_come_in_pieces() {
        let told = async |pieces: &[&'static str]| {
            let pieces: Vec<_> =
                pieces.iter().map(|piece| Ok(LogOutput::StdErr { message: (*piece).into() })).collect();
            complaint_of_init(&beginning(futures::stream::iter(pieces)).await.unwrap())
        };
        let pieces = ["ERROR (catatonit:6): ", "failed to exec pid1: No such file or directory\n"];
        let expected = "ERROR (catatonit:6): failed to exec pid1: No such file or directory";
        assert_eq!(told(&pieces).await.as_deref(), Some(expected));
        let of_tini = "[FATAL tini (7)] exec nope failed: No such file or directory\n";
        assert_eq!(told(&[of_tini]).await.as_deref(), Some(of_tini.trim()));
        assert_eq!(told(&["sh: nope: not found\n", of_tini]).await, None);
        assert_eq!(told(&[]).await, None);
    }
}
