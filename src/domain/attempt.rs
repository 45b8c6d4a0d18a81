//! One launch of a run, and the judgement of how it ended.

use super::{AttemptId, ErrorCode, Outcome, Reports, RunError, Timestamp};

/// How far a launch has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AttemptPhase {
    /// The intent is stored; the engine may or may not have been asked.
    Intended,
    /// The engine has it; its handle is stored.
    Launched,
    /// Its result is stored.
    Ended,
}

impl AttemptPhase {
    /// The phase as it is stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Intended => "intended",
            Self::Launched => "launched",
            Self::Ended => "ended",
        }
    }

    /// Reads a stored phase.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Intended, Self::Launched, Self::Ended].into_iter().find(|phase| phase.as_str() == text)
    }
}

/// One launch of a run on an engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// Which one.
    pub id: AttemptId,
    /// The run's slice that it works on, from 1.
    pub slice: u32,
    /// The engine's name.
    pub engine: String,
    /// How far it has come.
    pub phase: AttemptPhase,
    /// What the engine calls the workload, once launched.
    pub handle: Option<String>,
    /// Names the execution that was seen, to notice a second one.
    pub execution: Option<String>,
    /// The report protocol's nonce.
    pub nonce: String,
    /// When the intent was stored.
    pub created_at: Timestamp,
    /// When the container started.
    pub started_at: Option<Timestamp>,
    /// When its result was stored.
    pub ended_at: Option<Timestamp>,
    /// Exit code, if there was one.
    pub exit_code: Option<i32>,
    /// Why it did not succeed.
    pub error: Option<RunError>,
}

/// What ended an attempt, in words that no engine owns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AttemptEnd {
    /// The script ran and ended.
    Exited {
        /// 0 to 255.
        code: i32,
        /// Killed for want of memory.
        out_of_memory: bool,
    },
    /// It did not come to an end of its own: the code says why, the text tells people.
    Failed {
        /// Why.
        code: ErrorCode,
        /// For people.
        message: String,
        /// An exit code was seen all the same.
        exit_code: Option<i32>,
    },
}

/// How an attempt counts.
#[derive(Debug, Clone, PartialEq)]
pub struct AttemptResult {
    /// Exit code, if there was one.
    pub exit_code: Option<i32>,
    /// `Ok`: the script is done, or wants to be continued. `Err`: why not.
    pub verdict: Result<Outcome, RunError>,
}

impl AttemptResult {
    /// Judges an end together with what the script reported before it.
    #[must_use]
    pub fn judge(end: &AttemptEnd, reports: &Reports) -> Self {
        match end {
            AttemptEnd::Failed { code, message, exit_code } => {
                Self { exit_code: *exit_code, verdict: Err(RunError::new(*code, message.as_str())) }
            }
            AttemptEnd::Exited { code, out_of_memory: true } if *code != 0 => Self {
                exit_code: Some(*code),
                verdict: Err(RunError::new(
                    ErrorCode::OutOfMemory,
                    format!("the script used more memory than it may (exit code {code}): raise resources.memory_mb"),
                )),
            },
            AttemptEnd::Exited { code, .. } => Self { exit_code: Some(*code), verdict: judge_exit(*code, reports) },
        }
    }
}

fn judge_exit(code: i32, reports: &Reports) -> Result<Outcome, RunError> {
    if let Some(reported) = &reports.error {
        let (kind, message) = if code == 0 {
            (ErrorCode::ScriptError, reported.message.clone())
        } else {
            (ErrorCode::ExitCode, format!("{} (exit code {code})", reported.message))
        };
        let retryable = reported.retryable.unwrap_or(kind.is_retryable());
        return Err(RunError { retryable, reported_code: reported.code.clone(), ..RunError::new(kind, message) });
    }
    if code != 0 {
        let message = match code {
            129..=192 => format!("the script was ended by signal {} (exit code {code}): see its log", code - 128),
            _ => format!("the script ended with exit code {code}: see its log"),
        };
        return Err(RunError::new(ErrorCode::ExitCode, message));
    }
    match &reports.invalid {
        Some(problem) => Err(RunError::new(
            ErrorCode::ReportInvalid,
            format!("a report line of the script could not be taken: {problem}"),
        )),
        None => Ok(reports.outcome.unwrap_or(Outcome::Done)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ReportedError;

    fn judged(code: i32, out_of_memory: bool, reports: &Reports) -> Result<Outcome, ErrorCode> {
        AttemptResult::judge(&AttemptEnd::Exited { code, out_of_memory }, reports).verdict.map_err(|error| error.code)
    }

    #[test]
    fn exit_codes_decide() {
        let nothing = Reports::default();
        assert_eq!(judged(0, false, &nothing), Ok(Outcome::Done));
        assert_eq!(judged(3, false, &nothing), Err(ErrorCode::ExitCode));
        assert_eq!(judged(137, true, &nothing), Err(ErrorCode::OutOfMemory));
        // Only a child was killed, and the script coped with it.
        assert_eq!(judged(0, true, &nothing), Ok(Outcome::Done));
    }

    #[test]
    fn reports_refine_the_answer() {
        let told =
            |code: &str| ReportedError { code: Some(code.into()), message: "no access".into(), retryable: Some(false) };
        let reports = Reports { error: Some(told("AUTH")), ..Reports::default() };
        assert_eq!(judged(0, false, &reports), Err(ErrorCode::ScriptError));
        let result = AttemptResult::judge(&AttemptEnd::Exited { code: 4, out_of_memory: false }, &reports);
        let error = result.verdict.unwrap_err();
        assert_eq!(
            (error.code, error.retryable, error.reported_code.as_deref()),
            (ErrorCode::ExitCode, false, Some("AUTH"))
        );
        assert_eq!(error.message, "no access (exit code 4)");
        let broken = Reports { invalid: Some("not JSON".into()), ..Reports::default() };
        assert_eq!(judged(0, false, &broken), Err(ErrorCode::ReportInvalid));
        assert_eq!(judged(1, false, &broken), Err(ErrorCode::ExitCode));
    }
}
