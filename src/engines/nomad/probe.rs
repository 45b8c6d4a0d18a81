//! Whether the cluster can be used: it answers, and the token may do what running jobs takes. Each right is asked for by
//! a request that needs it and cannot succeed, so that nothing is made; what is allowed is remembered until an agent
//! refuses it.

use reqwest::{Method, StatusCode};
use serde::de::IgnoredAny;
use serde_json::{Value, json};

use super::{
    NomadEngine,
    client::{QUICK, Refusal},
    operation::{
        FORGET_SECRETS, KEEP_SECRETS, LIST_ALLOCATIONS, LIST_JOBS, LOOK_FOR_NAMESPACE, Operation, READ_JOB,
        READ_OUTPUT, REGISTER,
    },
    rights::{
        Capability::{self, DestroyVariables, ListJobs, ReadAgent, ReadJob, ReadLogs, SubmitJob, WriteVariables},
        policy,
    },
    types::Allocation,
};
use crate::engines::{EngineError, EngineErrorKind as Kind, Persistence};

/// A name below the paths of the policy, and of no attempt.
const NOBODY: &str = "r-haulier-probe";

impl NomadEngine {
    /// Asks for what is needed by whatever else is done, and finds out which rights the token lacks.
    ///
    /// # Errors
    /// Nothing can be done there, whatever the token may do.
    pub(super) async fn check(&self) -> Result<(), EngineError> {
        let rights = &self.client.rights;
        for capability in self.needed() {
            // Jobs are listed each time: a cluster has to answer something.
            if *capability == ListJobs || !rights.has(*capability) {
                rights.learn(*capability, self.ask_for(*capability).await?);
            }
        }
        if let Some(name) = &self.config.namespace
            && rights.missing(self.needed()).is_empty()
            && self.client.get::<IgnoredAny>(LOOK_FOR_NAMESPACE, &format!("/v1/namespace/{name}")).await?.is_none()
        {
            let text = format!("there is no namespace `{name}`: make it with `nomad namespace apply {name}`");
            return Err(useless(LOOK_FOR_NAMESPACE, &text));
        }
        Ok(())
    }

    /// Why nothing should be launched, as far as is known, and what to do.
    pub(super) fn forbidden(&self) -> Option<String> {
        let mut missing = self.client.rights.missing(self.needed());
        if [ListJobs, ReadJob, SubmitJob].iter().all(|capability| missing.contains(capability)) {
            let why = match self.client.has_token() {
                true => "the agent does not know the token, or it may do nothing here: check it, and its policy",
                false => "without a token nothing is allowed here: set token_file to one with this policy",
            };
            return Some(format!("{why}: {}", policy(self.client.namespace(), self.needed())));
        }
        missing.retain(|capability| *capability != DestroyVariables);
        (!missing.is_empty()).then(|| self.told(&missing))
    }

    /// What can be done without, though not for ever, and what to do.
    pub(super) fn wanting(&self) -> Option<String> {
        let missing = self.client.rights.missing(&[DestroyVariables]);
        let stays = "until then runs with secrets leave their jobs and their secrets in Nomad";
        (!missing.is_empty() && self.config.variables).then(|| format!("{}; {stays}", self.told(&missing)))
    }

    fn told(&self, missing: &[Capability]) -> String {
        let list: Vec<_> = missing.iter().map(ToString::to_string).collect();
        let policy = policy(self.client.namespace(), missing);
        format!("the token is not allowed {}: add to its policy {policy}", list.join(", "))
    }

    const fn needed(&self) -> &'static [Capability] {
        match self.config.variables {
            true => &[ListJobs, ReadJob, SubmitJob, ReadLogs, WriteVariables, DestroyVariables],
            false => &[ListJobs, ReadJob, SubmitJob, ReadLogs],
        }
    }

    /// Whether the token is allowed this; `None` when it cannot be told now.
    async fn ask_for(&self, capability: Capability) -> Result<Option<bool>, EngineError> {
        let client = &self.client;
        let answer = match capability {
            ListJobs => {
                let jobs = client.get::<IgnoredAny>(LIST_JOBS, "/v1/jobs?prefix=r-&per_page=1").await;
                if let Ok(None) = jobs {
                    return Err(useless(LIST_JOBS, "what answers is no Nomad agent: check the address"));
                }
                return granted(jobs.map(drop));
            }
            ReadJob => return granted(client.get::<IgnoredAny>(READ_JOB, "/v1/job/r-/summary").await.map(drop)),
            SubmitJob => client.call(REGISTER, Method::POST, "/v1/jobs", Some(&self.registration())).await,
            ReadLogs => match self.any_allocation().await? {
                None => return Ok(None),
                Some(allocation) => {
                    let path = format!("/v1/client/fs/logs/{allocation}");
                    let query = [("task", NOBODY), ("type", "stdout"), ("plain", "true")];
                    let request = client.request(Method::GET, &path).timeout(QUICK).query(&query);
                    client.send(READ_OUTPUT, request).await.map(drop)
                }
            },
            WriteVariables => {
                // Longer than a path may be, which is looked at after the token.
                let path = format!("/v1/var/nomad/jobs/{NOBODY}{}", "-".repeat(128));
                let body = json!({"Items": {"none": "none"}});
                client.call(KEEP_SECRETS, Method::PUT, &path, Some(&body)).await
            }
            DestroyVariables => {
                let path = format!("/v1/var/nomad/jobs/{NOBODY}");
                client.call(FORGET_SECRETS, Method::DELETE, &path, None).await
            }
            ReadAgent => return Ok(None),
        };
        match answer {
            Ok(()) => Ok(Some(true)),
            Err(refusal) => told_by(capability, refusal),
        }
    }

    /// A job that would be like any other, if it were there already.
    fn registration(&self) -> Value {
        let task = json!({"Name": "main", "Driver": "docker", "Config": {"image": "none"}});
        let mut job = json!({"ID": NOBODY, "Name": NOBODY, "Type": "batch", "Datacenters": self.config.datacenters,
            "TaskGroups": [{"Name": "run", "Tasks": [task]}]});
        for (key, value) in [("Namespace", &self.config.namespace), ("Region", &self.config.region)] {
            if let Some(value) = value {
                job[key] = json!(value);
            }
        }
        json!({"Job": job, "EnforceIndex": true, "JobModifyIndex": u64::MAX})
    }

    /// Anybody's in the namespace: whether output may be read is only told of an allocation that there is.
    async fn any_allocation(&self) -> Result<Option<String>, EngineError> {
        let found = self.client.get::<Vec<Allocation>>(LIST_ALLOCATIONS, "/v1/allocations?per_page=1").await;
        match found {
            Ok(found) => Ok(found.unwrap_or_default().pop().map(|allocation| allocation.id)),
            Err(error) if error.kind == Kind::Unauthorized => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn granted(answer: Result<(), EngineError>) -> Result<Option<bool>, EngineError> {
    match answer {
        Ok(()) => Ok(Some(true)),
        Err(error) if error.kind == Kind::Unauthorized => Ok(Some(false)),
        Err(error) => Err(error),
    }
}

/// What the refusal of a request that cannot succeed says of the right to it.
fn told_by(capability: Capability, refusal: Refusal) -> Result<Option<bool>, EngineError> {
    if refusal.is_of_the_token() {
        return Ok(Some(false));
    }
    let says = |needle: &str| refusal.words.contains(needle);
    let is_missing = refusal.status == Some(StatusCode::NOT_FOUND);
    let is_behind_the_token = match capability {
        SubmitJob => says("Enforcing job modify index"),
        ReadLogs => says("unknown task name") || says("No path to node"),
        WriteVariables if is_missing => {
            let text = "this Nomad has no Variables, which come with 1.4: set `variables = false`, and secret files \
                        cannot be used, and secrets in the environment are seen by whoever may read jobs";
            return Err(useless(KEEP_SECRETS, text));
        }
        WriteVariables => says("invalid path"),
        DestroyVariables => is_missing,
        ListJobs | ReadJob | ReadAgent => false,
    };
    match (capability, refusal.error.kind) {
        _ if is_behind_the_token => Ok(Some(true)),
        // One node says nothing of the cluster.
        (ReadLogs, _) => Ok(None),
        (_, Kind::Unreachable | Kind::NoCapacity) => Err(refusal.error),
        // What it is will be told when it is done in earnest.
        _ => Ok(None),
    }
}

fn useless(operation: Operation, text: &str) -> EngineError {
    EngineError::new(Kind::Rejected, Persistence::Permanent, operation.name, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(capability: Capability, status: u16, words: &str, kind: Kind) -> Result<Option<bool>, Kind> {
        let error = EngineError::new(kind, Persistence::Temporary, "ask", words);
        let refusal = Refusal { status: StatusCode::from_u16(status).ok(), words: words.to_owned(), error };
        told_by(capability, refusal).map_err(|error| error.kind)
    }

    #[test]
    fn refusals_tell_whether_the_token_was_the_reason() {
        let index = "Enforcing job modify index 18446744073709551615: job does not exist";
        for (capability, status, words, kind, expected) in [
            (SubmitJob, 500, index, Kind::Internal, Ok(Some(true))),
            (SubmitJob, 403, "Permission denied", Kind::Unauthorized, Ok(Some(false))),
            (SubmitJob, 500, "1 error occurred", Kind::Rejected, Ok(None)),
            (SubmitJob, 403, "Job registration is disabled", Kind::NoCapacity, Err(Kind::NoCapacity)),
            (SubmitJob, 500, "No cluster leader", Kind::Unreachable, Err(Kind::Unreachable)),
            (ReadLogs, 400, "unknown task name \"r-haulier-probe\"", Kind::Rejected, Ok(Some(true))),
            (ReadLogs, 404, "No path to node", Kind::Internal, Ok(Some(true))),
            (ReadLogs, 404, "Unknown allocation \"a\"", Kind::Internal, Ok(None)),
            (ReadLogs, 500, "Unknown node", Kind::Unreachable, Ok(None)),
            (ReadLogs, 500, "Permission denied", Kind::Unauthorized, Ok(Some(false))),
            (WriteVariables, 400, "RPC Error:: 400,invalid path \"nomad\"", Kind::Rejected, Ok(Some(true))),
            (WriteVariables, 404, "", Kind::Internal, Err(Kind::Rejected)),
            (DestroyVariables, 404, "", Kind::Internal, Ok(Some(true))),
        ] {
            assert_eq!(told(capability, status, words, kind), expected, "{capability:?} {status} {words}");
        }
    }
}
