//! What this machine lets this process do, and what is missing when it cannot run containers.

use std::{fs, io, path::Path};

use super::{
    cgroups::Enforced,
    delegation::Delegation,
    idmap::{IdMap, Ids},
    sealed,
    userns::{self, Made},
};
use crate::{
    domain::Resources,
    engines::{EngineError, EngineErrorKind, EngineHealth, Persistence, reexec::Helper},
};

const INSTEAD: &str = "or configure another engine";

/// What was found when the service started.
#[derive(Debug, Clone)]
pub(super) struct Machine {
    /// What does the work.
    pub(super) helper: Helper,
    pub(super) enforced: Enforced,
    pub(super) rootless: Option<Rootless>,
}

/// What a service has that is not root.
#[derive(Debug, Clone)]
pub(super) struct Rootless {
    pub(super) ids: Ids,
    pub(super) delegation: Delegation,
    fingerprint: String,
    /// Why there are no containers at all, and what to do.
    missing: Option<String>,
    /// Why there is but one id, and what to do.
    single: Option<String>,
}

impl Machine {
    /// `dir` is where containers will lie. Blocks.
    ///
    /// # Errors
    /// The directory or the program cannot be used.
    pub(super) fn look(dir: &Path, program: &Path) -> io::Result<Self> {
        Self::with(Delegation::NONE, dir, program)
    }

    /// The same, made ready to keep limits: a service that is not root moves within its control groups. Blocks.
    ///
    /// # Errors
    /// The same.
    pub(super) fn prepare(dir: &Path, program: &Path) -> io::Result<Self> {
        let root = rustix::process::geteuid().is_root();
        // First, so that no process is started before.
        Self::with(if root { Delegation::NONE } else { Delegation::take() }, dir, program)
    }

    fn with(delegation: Delegation, dir: &Path, program: &Path) -> io::Result<Self> {
        let helper = Helper::new(sealed::copy_of(program)?);
        if rustix::process::geteuid().is_root() {
            return Ok(Self { helper, enforced: Enforced::here(), rootless: None });
        }
        let (map, single) = IdMap::of_this_user();
        let trial = tempfile::Builder::new().prefix(".trial-").tempdir_in(dir)?;
        let Made { namespace, missing } = userns::make(&helper, &map, trial.path());
        let helper = match namespace {
            Some(namespace) => helper.within(namespace),
            None => helper,
        };
        helper.remove_tree(trial.path())?;
        let enforced = delegation.enforced;
        let rootless = Rootless { ids: map.ids(), delegation, fingerprint: map.fingerprint(), missing, single };
        Ok(Self { helper, enforced, rootless: Some(rootless) })
    }

    /// What the directory of images is called: a layer has its owners' ids, and is of no use under other ones.
    pub(super) fn images_name(&self) -> String {
        self.rootless
            .as_ref()
            .map_or_else(|| "images".to_owned(), |rootless| format!("images-{}", rootless.fingerprint))
    }

    pub(super) fn health(&self) -> EngineHealth {
        match self.missing() {
            None => EngineHealth { reachable: true, version: Some(self.version()), detail: self.lacks() },
            Some(detail) => EngineHealth { reachable: false, version: None, detail: Some(detail) },
        }
    }

    /// Whether a workload can be run as it is asked for: what cannot be kept is refused, not ignored.
    ///
    /// # Errors
    /// What is missing, and what to do.
    pub(super) fn check(&self, asked: Resources) -> Result<(), EngineError> {
        let unsupported = |text: String| {
            Err(EngineError::new(EngineErrorKind::Unsupported, Persistence::Permanent, "check the limits", text))
        };
        if let Some(missing) = self.missing() {
            return unsupported(missing);
        }
        let Resources { cpu, memory_mb, pids } = asked;
        for (asked, kept, what) in [
            (memory_mb.is_some(), self.enforced.memory, "memory"),
            (cpu.is_some(), self.enforced.cpu, "cpu"),
            (pids.is_some(), self.enforced.pids, "pids"),
        ] {
            if asked && !kept {
                return unsupported(match self.lacks_limits() {
                    Some(why) => format!("{what} cannot be limited: {why}; or take the limit off the job"),
                    None => format!(
                        "this machine cannot limit {what}: mount the cgroup controller `{what}`, or take the limit off the job"
                    ),
                });
            }
        }
        Ok(())
    }

    /// Why nothing can be done that needs root of a user namespace, and what to do about it.
    pub(super) fn lacks_namespace(&self) -> Option<String> {
        let why = self.rootless.as_ref()?.missing.as_ref()?;
        Some(format!("{why}; then start the service again, or run it as root, {INSTEAD}"))
    }

    /// What is missing on this machine, and what to do about it.
    fn missing(&self) -> Option<String> {
        if self.rootless.is_some() {
            return self.lacks_namespace();
        }
        let has_overlay = fs::read_to_string("/proc/filesystems").is_ok_and(|known| known.contains("overlay"));
        if !has_overlay && !Path::new("/sys/module/overlay").exists() {
            return Some(format!("the kernel has no overlay file system: modprobe overlay, {INSTEAD}"));
        }
        if let Some(kind) =
            ["pid", "mnt", "ipc", "cgroup"].iter().find(|kind| !Path::new("/proc/self/ns").join(kind).exists())
        {
            return Some(format!("the kernel has no {kind} namespaces: use one that has, {INSTEAD}"));
        }
        if !self.enforced.any {
            return Some(format!(
                "there are no control groups at /sys/fs/cgroup that can be written to: mount them, {INSTEAD}"
            ));
        }
        None
    }

    /// Why a service that is not root cannot keep all limits, and what to do.
    fn lacks_limits(&self) -> Option<&str> {
        self.rootless.as_ref()?.delegation.missing.as_deref()
    }

    /// What a service that is not root must do without.
    fn lacks(&self) -> Option<String> {
        let limits = self.lacks_limits().map(|why| {
            let lacking = self.enforced.lacking().collect::<Vec<_>>().join(", ");
            format!("jobs that ask for limits of {lacking} are refused: {why}, or run the service as root")
        });
        let single = self.rootless.as_ref()?.single.as_ref().map(|why| {
            format!("images that run as another user than root are refused: {why}; then start the service again")
        });
        let hint = self.rootless.as_ref()?.delegation.hint.clone();
        let lacks: Vec<_> = limits.into_iter().chain(single).chain(hint).collect();
        (!lacks.is_empty()).then(|| lacks.join("; "))
    }

    /// Like `embedded 0.1.0 (limits memory, cpu, pids)`.
    fn version(&self) -> String {
        let kept = self.enforced.kept().collect::<Vec<_>>().join(", ");
        let limits = if kept.is_empty() { "no limits".to_owned() } else { format!("limits {kept}") };
        let about = match &self.rootless {
            Some(rootless) => format!("rootless, {} user ids, {limits}", rootless.ids.users),
            None => limits,
        };
        format!("embedded {} ({about})", env!("CARGO_PKG_VERSION"))
    }
}
