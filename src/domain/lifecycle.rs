//! The run's state machine: which state follows which, and nothing else.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{AttemptResult, Backoff, ErrorCode, Outcome, RetryPolicy, RunError, WaitReason};

/// How far a run has come, as observed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Waits for its slots, its time, or its next attempt.
    Queued,
    /// Holds its slots; its container is being brought up.
    Starting,
    /// Its container runs.
    Running,
    /// Ended well.
    Succeeded,
    /// Ended badly.
    Failed,
    /// Ended because somebody, or a rule, wanted it to.
    Cancelled,
    /// Ended because its time was up.
    TimedOut,
}

impl Phase {
    /// All phases.
    pub const ALL: [Self; 7] =
        [Self::Queued, Self::Starting, Self::Running, Self::Succeeded, Self::Failed, Self::Cancelled, Self::TimedOut];

    /// The phase as it is stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::TimedOut => "timed_out",
        }
    }

    /// Reads a stored phase.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|phase| phase.as_str() == text)
    }

    /// Whether it never changes again.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled | Self::TimedOut)
    }
}

/// Why a run is to end early.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum StopCause {
    /// Somebody cancelled it.
    Cancelled,
    /// Its lease ran out.
    Abandoned,
    /// A newer run takes its place.
    Superseded,
    /// It waited too long in the queue.
    QueueTimeout,
}

impl StopCause {
    /// All causes.
    pub const ALL: [Self; 4] = [Self::Cancelled, Self::Abandoned, Self::Superseded, Self::QueueTimeout];

    /// The cause as it is stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cancelled => "cancelled",
            Self::Abandoned => "abandoned",
            Self::Superseded => "superseded",
            Self::QueueTimeout => "queue_timeout",
        }
    }

    /// Reads a stored cause.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|cause| cause.as_str() == text)
    }

    const fn end(self) -> Phase {
        match self {
            Self::Cancelled | Self::Abandoned | Self::Superseded => Phase::Cancelled,
            Self::QueueTimeout => Phase::TimedOut,
        }
    }

    /// The error that a run stopped for this carries.
    #[must_use]
    pub fn error(self) -> RunError {
        match self {
            Self::Cancelled => RunError::new(ErrorCode::Cancelled, "the run was cancelled"),
            Self::Abandoned => RunError::new(
                ErrorCode::Abandoned,
                "nobody asked for the run within abandon_after_seconds, so it was cancelled",
            ),
            Self::Superseded => {
                RunError::new(ErrorCode::Superseded, "a newer run of the job took this run's place (see when_full)")
            }
            Self::QueueTimeout => RunError::new(
                ErrorCode::QueueTimeout,
                "the run waited in the queue for longer than queue_timeout_seconds",
            ),
        }
    }
}

/// The public state: what clients see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the names are the documentation: see product words")]
pub enum RunState {
    Queued,
    Starting,
    Running,
    Cancelling,
    Succeeded,
    Failed,
    Cancelled,
    TimedOut,
}

impl RunState {
    /// The one place where the public state is computed, from what is observed and what is wanted.
    #[must_use]
    pub const fn of(phase: Phase, stop: Option<StopCause>) -> Self {
        match (phase, stop) {
            (Phase::Queued, None) => Self::Queued,
            (Phase::Starting, None) => Self::Starting,
            (Phase::Running, None) => Self::Running,
            (Phase::Queued | Phase::Starting | Phase::Running, Some(_)) => Self::Cancelling,
            (Phase::Succeeded, _) => Self::Succeeded,
            (Phase::Failed, _) => Self::Failed,
            (Phase::Cancelled, _) => Self::Cancelled,
            (Phase::TimedOut, _) => Self::TimedOut,
        }
    }

    /// The state as it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Cancelling => "cancelling",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::TimedOut => "timed_out",
        }
    }

    /// Whether it never changes again.
    #[must_use]
    pub const fn is_finished(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled | Self::TimedOut)
    }
}

/// A transition that the state does not allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TransitionError {
    /// Terminal states never change again.
    #[error("the run has ended")]
    Ended,
    /// The caller speaks of an attempt that is not the present one.
    #[error("another attempt has begun since")]
    Stale,
    /// The run is not where this transition begins.
    #[error("the run is not in the state for this")]
    OutOfOrder,
}

/// Where a run stands: the part of it that transitions change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifecycle {
    /// How far it has come.
    pub phase: Phase,
    /// Whether it is to end early, and why. The first cause stays.
    pub stop: Option<StopCause>,
    /// The present attempt's number; 0 before the first.
    pub attempt: u32,
    /// The present slice, from 1.
    pub slice: u32,
    /// Failures of the script in this slice.
    pub own_failures: u32,
    /// Failures of the infrastructure in this slice.
    pub infrastructure_failures: u32,
}

/// What follows from an attempt's end.
#[derive(Debug, Clone, PartialEq)]
pub enum Conclusion {
    /// The run has ended; `None` = it succeeded.
    End(Option<RunError>),
    /// The run goes back to the queue, not before `after` has passed.
    Again {
        /// Pause.
        after: Duration,
        /// Why it waits.
        reason: WaitReason,
        /// Whether a slice was completed, so that what it reported counts.
        completed_slice: bool,
    },
}

impl Default for Lifecycle {
    fn default() -> Self {
        Self { phase: Phase::Queued, stop: None, attempt: 0, slice: 1, own_failures: 0, infrastructure_failures: 0 }
    }
}

impl Lifecycle {
    /// The public state.
    #[must_use]
    pub const fn state(&self) -> RunState {
        RunState::of(self.phase, self.stop)
    }

    /// Grows with every transition: of two states of one run, the greater is the later.
    #[must_use]
    pub const fn order(&self) -> (bool, u32, u8, bool) {
        let step = match self.phase {
            Phase::Starting => 0,
            Phase::Running => 1,
            // Back in the queue after this attempt.
            Phase::Queued => 2,
            Phase::Succeeded | Phase::Failed | Phase::Cancelled | Phase::TimedOut => 3,
        };
        (self.phase.is_terminal(), self.attempt, step, self.stop.is_some())
    }

    /// The run gets its slots, and its next attempt is intended.
    ///
    /// # Errors
    /// It does not wait in the queue.
    pub fn admit(self) -> Result<Self, TransitionError> {
        match (self.phase, self.stop) {
            (Phase::Queued, None) => Ok(Self { phase: Phase::Starting, attempt: self.attempt + 1, ..self }),
            _ => Err(self.refusal()),
        }
    }

    /// The container of `attempt` runs.
    ///
    /// # Errors
    /// The run has ended, or has another attempt.
    pub fn launched(self, attempt: u32) -> Result<Self, TransitionError> {
        match self.phase {
            Phase::Starting | Phase::Running if self.attempt != attempt => Err(TransitionError::Stale),
            Phase::Starting | Phase::Running => Ok(Self { phase: Phase::Running, ..self }),
            _ => Err(self.refusal()),
        }
    }

    /// The run is to end early. One that waits ends at once; one that is active ends when its workload has.
    ///
    /// # Errors
    /// It has ended already.
    pub fn request_stop(self, cause: StopCause) -> Result<Self, TransitionError> {
        match self.phase {
            Phase::Queued => Ok(Self { phase: cause.end(), stop: Some(cause), ..self }),
            Phase::Starting | Phase::Running => Ok(Self { stop: self.stop.or(Some(cause)), ..self }),
            _ => Err(TransitionError::Ended),
        }
    }

    /// `attempt` has ended like this.
    ///
    /// # Errors
    /// The run has ended, or has another attempt.
    pub fn conclude(
        self,
        attempt: u32,
        result: &AttemptResult,
        policy: &RetryPolicy,
        max_slices: u32,
    ) -> Result<(Self, Conclusion), TransitionError> {
        match self.phase {
            Phase::Starting | Phase::Running if self.attempt != attempt => return Err(TransitionError::Stale),
            Phase::Starting | Phase::Running => {}
            _ => return Err(self.refusal()),
        }
        if let Some(cause) = self.stop {
            return Ok((Self { phase: cause.end(), ..self }, Conclusion::End(Some(cause.error()))));
        }
        Ok(match &result.verdict {
            Ok(Outcome::Done) => (Self { phase: Phase::Succeeded, ..self }, Conclusion::End(None)),
            Ok(Outcome::Continue) if self.slice < max_slices => (
                Self {
                    phase: Phase::Queued,
                    slice: self.slice + 1,
                    own_failures: 0,
                    infrastructure_failures: 0,
                    ..self
                },
                Conclusion::Again { after: Duration::ZERO, reason: WaitReason::Queued, completed_slice: true },
            ),
            Ok(Outcome::Continue) => {
                let message = format!("the script asked to be continued after {max_slices} slices: see max_slices");
                self.fail(RunError::new(ErrorCode::SliceLimit, message))
            }
            Err(error) => self.fail_or_retry(error, policy),
        })
    }

    fn fail_or_retry(self, error: &RunError, policy: &RetryPolicy) -> (Self, Conclusion) {
        let again = |after| Conclusion::Again { after, reason: WaitReason::BackingOff, completed_slice: false };
        if error.code.is_infrastructure() {
            let failures = self.infrastructure_failures + 1;
            let next = Self { phase: Phase::Queued, infrastructure_failures: failures, ..self };
            if failures <= RetryPolicy::INFRASTRUCTURE_ATTEMPTS {
                return (next, again(Backoff::infrastructure().delay(failures)));
            }
        } else {
            let failures = self.own_failures + 1;
            let next = Self { phase: Phase::Queued, own_failures: failures, ..self };
            if error.retryable && policy.retries(error.code, failures) {
                return (next, again(policy.backoff.delay(failures)));
            }
        }
        self.fail(error.clone())
    }

    fn fail(self, error: RunError) -> (Self, Conclusion) {
        let phase = if error.code == ErrorCode::RunTimeout { Phase::TimedOut } else { Phase::Failed };
        (Self { phase, ..self }, Conclusion::End(Some(error)))
    }

    const fn refusal(&self) -> TransitionError {
        if self.phase.is_terminal() { TransitionError::Ended } else { TransitionError::OutOfOrder }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Step {
        Admit,
        Launched { stale: bool },
        Stop(StopCause),
        Conclude { stale: bool, verdict: Result<Outcome, ErrorCode> },
    }

    fn step() -> impl Strategy<Value = Step> {
        let cause = prop::sample::select(StopCause::ALL.to_vec());
        let code = prop::sample::select(vec![
            ErrorCode::ExitCode,
            ErrorCode::EngineLost,
            ErrorCode::RunTimeout,
            ErrorCode::CommandNotFound,
        ]);
        let verdict =
            prop_oneof![Just(Ok(Outcome::Done)), Just(Ok(Outcome::Continue)), code.prop_map(Err::<Outcome, ErrorCode>)];
        prop_oneof![
            3 => Just(Step::Admit),
            3 => any::<bool>().prop_map(|stale| Step::Launched { stale }),
            1 => cause.prop_map(Step::Stop),
            3 => (prop::bool::weighted(0.1), verdict).prop_map(|(stale, verdict)| Step::Conclude { stale, verdict }),
        ]
    }

    fn apply(life: Lifecycle, step: &Step, policy: &RetryPolicy) -> Result<Lifecycle, TransitionError> {
        let number = |stale: bool| if stale { life.attempt + 1 } else { life.attempt };
        match step {
            Step::Admit => life.admit(),
            Step::Launched { stale } => life.launched(number(*stale)),
            Step::Stop(cause) => life.request_stop(*cause),
            Step::Conclude { stale, verdict } => {
                let verdict = verdict.map_err(|code| RunError::new(code, "text"));
                let result = AttemptResult { exit_code: None, verdict };
                let (next, conclusion) = life.conclude(number(*stale), &result, policy, 4)?;
                match conclusion {
                    Conclusion::End(error) => {
                        assert!(next.phase.is_terminal());
                        assert_eq!(error.is_none(), next.phase == Phase::Succeeded);
                        assert!(error.is_none_or(|error| !error.message.is_empty()));
                    }
                    Conclusion::Again { .. } => assert_eq!(next.phase, Phase::Queued),
                }
                Ok(next)
            }
        }
    }

    proptest! {
        #[test]
        fn no_path_breaks_the_rules(steps in prop::collection::vec(step(), 0..80)) {
            let policy = RetryPolicy { max_attempts: 3, ..RetryPolicy::default() };
            let mut life = Lifecycle::default();
            for step in &steps {
                let before = life;
                match apply(before, step, &policy) {
                    Ok(next) => {
                        prop_assert!(!before.phase.is_terminal(), "a terminal state changed: {before:?} by {step:?}");
                        prop_assert!(next == before || next.order() > before.order(), "{before:?} by {step:?}");
                        prop_assert!(next.attempt >= before.attempt && next.attempt <= before.attempt + 1);
                        prop_assert!(next.slice >= before.slice && next.slice <= 4);
                        // A new attempt begins nowhere but at admission.
                        prop_assert_eq!(next.attempt > before.attempt, matches!(step, Step::Admit));
                        // Once a stop is asked for, nothing starts and nothing succeeds.
                        if before.stop.is_some() {
                            prop_assert_eq!(next.stop, before.stop);
                            prop_assert!(matches!(next.phase, Phase::Starting | Phase::Running | Phase::Cancelled | Phase::TimedOut));
                        }
                        prop_assert!(next.own_failures < policy.max_attempts);
                        prop_assert!(next.infrastructure_failures <= RetryPolicy::INFRASTRUCTURE_ATTEMPTS);
                        life = next;
                    }
                    Err(error) => {
                        if before.phase.is_terminal() {
                            prop_assert_eq!(error, TransitionError::Ended);
                        }
                    }
                }
            }
        }

        #[test]
        fn stored_names_read_back(phase in prop::sample::select(Phase::ALL.to_vec())) {
            prop_assert_eq!(Phase::parse(phase.as_str()), Some(phase));
            for stop in StopCause::ALL {
                prop_assert_eq!(StopCause::parse(stop.as_str()), Some(stop));
                let state = RunState::of(phase, Some(stop));
                prop_assert_eq!(state.is_finished(), phase.is_terminal());
                prop_assert_eq!(serde_json::to_value(state).unwrap(), state.as_str());
            }
        }
    }

    #[test]
    fn infrastructure_failures_do_not_use_up_attempts() {
        let lost = AttemptResult { exit_code: None, verdict: Err(RunError::new(ErrorCode::EngineLost, "lost")) };
        let failed = AttemptResult { exit_code: Some(1), verdict: Err(RunError::new(ErrorCode::ExitCode, "no")) };
        let policy = RetryPolicy::default();
        let mut life = Lifecycle::default();
        for _ in 0..RetryPolicy::INFRASTRUCTURE_ATTEMPTS {
            let running = life.admit().unwrap();
            let (next, conclusion) = running.conclude(running.attempt, &lost, &policy, 1).unwrap();
            assert!(matches!(conclusion, Conclusion::Again { .. }));
            life = next;
        }
        let running = life.admit().unwrap();
        assert_eq!(running.conclude(running.attempt, &lost, &policy, 1).unwrap().0.phase, Phase::Failed);
        assert_eq!(running.conclude(running.attempt, &failed, &policy, 1).unwrap().0.phase, Phase::Failed);
    }
}
