//! What of Nomad's answers matters. Everything may be missing or of a later version: it is read leniently.

use std::collections::HashMap;

use serde::Deserialize;

use crate::domain::Timestamp;

/// A job, as it is kept.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Job {
    #[serde(default)]
    pub(super) stop: bool,
    #[serde(default)]
    pub(super) version: u64,
    pub(super) meta: Option<HashMap<String, String>>,
}

/// A job, as a list shows it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct JobStub {
    #[serde(rename = "ID")]
    pub(super) id: String,
    #[serde(default)]
    pub(super) submit_time: i64,
    pub(super) job_summary: Option<JobSummary>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct JobSummary {
    pub(super) summary: Option<HashMap<String, GroupSummary>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct GroupSummary {
    #[serde(default)]
    pub(super) running: u32,
}

/// One placement of a job on a node.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Allocation {
    #[serde(rename = "ID")]
    pub(super) id: String,
    #[serde(default)]
    pub(super) client_status: String,
    #[serde(default)]
    pub(super) client_description: String,
    #[serde(default)]
    pub(super) desired_status: String,
    #[serde(default)]
    pub(super) desired_description: String,
    #[serde(default)]
    pub(super) node_name: String,
    #[serde(default)]
    pub(super) job_version: u64,
    #[serde(default)]
    pub(super) create_index: u64,
    pub(super) task_states: Option<HashMap<String, TaskState>>,
}

/// How an allocation's task stands.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct TaskState {
    #[serde(default)]
    pub(super) state: String,
    pub(super) started_at: Option<String>,
    pub(super) finished_at: Option<String>,
    pub(super) events: Option<Vec<Event>>,
}

/// Something that befell a task. The last ten are kept.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Event {
    #[serde(default)]
    pub(super) r#type: String,
    #[serde(default)]
    pub(super) display_message: String,
    #[serde(default)]
    pub(super) driver_error: String,
    pub(super) details: Option<HashMap<String, String>>,
    #[serde(default)]
    pub(super) exit_code: i32,
    #[serde(default)]
    pub(super) signal: i32,
}

/// An attempt of the servers to place a job.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Evaluation {
    #[serde(rename = "FailedTGAllocs")]
    pub(super) failed: Option<HashMap<String, PlacementFailure>>,
}

/// Why no node was found.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct PlacementFailure {
    #[serde(default)]
    pub(super) nodes_evaluated: u32,
    pub(super) dimension_exhausted: Option<HashMap<String, u32>>,
    pub(super) constraint_filtered: Option<HashMap<String, u32>>,
}

/// A message of the event stream; empty ones are its heartbeat.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct EventBatch {
    pub(super) events: Option<Vec<StreamEvent>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct StreamEvent {
    #[serde(default)]
    pub(super) key: String,
    pub(super) filter_keys: Option<Vec<String>>,
}

/// An agent, as it tells of itself.
#[derive(Debug, Deserialize)]
pub(super) struct AgentSelf {
    pub(super) member: Option<Member>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Member {
    pub(super) tags: Option<HashMap<String, String>>,
}

/// A point in time; `None` for Go's zero, which means never.
pub(super) fn moment(text: Option<&String>) -> Option<Timestamp> {
    text.and_then(|text| Timestamp::parse(text).ok()).filter(|moment| moment.as_micros() > 0)
}

impl std::fmt::Display for PlacementFailure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "no node has room ({} looked at", self.nodes_evaluated)?;
        let reasons = [("short of", &self.dimension_exhausted), ("ruled out by", &self.constraint_filtered)];
        for (verb, reasons) in reasons {
            let mut reasons: Vec<_> = reasons.iter().flatten().collect();
            reasons.sort();
            for (reason, nodes) in reasons {
                write!(f, "; {nodes} {verb} {reason}")?;
            }
        }
        f.write_str(")")
    }
}
