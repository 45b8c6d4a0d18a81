//! Pure values and their transitions: no I/O, no HTTP, no SQL, no engine vocabulary.
//!
//! Everything that decides (what a job may say, which run state follows which, when a retry is due) is
//! decided here, takes time from a [`Clock`], and can be tested without a runtime.

mod attempt;
mod callback;
mod channel;
mod clock;
mod error;
mod given;
mod ids;
mod job;
mod lifecycle;
mod limit;
mod name;
mod notice;
mod notify;
mod person;
mod project;
mod report;
mod retry;
mod run;
mod sample;
mod schedule;
mod token;
mod trace;
mod validate;

pub use attempt::{Attempt, AttemptEnd, AttemptPhase, AttemptResult};
pub use callback::{Callback, CallbackKind, CallbackOutcome, CallbackState, CallbackTry, next_try};
pub use channel::{Change, ChannelKind, ChannelSpec, EmailSpec, MailTls, QuietHours};
pub use clock::{Clock, ManualClock, SystemClock, Timestamp};
pub use error::{ErrorCode, RunError};
pub use given::{Given, GivenAs};
pub use ids::{
    AttemptId, ChannelId, InstallationId, JobId, LimitId, NoticeId, ParseIdError, ProjectId, RunId, TokenId,
    WorkloadName,
};
pub use job::{FileSpec, Job, JobConfig, JobSpec, LimitUse, Resources, Revision, SecretDelivery, SecretSpec, WhenFull};
pub use lifecycle::{Conclusion, Lifecycle, Phase, RunState, StopCause, TransitionError};
pub use limit::Limit;
pub use name::{InvalidName, Name};
pub use notice::{Finding, Notice, NoticeKind, Severity};
pub use notify::NotifySpec;
pub use person::{Access, Person};
pub use project::{ImagePattern, Project, Registry};
pub use report::{InvalidReport, Outcome, Progress, Report, ReportedError, Reports};
pub use retry::{Backoff, RetryPolicy};
pub use run::{IfExists, LogSummary, Run, RunEvent, RunEventKind, RunRequest, WaitReason, Waiting};
pub use sample::{Sample, SampleFigures};
pub use schedule::{CatchUp, Occasion, Schedule, ScheduleSpec};
pub use token::{Scope, Token};
pub use trace::{InvalidTraceParent, TraceParent};
pub use validate::{FieldError, Problems};
pub(crate) use validate::{step as pointer_step, without_value};
