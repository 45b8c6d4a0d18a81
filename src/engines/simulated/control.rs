//! How a test moves a simulated engine.

use std::{
    cmp::Reverse,
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, Once, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
};

use tokio::{
    sync::{Notify, broadcast, watch},
    time::{Instant, sleep_until},
};

use super::{
    script::Script,
    world::{Workload, World},
};
use crate::{
    domain::AttemptId,
    engines::{Change, EngineError, EngineErrorKind, Handle, LaunchSpec, Persistence},
};

/// A handle on a simulated world, for making it misbehave and for asking what happened. Clones share the world.
#[derive(Debug, Clone, Default)]
pub struct SimulatedControl(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    world: Mutex<World>,
    reachable: watch::Sender<bool>,
    forgotten: AtomicU32,
    refused: AtomicU32,
    changes: broadcast::Sender<Change>,
    /// Told when an end has come nearer.
    sooner: Arc<Notify>,
    teller: Once,
}

impl Default for Shared {
    fn default() -> Self {
        Self {
            world: Mutex::default(),
            reachable: watch::Sender::new(true),
            forgotten: AtomicU32::default(),
            refused: AtomicU32::default(),
            changes: broadcast::Sender::new(4096),
            sooner: Arc::default(),
            teller: Once::new(),
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.sooner.notify_one();
    }
}

impl SimulatedControl {
    /// Makes every call fail as unreachable, and breaks the streams; or lets calls through again.
    pub fn set_reachable(&self, reachable: bool) {
        self.0.reachable.send_replace(reachable);
        // Who follows an output finds out.
        self.world().wake_all();
    }

    /// The next `count` launches happen, but their answer is lost on the way.
    pub fn forget_answers(&self, count: u32) {
        self.0.forgotten.store(count, Ordering::SeqCst);
    }

    /// The next `count` launches do not happen, for want of room.
    pub fn refuse_launches(&self, count: u32) {
        self.0.refused.store(count, Ordering::SeqCst);
    }

    /// The engine loses all record of the workload of this name. Whether there was one.
    pub fn lose(&self, name: &str) -> bool {
        let lost = self.world().remove(name);
        if let Some(attempt) = lost {
            let _ = self.0.changes.send(Change::Workload(attempt));
        }
        lost.is_some()
    }

    /// The engine is restarted, which ends all that runs.
    pub fn interrupt(&self) {
        let running = self.world().ids();
        for id in running {
            self.end(&id, Workload::interrupt);
        }
    }

    /// The engine loses some of what the workload of this name has written: whoever reads next is told.
    pub fn lose_output(&self, name: &str) {
        self.world().set_gap(name, true);
    }

    /// Lets go on whatever waits at a gate, now and from now on.
    pub fn open_gates(&self) {
        self.world().open();
        self.tell_ends();
    }

    /// How often the workload of this name was started.
    #[must_use]
    pub fn starts(&self, name: &str) -> u32 {
        self.world().starts(name)
    }

    /// How many workloads there are, running or not.
    #[must_use]
    pub fn count(&self) -> usize {
        self.world().count()
    }

    /// How often the workload of each attempt was started.
    #[must_use]
    pub fn all_starts(&self) -> HashMap<AttemptId, u32> {
        self.world().all_starts().clone()
    }

    pub(super) fn world(&self) -> MutexGuard<'_, World> {
        self.0.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn reach(&self, operation: &'static str) -> Result<(), EngineError> {
        if *self.0.reachable.borrow() { Ok(()) } else { Err(unreachable(operation)) }
    }

    pub(super) fn reachable(&self) -> watch::Receiver<bool> {
        self.0.reachable.subscribe()
    }

    pub(super) fn refuse_if_told(&self) -> Result<(), EngineError> {
        if !take_one(&self.0.refused) {
            return Ok(());
        }
        let (kind, persistence) = (EngineErrorKind::NoCapacity, Persistence::Temporary);
        Err(EngineError::new(kind, persistence, "ensure the workload", "there is no room now"))
    }

    pub(super) fn forget_answer_if_told(&self) -> Result<(), EngineError> {
        if take_one(&self.0.forgotten) { Err(unreachable("ensure the workload")) } else { Ok(()) }
    }

    pub(super) fn launch(&self, spec: &LaunchSpec, script: Script) -> Result<Handle, EngineError> {
        let handle = self.world().launch(spec, script)?;
        self.tell_ends();
        let _ = self.0.changes.send(Change::Workload(spec.attempt));
        Ok(handle)
    }

    pub(super) fn end(&self, id: &str, how: impl FnOnce(&mut Workload, Instant)) {
        self.world().end(id, how);
        self.tell_ends();
    }

    pub(super) fn subscribe(&self) -> broadcast::Receiver<Change> {
        self.0.changes.subscribe()
    }

    /// Makes sure that one task tells of all ends, and that it knows of the soonest.
    fn tell_ends(&self) {
        self.0.teller.call_once(|| {
            let (shared, sooner) = (Arc::downgrade(&self.0), self.0.sooner.clone());
            tokio::spawn(async move {
                loop {
                    let Some(next) = shared.upgrade().map(|shared| shared.tell_due()) else { return };
                    match next {
                        Some(end) => tokio::select! { () = sleep_until(end) => {}, () = sooner.notified() => {} },
                        None => sooner.notified().await,
                    }
                }
            });
        });
        self.0.sooner.notify_one();
    }
}

impl Shared {
    /// Tells of the ends that have come; when the next one is due.
    fn tell_due(&self) -> Option<Instant> {
        let mut world = self.world.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        while let Some(Reverse((end, attempt))) = world.ends.peek().copied() {
            if end > now {
                return Some(end);
            }
            world.ends.pop();
            let _ = self.changes.send(Change::Workload(attempt));
        }
        None
    }
}

fn take_one(counter: &AtomicU32) -> bool {
    counter.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |count| count.checked_sub(1)).is_ok()
}

pub(super) fn unreachable(operation: &'static str) -> EngineError {
    let text = "the simulated engine does not answer";
    EngineError::new(EngineErrorKind::Unreachable, Persistence::Unreachable, operation, text)
}
