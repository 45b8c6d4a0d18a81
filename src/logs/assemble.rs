//! Puts the pieces of output together into lines.

use crate::{
    domain::Timestamp,
    engines::{LogFrame, LogSource},
};

use super::protocol::ReportPrefix;

/// The longest piece of a line that makes one record, in bytes as the script wrote them.
pub(super) const MAX_PIECE: usize = 64 * 1024;
/// The longest report line, in bytes: the largest output and the largest state together, and some room.
pub(super) const MAX_REPORT: usize = 600 * 1024;

/// What the assembler found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// Output for the log.
    Text(Piece),
    /// The JSON of a report line of this attempt.
    Report(Vec<u8>),
    /// A report line of this attempt that went over the limit; its content is dropped.
    ReportTooLong,
}

/// A line of output, or a piece of a long one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// When its first byte arrived, by the engine's clock.
    pub time: Timestamp,
    /// Where it came from.
    pub source: LogSource,
    /// The text, without the line's end; bytes that are not UTF-8 are replaced by U+FFFD.
    pub text: String,
    /// Whether the line goes on in the next piece of the same source.
    pub partial: bool,
}

/// Turns one attempt's frames into lines, for each source by itself.
///
/// The lines depend on the bytes of each source alone, not on how they were cut into frames: after a restart the frames
/// come again from the first, perhaps cut otherwise, and must give the same lines.
#[derive(Debug)]
pub struct Assembler {
    prefix: ReportPrefix,
    stdout: Open,
    stderr: Open,
}

/// The line that a source is in the middle of.
#[derive(Debug, Default)]
struct Open {
    /// When the first byte in `bytes` arrived.
    time: Option<Timestamp>,
    /// What has come of the line, or of its present piece.
    bytes: Vec<u8>,
    /// What is known of the line.
    kind: Kind,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Nothing but what `bytes` says.
    #[default]
    Fresh,
    /// A piece of it was already handed out.
    Continued,
    /// A report that is over the limit: drop it up to its end.
    Dropped,
}

impl Assembler {
    /// An assembler that takes lines with this prefix on stdout as reports.
    #[must_use]
    pub fn new(prefix: ReportPrefix) -> Self {
        Self { prefix, stdout: Open::default(), stderr: Open::default() }
    }

    /// Takes the next frame and hands out the lines that it completes.
    pub fn push(&mut self, frame: &LogFrame, mut found: impl FnMut(Line)) {
        let mut rest = &frame.bytes[..];
        while !rest.is_empty() {
            let end = rest.iter().position(|byte| *byte == b'\n');
            let (part, after) = end.map_or((rest, &rest[rest.len()..]), |end| (&rest[..end], &rest[end + 1..]));
            self.extend(frame.source, frame.time, part, &mut found);
            if end.is_some() {
                self.end_line(frame.source, frame.time, &mut found);
            }
            rest = after;
        }
    }

    /// The output is over: hands out what came without a line's end.
    pub fn finish(mut self, mut found: impl FnMut(Line)) {
        for source in [LogSource::Stdout, LogSource::Stderr] {
            let open = self.open(source);
            if let Some(time) = open.time
                && (!open.bytes.is_empty() || open.kind != Kind::Fresh)
            {
                self.end_line(source, time, &mut found);
            }
        }
    }

    fn open(&mut self, source: LogSource) -> &mut Open {
        match source {
            LogSource::Stdout => &mut self.stdout,
            LogSource::Stderr => &mut self.stderr,
        }
    }

    /// Adds a part of a line that holds no line end, and hands out pieces that are full.
    fn extend(&mut self, source: LogSource, time: Timestamp, mut part: &[u8], found: &mut impl FnMut(Line)) {
        while !part.is_empty() {
            let limit = self.limit(source);
            let open = self.open(source);
            if open.kind == Kind::Dropped {
                return;
            }
            open.time.get_or_insert(time);
            // One byte over the limit is taken in before anything is handed out, so that a line of exactly the limit is
            // whole, wherever the frames end.
            let taken = part.len().min((limit + 1).saturating_sub(open.bytes.len()));
            open.bytes.extend_from_slice(&part[..taken]);
            part = &part[taken..];
            if open.bytes.len() > self.limit(source) {
                self.overflow(source, time, found);
            }
        }
    }

    fn limit(&mut self, source: LogSource) -> usize {
        if self.is_report(source) { MAX_REPORT } else { MAX_PIECE }
    }

    fn is_report(&self, source: LogSource) -> bool {
        source == LogSource::Stdout
            && self.stdout.kind == Kind::Fresh
            && self.prefix.strip(&self.stdout.bytes).is_some()
    }

    /// The open line is longer than its limit.
    fn overflow(&mut self, source: LogSource, time: Timestamp, found: &mut impl FnMut(Line)) {
        let is_report = self.is_report(source);
        let open = self.open(source);
        if is_report {
            open.bytes = Vec::new();
            open.kind = Kind::Dropped;
            return;
        }
        let rest = open.bytes.split_off(whole_characters(&open.bytes[..MAX_PIECE]));
        let bytes = std::mem::replace(&mut open.bytes, rest);
        let began = open.time.replace(time).unwrap_or(time);
        open.kind = Kind::Continued;
        found(Line::Text(Piece { time: began, source, text: lossy(bytes), partial: true }));
    }

    /// The open line is complete.
    fn end_line(&mut self, source: LogSource, time: Timestamp, found: &mut impl FnMut(Line)) {
        let is_report = self.is_report(source);
        let prefix = self.prefix.len();
        let Open { time: began, mut bytes, kind } = std::mem::take(self.open(source));
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
        found(match kind {
            Kind::Dropped => Line::ReportTooLong,
            Kind::Fresh if is_report => Line::Report(bytes.split_off(prefix.min(bytes.len()))),
            Kind::Fresh | Kind::Continued => {
                Line::Text(Piece { time: began.unwrap_or(time), source, text: lossy(bytes), partial: false })
            }
        });
    }
}

/// How many of the bytes to take so that no character is cut in two.
fn whole_characters(bytes: &[u8]) -> usize {
    match std::str::from_utf8(bytes) {
        Ok(_) => bytes.len(),
        // No length: the error is that the bytes end amid a character.
        Err(error) if error.error_len().is_none() => error.valid_up_to(),
        Err(_) => {
            // Broken somewhere before: look at the last character alone, which begins within the last four bytes.
            let begin = bytes.len().saturating_sub(4);
            let lead = bytes[begin..].iter().rposition(|byte| byte & 0xC0 == 0xC0).map(|at| begin + at);
            lead.filter(|lead| std::str::from_utf8(&bytes[*lead..]).is_err_and(|e| e.error_len().is_none()))
                .unwrap_or(bytes.len())
        }
    }
}

fn lossy(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;

    fn frame(source: LogSource, bytes: &[u8]) -> LogFrame {
        LogFrame { time: Timestamp::from_micros(1), source, bytes: Bytes::copy_from_slice(bytes) }
    }

    fn assemble<'a>(frames: impl IntoIterator<Item = &'a [u8]>) -> Vec<Line> {
        let mut lines = Vec::new();
        let mut assembler = Assembler::new(ReportPrefix::new("n1"));
        for bytes in frames {
            assembler.push(&frame(LogSource::Stdout, bytes), |line| lines.push(line));
        }
        assembler.finish(|line| lines.push(line));
        lines
    }

    fn texts(lines: &[Line]) -> Vec<(&str, bool)> {
        lines
            .iter()
            .map(|line| match line {
                Line::Text(piece) => (piece.text.as_str(), piece.partial),
                Line::Report(json) => (std::str::from_utf8(json).unwrap(), false),
                Line::ReportTooLong => ("too long", false),
            })
            .collect()
    }

    #[test]
    fn lines_end_with_either_line_end_or_the_output() {
        let lines = assemble([&b"one\ntw"[..], b"o\r", b"\n\nla", b"st"]);
        assert_eq!(texts(&lines), [("one", false), ("two", false), ("", false), ("last", false)]);
        assert_eq!(assemble([&b""[..]]), []);
    }

    #[test]
    fn sources_do_not_mix() {
        let mut lines = Vec::new();
        let mut assembler = Assembler::new(ReportPrefix::new("n1"));
        assembler.push(&frame(LogSource::Stdout, b"out"), |line| lines.push(line));
        assembler.push(&frame(LogSource::Stderr, b"::haulier:n1:{}\n"), |line| lines.push(line));
        assembler.push(&frame(LogSource::Stdout, b"put\n"), |line| lines.push(line));
        assert_eq!(texts(&lines), [("::haulier:n1:{}", false), ("output", false)]);
        assert!(matches!(&lines[0], Line::Text(piece) if piece.source == LogSource::Stderr));
    }

    #[test]
    fn a_long_line_becomes_pieces_at_whole_characters() {
        let whole = "x".repeat(MAX_PIECE);
        assert_eq!(texts(&assemble([format!("{whole}\n").as_bytes()])), [(whole.as_str(), false)]);
        let long = "x".repeat(MAX_PIECE - 1) + "é!";
        let lines = assemble([long.as_bytes()]);
        assert_eq!(texts(&lines), [("x".repeat(MAX_PIECE - 1).as_str(), true), ("é!", false)]);
    }

    #[test]
    fn foreign_bytes_are_replaced() {
        assert_eq!(texts(&assemble([&b"a\xFFb\n"[..]])), [("a\u{FFFD}b", false)]);
        // Also when the piece is cut: the character over the cut stays whole.
        let long = [b"\xFF".to_vec(), vec![b'x'; MAX_PIECE - 2], "é".into()].concat();
        assert!(assemble([&long[..]]).iter().any(|line| matches!(line, Line::Text(piece) if piece.text == "é")));
    }

    #[test]
    fn a_report_may_be_longer_than_a_piece_but_not_endless() {
        let json = "1".repeat(300 * 1024);
        assert_eq!(assemble([format!("::haulier:n1:{json}\r\n").as_bytes()]), [Line::Report(json.into_bytes())]);
        let endless = format!("::haulier:n1:{}\nnext\n", "1".repeat(MAX_REPORT));
        assert_eq!(texts(&assemble([endless.as_bytes()])), [("too long", false), ("next", false)]);
        let other = format!("::haulier:n2:{}\n", "1".repeat(MAX_PIECE));
        assert_eq!(assemble([other.as_bytes()]).len(), 2, "with another nonce it is ordinary output");
    }

    #[test]
    fn a_report_amid_a_long_line_is_output() {
        let line = "x".repeat(MAX_PIECE) + "::haulier:n1:{}\n";
        assert!(assemble([line.as_bytes()]).iter().all(|line| matches!(line, Line::Text(_))));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn lines_do_not_depend_on_the_frames(
            parts in proptest::collection::vec(
                prop_oneof![
                    Just(b"\n".to_vec()), Just(b"\r\n".to_vec()), Just(b"::haulier:n1:{}".to_vec()),
                    Just("é".into()), Just(b"\xE2\x82".to_vec()), (0..70_000_usize).prop_map(|n| vec![b'x'; n]),
                ],
                0..12,
            ),
            cuts in proptest::collection::vec(1..20_000_usize, 1..40),
        ) {
            let all = parts.concat();
            let mut rest = &all[..];
            let mut frames = Vec::new();
            for cut in cuts.iter().cycle() {
                if rest.is_empty() { break; }
                let (frame, after) = rest.split_at((*cut).min(rest.len()));
                frames.push(frame);
                rest = after;
            }
            prop_assert_eq!(assemble(frames), assemble([&all[..]]));
        }
    }
}
