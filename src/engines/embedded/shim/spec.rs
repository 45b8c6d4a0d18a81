//! From a blueprint to libcontainer's `config.json`. Pure.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::{Blueprint, Limits, user::User};
use crate::engines::embedded::{cgroups, idmap::Ids};

/// What a process of root may still do in its container: own and read files, change its user, listen on low ports.
const CAPABILITIES: [&str; 9] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_NET_BIND_SERVICE",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
];

/// Where `PATH` leads when neither job nor image says so.
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

const MASKED: [&str; 10] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/firmware",
];
const READ_ONLY: [&str; 6] =
    ["/sys/fs/cgroup", "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// What the host lends: a path here, and where it is seen there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lent {
    pub(super) source: PathBuf,
    pub(super) destination: String,
}

/// The container's configuration.
pub(super) fn render(blueprint: &Blueprint, user: &User, lent: &[Lent]) -> Value {
    let Blueprint {
        name,
        layers_dir: _,
        layers: _,
        image_lease: _,
        args,
        env,
        user: _,
        workdir,
        files: _,
        limits: Limits { cpu, memory_bytes, pids },
        rootless,
        delegated: _,
        output_bytes: _,
        deadline_ms: _,
        grace_ms: _,
    } = blueprint;
    let capabilities: &[&str] = if user.uid == 0 { &CAPABILITIES } else { &[] };
    let period = 100_000;
    #[expect(clippy::cast_possible_truncation, reason = "a number of processors is small")]
    let cpu = cpu.map(|cpu| json!({"quota": ((cpu * f64::from(period)) as i64).max(1000), "period": period}));
    json!({
        "ociVersion": "1.0.2",
        "root": {"path": "rootfs"},
        "process": {
            "terminal": false,
            "user": {"uid": user.uid, "gid": user.gid, "additionalGids": user.groups, "umask": 0o022},
            "args": args,
            "env": environment(env, user),
            "cwd": if workdir.is_empty() { "/" } else { workdir },
            "capabilities": {
                "bounding": CAPABILITIES,
                "effective": capabilities,
                "permitted": capabilities,
                "inheritable": [],
                "ambient": [],
            },
            "noNewPrivileges": true,
        },
        "mounts": mounts(*rootless, lent),
        "linux": {
            // The network and the host's name are the host's.
            "namespaces": [{"type": "pid"}, {"type": "mount"}, {"type": "ipc"}, {"type": "cgroup"}],
            "cgroupsPath": cgroups::path(name),
            "resources": {
                "cpu": cpu,
                // The same: no swap.
                "memory": memory_bytes.map(|bytes| json!({"limit": bytes, "swap": bytes})),
                "pids": pids.map(|pids| json!({"limit": pids})),
            },
            "maskedPaths": MASKED,
            "readonlyPaths": READ_ONLY,
        },
    })
}

/// With what every process may count on.
fn environment(given: &[String], user: &User) -> Vec<String> {
    let lacks = |name: &str| !given.iter().any(|pair| pair.starts_with(name));
    let path = lacks("PATH=").then(|| PATH.to_owned());
    let home = lacks("HOME=").then(|| format!("HOME={}", user.home.as_deref().unwrap_or("/")));
    path.into_iter().chain(home).chain(given.iter().cloned()).collect()
}

fn mounts(rootless: Option<Ids>, lent: &[Lent]) -> Vec<Value> {
    let mount = |destination: &str, kind: &str, options: &[&str]| json!({"destination": destination, "type": kind, "source": kind, "options": options});
    let pts = ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"];
    // The group of terminals may not be there.
    let pts = if rootless.is_none_or(|ids| ids.groups > 5) { &pts[..] } else { &pts[..5] };
    let sys = match rootless {
        None => mount("/sys", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
        // It belongs to whoever has the network, and that is the host.
        Some(_) => json!({"destination": "/sys", "type": "bind", "source": "/sys",
            "options": ["rbind", "rro", "rnosuid", "rnoexec", "rnodev"]}),
    };
    let mut mounts = vec![
        mount("/proc", "proc", &["nosuid", "noexec", "nodev"]),
        mount("/dev", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        mount("/dev/pts", "devpts", pts),
        mount("/dev/shm", "tmpfs", &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]),
        mount("/dev/mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
        sys,
        mount("/sys/fs/cgroup", "tmpfs", &["nosuid", "noexec", "nodev", "mode=755", "size=64k"]),
    ];
    mounts.extend(lent.iter().map(|Lent { source, destination }| {
        json!({"destination": destination, "type": "bind", "source": source,
            "options": ["bind", "ro", "nosuid", "nodev", "noexec"]})
    }));
    mounts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blueprint() -> Blueprint {
        Blueprint {
            name: "r-1-a1".to_owned(),
            layers_dir: "/layers".into(),
            layers: vec!["a".to_owned()],
            image_lease: "/image".into(),
            args: vec!["python".to_owned(), "-V".to_owned()],
            env: vec!["A=${b}".to_owned()],
            user: "app".to_owned(),
            workdir: String::new(),
            files: Vec::new(),
            limits: Limits { cpu: Some(0.5), memory_bytes: Some(32 << 20), pids: Some(77) },
            rootless: None,
            delegated: None,
            output_bytes: 1,
            deadline_ms: 1,
            grace_ms: 1,
        }
    }

    #[test]
    fn all_that_is_asked_for_is_in_it() {
        let user = User { uid: 7, gid: 8, groups: vec![9], home: Some("/home/app".to_owned()) };
        let lent = [Lent { source: "/etc/hosts".into(), destination: "/etc/hosts".to_owned() }];
        let config = render(&blueprint(), &user, &lent);
        let process = &config["process"];
        assert_eq!(process["args"], json!(["python", "-V"]));
        assert_eq!(process["env"], json!([PATH, "HOME=/home/app", "A=${b}"]));
        assert_eq!(process["user"], json!({"uid": 7, "gid": 8, "additionalGids": [9], "umask": 18}));
        assert_eq!(process["cwd"], "/");
        assert_eq!(process["noNewPrivileges"], true);
        assert_eq!(process["capabilities"]["effective"], json!([]), "only root keeps any");
        let linux = &config["linux"];
        assert_eq!(linux["resources"]["cpu"], json!({"quota": 50_000, "period": 100_000}));
        assert_eq!(linux["resources"]["memory"], json!({"limit": 33_554_432, "swap": 33_554_432}));
        assert_eq!(linux["resources"]["pids"], json!({"limit": 77}));
        assert_eq!(linux["cgroupsPath"], "/haulier/r-1-a1");
        let bound = config["mounts"].as_array().unwrap().last().unwrap();
        assert_eq!((&bound["source"], &bound["options"][1]), (&json!("/etc/hosts"), &json!("ro")));
    }

    #[test]
    fn libcontainer_understands_it() {
        let mut plain = blueprint();
        plain.limits = Limits { cpu: None, memory_bytes: None, pids: None };
        for blueprint in [blueprint(), plain] {
            let config = render(&blueprint, &User::default(), &[]);
            let spec: libcontainer::oci_spec::runtime::Spec = serde_json::from_value(config).unwrap();
            assert_eq!(spec.process().as_ref().unwrap().args().as_ref().unwrap()[0], "python");
        }
    }
}
