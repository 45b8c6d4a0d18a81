//! What workloads print: lines, the report protocol, redaction, and where it is kept.

mod assemble;
mod protocol;
mod redact;

pub use assemble::{Assembler, Line, Piece};
pub use protocol::ReportPrefix;
pub use redact::{LineRedactor, MASK, Redactor};
