//! Whether this machine can run containers, and what to do when it cannot.

use std::{fs, path::Path};

use super::cgroups::Enforced;
use crate::engines::EngineHealth;

pub(super) fn probe(enforced: Enforced) -> EngineHealth {
    match missing(enforced) {
        None => EngineHealth { reachable: true, version: Some(version(enforced)), detail: None },
        Some(detail) => EngineHealth { reachable: false, version: None, detail: Some(detail) },
    }
}

/// What is missing on this machine, and what to do about it.
pub(super) fn missing(enforced: Enforced) -> Option<String> {
    let instead = "or configure another engine";
    if !rustix::process::geteuid().is_root() {
        return Some(format!("containers without a daemon need root: run the service as root, {instead}"));
    }
    let has_overlay = fs::read_to_string("/proc/filesystems").is_ok_and(|known| known.contains("overlay"));
    if !has_overlay && !Path::new("/sys/module/overlay").exists() {
        return Some(format!("the kernel has no overlay file system: modprobe overlay, {instead}"));
    }
    if let Some(kind) =
        ["pid", "mnt", "ipc", "cgroup"].iter().find(|kind| !Path::new("/proc/self/ns").join(kind).exists())
    {
        return Some(format!("the kernel has no {kind} namespaces: use one that has, {instead}"));
    }
    if !enforced.any {
        return Some(format!(
            "there are no control groups at /sys/fs/cgroup that can be written to: mount them, {instead}"
        ));
    }
    None
}

/// Like `embedded 0.1.0 (limits memory, cpu, pids)`.
fn version(enforced: Enforced) -> String {
    let limits: Vec<_> = [("memory", enforced.memory), ("cpu", enforced.cpu), ("pids", enforced.pids)]
        .iter()
        .filter_map(|(name, kept)| kept.then_some(*name))
        .collect();
    format!("embedded {} (limits {})", env!("CARGO_PKG_VERSION"), limits.join(", "))
}
