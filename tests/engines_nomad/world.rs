//! What the servers of a small Nomad 1.0 cluster remember, as recordings of a real one show it. Variables, which came
//! later, are as Nomad 2.0 was seen to have them.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard},
};

use haulier::domain::{Clock, RunId, SystemClock};
use serde_json::{Map, Value, json};
use tokio::sync::watch;
use uuid::Uuid;

/// The one node's memory and processors.
const MEMORY_MB: u64 = 100_000;
const CPU_MHZ: u64 = 100_000;
const NODE: &str = "796f1489-a21b-3c33-548e-f564e5854ef7";

/// An allocation, and what only its node knows.
pub struct Allocation {
    pub value: Value,
    /// stdout and stderr.
    pub output: [Vec<u8>; 2],
    pub stop: watch::Sender<bool>,
}

#[derive(Default)]
pub struct State {
    index: u64,
    pub jobs: BTreeMap<String, Value>,
    pub evaluations: Vec<Value>,
    pub allocations: BTreeMap<String, Allocation>,
    pub variables: HashMap<String, Value>,
}

/// The servers' memory, and a bell that rings with each change.
pub struct World {
    state: Mutex<State>,
    pub changed: watch::Sender<u64>,
    /// What has changed: the index, the topic, the key, the job.
    pub events: tokio::sync::broadcast::Sender<Value>,
}

impl Default for World {
    fn default() -> Self {
        Self { state: Mutex::default(), changed: watch::channel(1).0, events: tokio::sync::broadcast::channel(1000).0 }
    }
}

pub fn now() -> i64 {
    SystemClock.now().as_micros() * 1000
}

pub fn timestamp() -> String {
    SystemClock.now().to_string()
}

/// A new id.
pub fn fresh() -> Uuid {
    RunId::generate().0
}

impl World {
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// The next index; who waits for a change is woken.
    pub fn tick(&self, state: &mut State, topic: &str, key: &str, job: &str) -> u64 {
        state.index += 1;
        self.changed.send_replace(state.index);
        let event = json!({"Topic": topic, "Type": format!("{topic}Updated"), "Key": key, "Namespace": "default",
            "FilterKeys": [job, ""], "Index": state.index, "Payload": {}});
        let _ = self.events.send(json!({"Index": state.index, "Events": [event]}));
        state.index
    }

    /// Takes a job on, if that is allowed; the id of the evaluation and of the allocation that this makes.
    pub fn register(&self, request: &Value, allowed: bool) -> Result<(Value, Option<String>), (u16, String)> {
        let job = request.get("Job").filter(|job| job.is_object()).ok_or((400, "Job must be specified".to_owned()))?;
        validate(job).map_err(|text| (500, text))?;
        if !allowed {
            return Err((403, "Permission denied".to_owned()));
        }
        let id = job["ID"].as_str().unwrap_or_default().to_owned();
        let mut state = self.state();
        let known = state.jobs.get(&id).cloned();
        if request["EnforceIndex"] == json!(true) {
            let (wanted, index) =
                (request["JobModifyIndex"].as_u64().unwrap_or(0), known.as_ref().map(|job| &job["JobModifyIndex"]));
            match index.and_then(Value::as_u64) {
                Some(_) if wanted == 0 => {
                    return Err((500, "Enforcing job modify index 0: job already exists".to_owned()));
                }
                Some(index) if wanted != index => {
                    return Err((
                        500,
                        format!(
                            "Enforcing job modify index {wanted}: job exists with conflicting job modify index: {index}"
                        ),
                    ));
                }
                None if wanted != 0 => {
                    return Err((500, format!("Enforcing job modify index {wanted}: job does not exist")));
                }
                _ => {}
            }
        }
        let index = self.tick(&mut state, "Job", &id, &id);
        let mut job = job.clone();
        let version = known.as_ref().map_or(0, |job| job["Version"].as_u64().unwrap_or(0) + 1);
        let created = known.as_ref().map_or(json!(index), |job| job["CreateIndex"].clone());
        for (key, value) in [
            ("Stop", json!(false)),
            ("Version", json!(version)),
            ("CreateIndex", created),
            ("ModifyIndex", json!(index)),
            ("JobModifyIndex", json!(index)),
            ("SubmitTime", json!(now())),
            ("Status", json!("pending")),
            ("Region", json!("global")),
            ("Namespace", json!("default")),
            ("ParentID", json!("")),
        ] {
            job[key] = value;
        }
        state.jobs.insert(id.clone(), job.clone());
        let evaluation = fresh().to_string();
        let allocation = self.place(&mut state, &job, &evaluation);
        let answer = json!({"EvalID": evaluation, "EvalCreateIndex": index, "JobModifyIndex": index, "Warnings": "",
            "Index": index, "LastContact": 0, "KnownLeader": false});
        Ok((answer, allocation))
    }

    /// Looks for a node: there is one.
    fn place(&self, state: &mut State, job: &Value, evaluation: &str) -> Option<String> {
        let id = job["ID"].as_str().unwrap_or_default();
        let resources = &job["TaskGroups"][0]["Tasks"][0]["Resources"];
        let short = if resources["MemoryMB"].as_u64().unwrap_or(0) > MEMORY_MB {
            Some("memory")
        } else if resources["CPU"].as_u64().unwrap_or(0) > CPU_MHZ {
            Some("cpu")
        } else {
            None
        };
        let index = self.tick(state, "Evaluation", evaluation, id);
        let mut made = json!({"ID": evaluation, "Namespace": "default", "Priority": 50, "Type": "batch",
            "TriggeredBy": "job-register", "JobID": id, "JobModifyIndex": index, "Status": "complete",
            "QueuedAllocations": {"run": u8::from(short.is_some())}, "SnapshotIndex": index, "CreateIndex": index,
            "ModifyIndex": index, "CreateTime": now(), "ModifyTime": now()});
        if let Some(dimension) = short {
            let blocked = fresh().to_string();
            made["BlockedEval"] = json!(blocked);
            made["FailedTGAllocs"] = json!({"run": {"NodesEvaluated": 1, "NodesFiltered": 0,
                "NodesAvailable": {"dc1": 1}, "ClassFiltered": null, "ConstraintFiltered": null, "NodesExhausted": 1,
                "ClassExhausted": null, "DimensionExhausted": {dimension: 1}, "QuotaExhausted": null, "Scores": null,
                "ScoreMetaData": null, "AllocationTime": 1, "CoalescedFailures": 0}});
            let waiting = json!({"ID": blocked, "Namespace": "default", "Priority": 50, "Type": "batch",
                "TriggeredBy": "queued-allocs", "JobID": id, "JobModifyIndex": index, "Status": "blocked",
                "StatusDescription": "created to place remaining allocations", "PreviousEval": evaluation,
                "ClassEligibility": {}, "SnapshotIndex": index, "CreateIndex": index, "ModifyIndex": index,
                "CreateTime": now(), "ModifyTime": now()});
            state.evaluations.push(waiting);
            state.evaluations.push(made);
            return None;
        }
        state.evaluations.push(made);
        Some(self.allocate(state, job, evaluation))
    }

    /// A new allocation on the one node.
    pub fn allocate(&self, state: &mut State, job: &Value, evaluation: &str) -> String {
        let (id, name) = (fresh().to_string(), job["ID"].as_str().unwrap_or_default());
        let index = self.tick(state, "Allocation", &id, name);
        let value = json!({"ID": id, "EvalID": evaluation, "Name": format!("{name}.run[0]"), "Namespace": "default",
            "NodeID": NODE, "NodeName": "vm", "JobID": name, "JobType": "batch", "JobVersion": job["Version"],
            "TaskGroup": "run", "AllocatedResources": null, "DesiredStatus": "run", "DesiredDescription": "",
            "ClientStatus": "pending", "ClientDescription": "",
            "DesiredTransition": {"Migrate": null, "Reschedule": null, "ForceReschedule": null}, "TaskStates": null,
            "DeploymentStatus": null, "FollowupEvalID": "", "RescheduleTracker": null, "PreemptedAllocations": null,
            "PreemptedByAllocation": "", "CreateIndex": index, "ModifyIndex": index, "CreateTime": now(),
            "ModifyTime": now()});
        let output = [Vec::new(), Vec::new()];
        state.allocations.insert(id.clone(), Allocation { value, output, stop: watch::channel(false).0 });
        id
    }

    /// Deregisters a job, and with `purge` forgets it. Its allocations stay.
    pub fn deregister(&self, id: &str, purge: bool) -> Value {
        let mut state = self.state();
        let index = self.tick(&mut state, "Job", id, id);
        if purge {
            state.jobs.remove(id);
        } else if let Some(job) = state.jobs.get_mut(id) {
            (job["Stop"], job["ModifyIndex"], job["JobModifyIndex"]) = (json!(true), json!(index), json!(index));
        }
        for allocation in state.allocations.values_mut() {
            let over = matches!(allocation.value["ClientStatus"].as_str(), Some("complete" | "failed"));
            if allocation.value["JobID"] == id && !over {
                allocation.value["DesiredStatus"] = json!("stop");
                allocation.value["DesiredDescription"] = json!("alloc not needed due to job update");
                allocation.stop.send_replace(true);
            }
        }
        json!({"EvalID": fresh(), "EvalCreateIndex": index, "JobModifyIndex": index, "VolumeEvalID": "",
            "VolumeEvalIndex": 0, "Index": index, "LastContact": 0, "KnownLeader": false})
    }

    /// Stops one allocation, which the servers replace.
    pub fn replace(&self, id: &str) -> Option<(Value, String)> {
        let mut state = self.state();
        let old = state.allocations.get_mut(id)?;
        (old.value["DesiredStatus"], old.value["DesiredDescription"]) =
            (json!("stop"), json!("alloc is being migrated"));
        old.stop.send_replace(true);
        let name = old.value["JobID"].as_str().unwrap_or_default().to_owned();
        let job = state.jobs.get(&name)?.clone();
        let evaluation = fresh().to_string();
        let new = self.allocate(&mut state, &job, &evaluation);
        Some((json!({"EvalID": evaluation, "Index": 0}), new))
    }

    /// What a node tells of an allocation's task.
    pub fn update(&self, id: &str, change: impl FnOnce(&mut Value)) {
        let mut state = self.state();
        let Some(allocation) = state.allocations.get_mut(id) else { return };
        change(&mut allocation.value);
        let job = allocation.value["JobID"].as_str().unwrap_or_default().to_owned();
        let index = self.tick(&mut state, "Allocation", id, &job);
        if let Some(allocation) = state.allocations.get_mut(id) {
            (allocation.value["ModifyIndex"], allocation.value["ModifyTime"]) = (json!(index), json!(now()));
        }
    }
}

impl State {
    pub fn index(&self) -> u64 {
        self.index.max(1)
    }

    pub fn allocations_of(&self, job: &str) -> Vec<Value> {
        let since = self.jobs.get(job).and_then(|job| job["CreateIndex"].as_u64()).unwrap_or(0);
        let of = self.allocations.values().map(|allocation| &allocation.value);
        of.filter(|it| it["JobID"] == job && it["CreateIndex"].as_u64() >= Some(since)).cloned().collect()
    }

    pub fn summary(&self, job: &str) -> Value {
        let mut counts: Map<String, Value> = ["Queued", "Complete", "Failed", "Running", "Starting", "Lost"]
            .map(|key| (key.to_owned(), json!(0)))
            .into_iter()
            .collect();
        for allocation in self.allocations_of(job) {
            let key = match allocation["ClientStatus"].as_str() {
                Some("complete") => "Complete",
                Some("failed") => "Failed",
                Some("running") => "Running",
                _ => "Starting",
            };
            counts[key] = json!(counts[key].as_u64().unwrap_or(0) + 1);
        }
        json!({"JobID": job, "Namespace": "default", "Summary": {"run": counts},
            "Children": {"Pending": 0, "Running": 0, "Dead": 0}})
    }
}

fn validate(job: &Value) -> Result<(), String> {
    let mut errors = Vec::new();
    if job["ID"].as_str().is_some_and(|id| id.contains(' ')) {
        errors.push("Job ID contains a space");
    }
    if job["Datacenters"].as_array().is_none_or(Vec::is_empty) {
        errors.push("Missing job datacenters");
    }
    if job["TaskGroups"].as_array().is_none_or(Vec::is_empty) {
        errors.push("Missing job task groups");
    }
    if errors.is_empty() {
        return Ok(());
    }
    let plural = if errors.len() == 1 { "error" } else { "errors" };
    let list: String = errors.iter().map(|error| format!("\t* {error}\n")).collect();
    Err(format!("{} {plural} occurred:\n{list}\n", errors.len()))
}

pub type Shared = Arc<World>;
