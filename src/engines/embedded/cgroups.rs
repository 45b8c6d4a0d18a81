//! Which limits the kernel enforces here, and what it tells of them. cgroup v1, v2, and both at once.

use std::{
    fs, io,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use rustix::{
    fs::{Access, access},
    process::{Pid, Signal, kill_process},
};

/// Where control groups are mounted.
pub(super) const ROOT: &str = "/sys/fs/cgroup";
/// The group of all workloads' groups.
pub(super) const ALL: &str = "haulier";
/// What can be limited, by the names that the kernel has for it.
const CONTROLLERS: [&str; 3] = ["memory", "cpu", "pids"];
/// How often a removal is tried, for processes that were killed take a moment to go.
const TRIES: u32 = 50;
const PAUSE: Duration = Duration::from_millis(10);

/// Where a workload's group lies in each hierarchy.
pub(super) fn path(name: &str) -> String {
    format!("/{ALL}/{name}")
}

/// The same, as a directory below that of the hierarchy's root.
pub(super) fn below(root: &Path, name: &str) -> PathBuf {
    root.join(ALL).join(name)
}

/// Which limits can be kept here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is an independent fact")]
pub(super) struct Enforced {
    pub(super) memory: bool,
    pub(super) cpu: bool,
    pub(super) pids: bool,
    /// Whether there are any control groups to be had at all.
    pub(super) any: bool,
}

impl Enforced {
    pub(super) const NOTHING: Self = Self { memory: false, cpu: false, pids: false, any: false };

    /// By root, who need not ask.
    pub(super) fn here() -> Self {
        let root = Path::new(ROOT);
        match fs::read_to_string(root.join("cgroup.controllers")) {
            Ok(unified) if writable(root) => Self::listed(&unified),
            Ok(_) => Self::NOTHING,
            Err(_) => Self::of(|controller| {
                root.join(controller).join("cgroup.procs").exists() && writable(&root.join(controller))
            }),
        }
    }

    /// By a list of controllers as version 2 has it.
    pub(super) fn listed(controllers: &str) -> Self {
        Self::of(|controller| controllers.split_whitespace().any(|it| it == controller))
    }

    fn of(has: impl Fn(&str) -> bool) -> Self {
        let [memory, cpu, pids] = CONTROLLERS.map(has);
        Self { memory, cpu, pids, any: memory || cpu || pids }
    }

    /// What can be limited.
    pub(super) fn kept(self) -> impl Iterator<Item = &'static str> {
        CONTROLLERS.into_iter().zip(self.each()).filter_map(|(name, kept)| kept.then_some(name))
    }

    /// What cannot.
    pub(super) fn lacking(self) -> impl Iterator<Item = &'static str> {
        CONTROLLERS.into_iter().zip(self.each()).filter_map(|(name, kept)| (!kept).then_some(name))
    }

    fn each(self) -> [bool; 3] {
        let Self { memory, cpu, pids, any: _ } = self;
        [memory, cpu, pids]
    }
}

/// What the container sees of its own limits: a directory here, and where it is seen there.
pub(super) fn seen(name: &str) -> Vec<(PathBuf, String)> {
    let root = Path::new(ROOT);
    if root.join("cgroup.controllers").exists() {
        return vec![(below(root, name), ROOT.to_owned())];
    }
    let limiting = CONTROLLERS.into_iter().filter(|it| root.join(it).join("cgroup.procs").exists());
    limiting.map(|it| (below(&root.join(it), name), format!("{ROOT}/{it}"))).collect()
}

pub(super) fn writable(path: &Path) -> bool {
    access(path, Access::WRITE_OK).is_ok()
}

/// The workload's group in every hierarchy that has one.
fn groups(name: &str) -> Vec<PathBuf> {
    let hierarchies = fs::read_dir(ROOT).into_iter().flatten().flatten().map(|entry| entry.path());
    // Links name the same hierarchy twice (`cpu`, and `cpu,cpuacct`).
    let real = hierarchies.filter(|path| path.symlink_metadata().is_ok_and(|found| found.is_dir()));
    real.chain([PathBuf::from(ROOT)]).map(|root| below(&root, name)).filter(|group| group.is_dir()).collect()
}

/// Whether the kernel killed anything in the workload for want of memory.
pub(super) fn out_of_memory(name: &str) -> bool {
    groups(name).iter().any(|group| {
        // v2, then v1.
        ["memory.events", "memory.oom_control"].iter().any(|file| {
            let text = fs::read_to_string(group.join(file)).unwrap_or_default();
            text.lines().filter_map(|line| line.strip_prefix("oom_kill ")).any(|count| count.trim() != "0")
        })
    })
}

/// Whether this process is in a group of the workload.
pub(super) fn holds(name: &str, process: Pid) -> bool {
    groups(name).iter().any(|group| {
        let processes = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
        processes.lines().any(|pid| pid.parse() == Ok(process.as_raw_nonzero().get()))
    })
}

/// Ends what still runs in the workload's groups, and removes them. What cannot be removed is left for the next time.
pub(super) fn remove(name: &str) {
    groups(name).iter().for_each(|group| remove_group(group));
}

/// The same for one group, wherever it lies.
pub(super) fn remove_group(group: &Path) {
    for _ in 0..TRIES {
        match fs::remove_dir(group) {
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => kill(group),
            _ => break,
        }
        thread::sleep(PAUSE);
    }
}

fn kill(group: &Path) {
    if fs::write(group.join("cgroup.kill"), "1").is_ok() {
        return;
    }
    let processes = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    for pid in processes.lines().filter_map(|line| Pid::from_raw(line.parse().ok()?)) {
        let _ = kill_process(pid, Signal::KILL);
    }
}
