//! What is asked of an agent, and what the token's policy must allow for it: a refusal does not say.

use super::rights::Capability;

/// One kind of question or wish.
#[derive(Debug, Clone, Copy)]
pub(super) struct Operation {
    /// For people.
    pub(super) name: &'static str,
    /// What a policy must allow.
    pub(super) needs: Capability,
}

pub(super) const ASK_AGENT: Operation =
    Operation { name: "ask the agent for its version", needs: Capability::ReadAgent };
pub(super) const LOOK_FOR_NAMESPACE: Operation =
    Operation { name: "look for the namespace", needs: Capability::ListJobs };
pub(super) const LIST_JOBS: Operation = Operation { name: "list the jobs", needs: Capability::ListJobs };
pub(super) const LIST_ALLOCATIONS: Operation = Operation { name: "list allocations", needs: Capability::ReadJob };
pub(super) const READ_JOB: Operation = Operation { name: "read the job", needs: Capability::ReadJob };
pub(super) const WATCH: Operation = Operation { name: "watch the events", needs: Capability::ReadJob };
pub(super) const REGISTER: Operation = Operation { name: "register the job", needs: Capability::SubmitJob };
pub(super) const STOP: Operation = Operation { name: "stop the job", needs: Capability::SubmitJob };
pub(super) const PURGE: Operation = Operation { name: "purge the job", needs: Capability::SubmitJob };
pub(super) const READ_OUTPUT: Operation = Operation { name: "read the task's output", needs: Capability::ReadLogs };
pub(super) const KEEP_SECRETS: Operation = Operation { name: "store the secrets", needs: Capability::WriteVariables };
pub(super) const FORGET_SECRETS: Operation =
    Operation { name: "remove the secrets", needs: Capability::DestroyVariables };
