//! Which limits the kernel enforces here, and what it tells of them. cgroup v1, v2, and both at once.

use std::{
    fs, io,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use rustix::fs::{Access, access};

/// Where control groups are mounted.
pub(super) const ROOT: &str = "/sys/fs/cgroup";
/// How often a removal is tried, for processes that were killed take a moment to go.
const TRIES: u32 = 50;
const PAUSE: Duration = Duration::from_millis(10);

/// Where a workload's group lies in each hierarchy.
pub(super) fn path(name: &str) -> String {
    format!("/haulier/{name}")
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

    pub(super) fn here() -> Self {
        let root = Path::new(ROOT);
        let has = |controller: &str| match fs::read_to_string(root.join("cgroup.controllers")) {
            Ok(unified) => unified.split_whitespace().any(|it| it == controller) && writable(root),
            Err(_) => root.join(controller).join("cgroup.procs").exists() && writable(&root.join(controller)),
        };
        let (memory, cpu, pids) = (has("memory"), has("cpu"), has("pids"));
        Self { memory, cpu, pids, any: memory || cpu || pids }
    }
}

/// What the container sees of its own limits: a directory here, and where it is seen there.
pub(super) fn seen(name: &str) -> Vec<(PathBuf, String)> {
    let (root, below) = (Path::new(ROOT), path(name));
    let below = below.trim_start_matches('/');
    if root.join("cgroup.controllers").exists() {
        return vec![(root.join(below), ROOT.to_owned())];
    }
    let limiting = ["cpu", "memory", "pids"].into_iter().filter(|it| root.join(it).join("cgroup.procs").exists());
    limiting.map(|it| (root.join(it).join(below), format!("{ROOT}/{it}"))).collect()
}

fn writable(path: &Path) -> bool {
    access(path, Access::WRITE_OK).is_ok()
}

/// The workload's group in every hierarchy that has one.
fn groups(name: &str) -> Vec<PathBuf> {
    let below = path(name);
    let below = below.trim_start_matches('/');
    let hierarchies = fs::read_dir(ROOT).into_iter().flatten().flatten().map(|entry| entry.path());
    // Links name the same hierarchy twice (`cpu`, and `cpu,cpuacct`).
    let real = hierarchies.filter(|path| path.symlink_metadata().is_ok_and(|found| found.is_dir()));
    real.chain([PathBuf::from(ROOT)]).map(|root| root.join(below)).filter(|group| group.is_dir()).collect()
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

/// Ends what still runs in the workload's groups, and removes them. What cannot be removed is left for the next time.
pub(super) fn remove(name: &str) {
    for group in groups(name) {
        for _ in 0..TRIES {
            match fs::remove_dir(&group) {
                Err(error) if error.kind() == io::ErrorKind::ResourceBusy => kill(&group),
                _ => break,
            }
            thread::sleep(PAUSE);
        }
    }
}

fn kill(group: &Path) {
    if fs::write(group.join("cgroup.kill"), "1").is_ok() {
        return;
    }
    let processes = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    for pid in processes.lines().filter_map(|line| rustix::process::Pid::from_raw(line.parse().ok()?)) {
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
}
