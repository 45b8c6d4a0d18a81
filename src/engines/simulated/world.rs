//! The records of a simulated engine.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
    sync::Arc,
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

use super::script::Script;
use crate::{
    domain::{AttemptId, Clock, InstallationId, SystemClock, Timestamp, WorkloadName},
    engines::{
        EngineError, EngineErrorKind, Exit, Found, Handle, LaunchFailure, LaunchSpec, Observation, Persistence,
        WorkloadPhase,
    },
};

/// One workload. It runs from `started` until `ends`.
#[derive(Debug)]
pub(super) struct Workload {
    pub(super) owner: InstallationId,
    pub(super) attempt: AttemptId,
    pub(super) script: Script,
    pub(super) started: Instant,
    /// `None`: never, by itself; or not before the gate is opened.
    pub(super) ends: Option<Instant>,
    exit: Exit,
    /// Whether the next who reads the output is to be told that some of it is gone.
    pub(super) gap: bool,
    /// Told when `ends` has been moved, or nobody reaches the engine any more.
    pub(super) moved: Arc<Notify>,
}

impl Workload {
    pub(super) fn has_ended(&self, now: Instant) -> bool {
        self.ends.is_some_and(|end| end <= now)
    }

    /// The test lets it go on.
    fn open(&mut self, now: Instant) {
        let untouched = self.script.gate.is_some() && self.ends.is_none();
        self.script.open(now - self.started);
        if untouched {
            self.ends = self.script.ends_after.map(|after| self.started + after);
        }
    }

    /// TERM now, KILL after `grace`.
    pub(super) fn terminate(&mut self, now: Instant, grace: Duration) {
        let (after, code) = self.script.on_term.map_or((grace, 137), |code| (Duration::ZERO, code));
        let end = now + after;
        if self.ends.is_none_or(|own| own > end) {
            self.ends = Some(end);
            self.exit = Exit { code: Some(code), ..Exit::default() };
        }
    }

    /// The engine itself goes down and takes it along.
    pub(super) fn interrupt(&mut self, now: Instant) {
        self.ends = Some(now);
        let failure = Some(LaunchFailure::Interrupted("the simulated engine was restarted".to_owned()));
        self.exit = Exit { code: Some(137), failure, ..Exit::default() };
    }
}

/// Everything that a simulated engine knows.
#[derive(Debug)]
pub(super) struct World {
    began: (Instant, Timestamp),
    /// Boxed, for a map that grows has twice its room.
    workloads: HashMap<String, Box<Workload>>,
    starts: HashMap<AttemptId, u32>,
    /// Whether nobody waits at a gate any more.
    open: bool,
    /// The ends to come, soonest first. Entries whose workload has gone or ends at another time mean nothing.
    pub(super) ends: BinaryHeap<Reverse<(Instant, AttemptId)>>,
}

impl Default for World {
    fn default() -> Self {
        Self {
            began: (Instant::now(), SystemClock.now()),
            workloads: HashMap::new(),
            starts: HashMap::new(),
            open: false,
            ends: BinaryHeap::new(),
        }
    }
}

impl World {
    pub(super) fn count(&self) -> usize {
        self.workloads.len()
    }

    /// The workload of this launch, if it is there.
    pub(super) fn adopt(&self, spec: &LaunchSpec) -> Result<Option<Handle>, EngineError> {
        let name = spec.name().to_string();
        match self.workloads.get(&name) {
            None => Ok(None),
            Some(workload) if workload.owner == spec.owner => Ok(Some(Handle { attempt: spec.attempt, id: name })),
            Some(_) => Err(EngineError::new(
                EngineErrorKind::Conflict,
                Persistence::Permanent,
                "adopt the workload",
                format!("`{name}` belongs to another installation"),
            )),
        }
    }

    /// Starts a workload, unless it is there already.
    pub(super) fn launch(&mut self, spec: &LaunchSpec, mut script: Script) -> Result<Handle, EngineError> {
        if let Some(handle) = self.adopt(spec)? {
            return Ok(handle);
        }
        let id = spec.name().to_string();
        let started = Instant::now();
        if self.open {
            script.gate = None;
        }
        let ends = script.ends_after.filter(|_| script.gate.is_none()).map(|after| started + after);
        self.ends.extend(ends.map(|end| Reverse((end, spec.attempt))));
        *self.starts.entry(spec.attempt).or_default() += 1;
        let (owner, attempt, exit) = (spec.owner, spec.attempt, script.exit.clone());
        let workload = Workload { owner, attempt, script, started, ends, exit, gap: false, moved: Arc::default() };
        self.workloads.insert(id.clone(), Box::new(workload));
        Ok(Handle { attempt, id })
    }

    pub(super) fn observe(&self, handle: &Handle) -> Observation {
        let Some(workload) = self.workloads.get(&handle.id) else {
            return Observation { execution: None, phase: WorkloadPhase::Absent };
        };
        let started = self.time(workload.started);
        let phase = match workload.ends.filter(|end| *end <= Instant::now()) {
            None => WorkloadPhase::Running(started),
            Some(end) => WorkloadPhase::Exited(Exit {
                started_at: Some(started),
                finished_at: Some(self.time(end)),
                ..workload.exit.clone()
            }),
        };
        Observation { execution: Some(format!("{}@{started}", handle.id)), phase }
    }

    pub(super) fn list(&self, owner: InstallationId) -> Vec<Found> {
        let now = Instant::now();
        let ours = self.workloads.iter().filter(|(_, workload)| workload.owner == owner);
        ours.map(|(id, workload)| Found {
            handle: Handle { attempt: workload.attempt, id: id.clone() },
            created_at: self.time(workload.started),
            running: !workload.has_ended(now),
        })
        .collect()
    }

    pub(super) fn get(&self, id: &str) -> Option<&Workload> {
        self.workloads.get(id).map(Box::as_ref)
    }

    /// Opens all gates, for good.
    pub(super) fn open(&mut self) {
        self.open = true;
        let waiting = self.workloads.iter().filter(|(_, workload)| workload.script.gate.is_some());
        for id in waiting.map(|(id, _)| id.clone()).collect::<Vec<_>>() {
            self.end(&id, Workload::open);
        }
    }

    /// Whether some of this output is gone, or that has been told.
    pub(super) fn set_gap(&mut self, id: &str, gap: bool) {
        if let Some(workload) = self.workloads.get_mut(id) {
            workload.gap = gap;
            workload.moved.notify_waiters();
        }
    }

    /// Wakes all who follow an output.
    pub(super) fn wake_all(&self) {
        self.workloads.values().for_each(|workload| workload.moved.notify_waiters());
    }

    /// Moves a workload's end.
    pub(super) fn end(&mut self, id: &str, how: impl FnOnce(&mut Workload, Instant)) {
        let now = Instant::now();
        let Some(workload) = self.workloads.get_mut(id).filter(|workload| !workload.has_ended(now)) else { return };
        how(workload, now);
        workload.moved.notify_waiters();
        self.ends.extend(workload.ends.map(|end| Reverse((end, workload.attempt))));
    }

    pub(super) fn remove(&mut self, id: &str) -> Option<AttemptId> {
        let workload = self.workloads.remove(id)?;
        workload.moved.notify_waiters();
        Some(workload.attempt)
    }

    pub(super) fn ids(&self) -> Vec<String> {
        self.workloads.keys().cloned().collect()
    }

    pub(super) fn starts(&self, name: &str) -> u32 {
        let starts = WorkloadName::attempt(name).and_then(|attempt| self.starts.get(&attempt));
        starts.copied().unwrap_or_default()
    }

    pub(super) const fn all_starts(&self) -> &HashMap<AttemptId, u32> {
        &self.starts
    }

    /// The engine's clock.
    pub(super) fn time(&self, at: Instant) -> Timestamp {
        let (instant, timestamp) = self.began;
        timestamp.plus(at.saturating_duration_since(instant))
    }
}
