//! What pages show: one file a page, with its template struct and what it is made of. No I/O.

mod audit;
mod engines;
mod job;
mod jobs;
mod limits;
mod log;
mod notices;
mod overview;
mod problem;
mod rows;
mod run;
mod runs;
mod shell;
mod sign_in;
mod tokens;
mod trigger;

pub use audit::{AuditPage, AuditRow};
pub use engines::{EngineRow, EnginesPage};
pub use job::{
    Change, ConfigurationPage, Fact, JobHead, JobPage, RevisionRow, RevisionsPage, StatePage, StateRow, Tab,
};
pub use jobs::{JobRow, JobsPage, LastRun};
pub use limits::{LimitCard, LimitPage, LimitsPage, Meter};
pub use log::{LogLine, LogView};
pub use notices::{NoticeRow, NoticesPage, words};
pub use overview::{FailedRow, OverviewPage, Totals};
pub use problem::ProblemPage;
pub use rows::{RunRow, WaitingRow, short};
pub use run::{EventRow, RunPage};
pub use runs::{RunsFilter, RunsPage};
pub use shell::{Rights, Section, Shell, Theme};
pub use sign_in::{SignInPage, SingleSignOn};
pub use tokens::{NewToken, TokenRow, TokensPage};
pub use trigger::{Field, FieldKind, TriggerPage};
