//! What workloads print: lines, the report protocol, redaction, and where it is kept.

mod assemble;
pub mod contract;
mod error;
mod follow;
mod objects;
mod protocol;
mod record;
mod redact;
mod store;

pub use assemble::{Assembler, Line, Piece};
pub use error::LogError;
pub use follow::{Collect, CollectEnd, Collected, Collecting, Stage, Told, collect};
pub use objects::{Fault, ObjectSettings, Objects, SettingsError};
pub use protocol::{REPORT_TOO_LONG, ReportPrefix, take as take_report};
pub use record::{LogChannel, LogRecord, ReplaySkip, ResumePoint};
pub use redact::{LineRedactor, MASK, Redactor};
pub use store::{LogLimits, LogPage, LogStats, LogStore, LogTail, RunLogWriter};
