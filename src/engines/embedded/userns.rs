//! The user namespace in which a service that is not root makes its containers.
//!
//! It is made once, by a process of its own, which also tries what containers will need in it; the service holds on to
//! it, and shims enter it. A later service makes another with the same ids: what it finds on the disk, and the shims that
//! still run, are as good in that one.

use std::{
    fs::{self, File},
    io::{self, BufRead, BufReader, Read, Write},
    os::fd::OwnedFd,
    path::Path,
    process::{Child, Command, Stdio},
};

use nix::{
    errno::Errno,
    sched::{CloneFlags, unshare},
};
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};

use super::idmap::IdMap;
use crate::engines::reexec::Helper;

/// The hidden subcommand that makes the namespace.
pub(super) const MAKE: &str = "embedded-namespace";
/// The hidden subcommand that is process 1 of a process namespace, for a moment.
pub(super) const TRY_PROC: &str = "embedded-try-proc";
/// What the maker says when it has the namespace, and when all that was tried has worked.
const GOOD: &str = "good";
/// An error's text is no longer.
const LONGEST_ANSWER: u64 = 4096;

/// What came of making a namespace.
pub(super) struct Made {
    /// It may be there, and of no use for containers.
    pub(super) namespace: Option<OwnedFd>,
    /// What this machine does not allow, and what to do about it.
    pub(super) missing: Option<String>,
}

/// Makes the namespace, and tries in `dir`, an empty directory, what containers will need; what it leaves there, root of
/// the namespace can remove. Blocks.
pub(super) fn make(helper: &Helper, map: &IdMap, dir: &Path) -> Made {
    let mut command = helper.command(MAKE);
    command.arg(dir).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut namespace = None;
    let made = match command.spawn() {
        Ok(child) => Maker(child).make(map, &mut namespace),
        Err(error) => Err(format!("a process for the user namespace cannot be started: {error}")),
    };
    Made { namespace, missing: made.err() }
}

/// The process that makes it, which does not outlive this.
struct Maker(Child);

impl Maker {
    fn make(mut self, map: &IdMap, namespace: &mut Option<OwnedFd>) -> Result<(), String> {
        let (Some(mut stdin), Some(stdout)) = (self.0.stdin.take(), self.0.stdout.take()) else {
            return Err("the process that makes the user namespace has no pipes".to_owned());
        };
        let mut answers = BufReader::new(stdout.take(LONGEST_ANSWER));
        answer(&mut answers)?;
        map.apply(self.0.id())?;
        let file = File::open(format!("/proc/{}/ns/user", self.0.id()))
            .map_err(|error| format!("the user namespace cannot be held on to: {error}"))?;
        *namespace = Some(file.into());
        stdin.write_all(b"\n").map_err(|error| format!("the process that makes it ended early: {error}"))?;
        answer(&mut answers)
    }
}

impl Drop for Maker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn answer(answers: &mut impl BufRead) -> Result<(), String> {
    let mut line = String::new();
    match answers.read_line(&mut line) {
        Ok(0) => Err("the process that makes the user namespace ended early".to_owned()),
        Ok(_) if line.trim() == GOOD => Ok(()),
        Ok(_) => Err(line.trim().to_owned()),
        Err(error) => Err(format!("the process that makes the user namespace does not answer: {error}")),
    }
}

/// The process that makes the namespace.
pub(super) fn main(dir: &Path) {
    let made = unshare(CloneFlags::CLONE_NEWUSER).map_err(|error| refused(error, |path| fs::read_to_string(path).ok()));
    if !tell(made) {
        return;
    }
    // Nothing is tried without the ids, and nothing when the service has gone away.
    if io::stdin().read_exact(&mut [0]).is_ok() {
        tell(try_mounts(dir));
    }
}

/// `false`: there is no use in going on.
fn tell(what: Result<(), String>) -> bool {
    let good = what.is_ok();
    let text = what.err().unwrap_or_else(|| GOOD.to_owned());
    writeln!(io::stdout(), "{text}").is_ok() && good
}

/// Why the kernel makes no user namespace.
fn refused(error: Errno, read: impl Fn(&str) -> Option<String>) -> String {
    let is_zero = |path: &str| read(path).is_some_and(|text| text.trim() == "0");
    let advice = if is_zero("/proc/sys/kernel/unprivileged_userns_clone") {
        "sysctl kernel.unprivileged_userns_clone=1"
    } else if is_zero("/proc/sys/user/max_user_namespaces") || error == Errno::ENOSPC {
        "raise it: sysctl user.max_user_namespaces=10000"
    } else if error == Errno::EINVAL || error == Errno::ENOSYS {
        "use a kernel with CONFIG_USER_NS"
    } else {
        "within a container, let its seccomp profile allow unshare"
    };
    format!("this user may make no user namespaces ({}): {advice}", error.desc())
}

/// What every container needs.
fn try_mounts(dir: &Path) -> Result<(), String> {
    for name in ["memory", "proc", "root", "lower", "upper", "work"] {
        fs::create_dir(dir.join(name)).map_err(|error| format!("{} cannot be written to: {error}", dir.display()))?;
    }
    unshare(
        CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWPID | CloneFlags::CLONE_NEWIPC | CloneFlags::CLONE_NEWCGROUP,
    )
    .map_err(|error| confined("make other namespaces", &error.into()))?;
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .map_err(|error| confined("change mounts", &error.into()))?;
    for kind in ["tmpfs", "cgroup2"] {
        mount(kind, dir.join("memory"), kind, MountFlags::RDONLY, None)
            .map_err(|error| confined(&format!("mount {kind}"), &error.into()))?;
    }
    std::env::set_current_dir(dir).map_err(|error| error.to_string())?;
    let layers = c"lowerdir=lower,upperdir=upper,workdir=work,userxattr";
    mount("overlay", dir.join("root"), "overlay", MountFlags::NODEV, Some(layers))
        .map_err(|error| no_overlay(dir, error))?;
    // This process is in no process namespace of its own: what it starts is.
    let tried = Command::new("/proc/self/exe").arg(TRY_PROC).arg(dir.join("proc")).env_clear().output();
    match tried {
        Ok(done) if done.status.success() => Ok(()),
        Ok(done) => Err(String::from_utf8_lossy(&done.stderr).trim().to_owned()),
        Err(error) => Err(confined("start a process in a process namespace", &error)),
    }
}

/// Mounts `/proc` for the process namespace that this process is the first of.
pub(super) fn try_proc(dir: &Path) -> io::Result<()> {
    mount("proc", dir, "proc", MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC, None).map_err(|error| {
        let text =
            "within a container, let it see the whole of /proc (docker run --security-opt systempaths=unconfined)";
        io::Error::other(format!("a user namespace may not mount proc ({error}): {text}"))
    })
}

/// In a user namespace, and yet without its privileges.
fn confined(what: &str, error: &io::Error) -> String {
    let apparmor = fs::read_to_string("/proc/sys/kernel/apparmor_restrict_unprivileged_userns");
    let advice = if apparmor.is_ok_and(|text| text.trim() == "1") {
        "let this program's AppArmor profile allow userns, or sysctl kernel.apparmor_restrict_unprivileged_userns=0"
    } else {
        "look at what confines this process (seccomp, SELinux, AppArmor)"
    };
    format!("a user namespace cannot {what} ({error}): {advice}")
}

fn no_overlay(dir: &Path, error: rustix::io::Errno) -> String {
    use rustix::io::Errno;
    let advice = match error {
        Errno::NODEV => "modprobe overlay".to_owned(),
        Errno::PERM => "use a kernel of 5.11 or later".to_owned(),
        _ => format!("put the engine's root on a local disk, like ext4 or xfs, which {} is not", dir.display()),
    };
    format!("a user namespace cannot mount overlay ({error}): {advice}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_switched_off_is_named() {
        let clone = |path: &str| path.ends_with("unprivileged_userns_clone").then(|| "0\n".to_owned());
        assert!(refused(Errno::EPERM, clone).contains("kernel.unprivileged_userns_clone=1"));
        let most = |path: &str| path.ends_with("max_user_namespaces").then(|| "0\n".to_owned());
        assert!(refused(Errno::ENOSPC, most).contains("user.max_user_namespaces"));
        assert!(refused(Errno::EPERM, |_| None).contains("seccomp"));
        assert!(refused(Errno::EINVAL, |_| None).contains("CONFIG_USER_NS"));
    }
}
