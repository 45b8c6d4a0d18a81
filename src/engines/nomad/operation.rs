//! What is asked of an agent, and what the token's policy must allow for it: a refusal does not say.

/// One kind of question or wish.
#[derive(Debug, Clone, Copy)]
pub(super) struct Operation {
    /// For people.
    pub(super) name: &'static str,
    /// In the words of a policy.
    pub(super) needs: &'static str,
}

pub(super) const ASK_AGENT: Operation = Operation { name: "ask the agent for its version", needs: "`agent` read" };
pub(super) const LOOK_FOR_NAMESPACE: Operation = Operation { name: "look for the namespace", needs: "`list-jobs`" };
pub(super) const LIST_JOBS: Operation = Operation { name: "list the jobs", needs: "`list-jobs`" };
pub(super) const READ_JOB: Operation = Operation { name: "read the job", needs: "`read-job`" };
pub(super) const WATCH: Operation = Operation { name: "watch the events", needs: "`read-job`" };
pub(super) const REGISTER: Operation = Operation { name: "register the job", needs: "`submit-job`" };
pub(super) const STOP: Operation = Operation { name: "stop the job", needs: "`submit-job`" };
pub(super) const PURGE: Operation = Operation { name: "purge the job", needs: "`submit-job`" };
pub(super) const READ_OUTPUT: Operation = Operation { name: "read the task's output", needs: "`read-logs`" };
pub(super) const KEEP_SECRETS: Operation =
    Operation { name: "store the secret files", needs: "`write` on the variables `nomad/jobs/r-*`" };
pub(super) const FORGET_SECRETS: Operation =
    Operation { name: "remove the secret files", needs: "`destroy` on the variables `nomad/jobs/r-*`" };
