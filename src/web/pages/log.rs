//! A part of a run's log.

/// What of a log is shown.
#[derive(Debug, Clone, Default)]
pub struct LogView {
    /// Lines in their order.
    pub lines: Vec<LogLine>,
    /// Where to go on reading.
    pub next_offset: u64,
    /// The address of what was before; `None` when this is the beginning.
    pub earlier: Option<String>,
    /// The address of what comes next; `None` when this reaches the end.
    pub later: Option<String>,
    /// How long it is, in words.
    pub size: String,
    /// Only this stream is shown.
    pub stream: Option<&'static str>,
    /// Only lines with this are shown.
    pub search: String,
    /// Something that people should know of it, like that it was cut.
    pub remark: Option<&'static str>,
}

/// A line of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// The time of day.
    pub time: String,
    /// `stdout`, `stderr` or `haulier`.
    pub stream: &'static str,
    /// Without its end, and without escape codes of terminals.
    pub text: String,
}
