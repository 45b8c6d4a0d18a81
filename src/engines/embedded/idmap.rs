//! Which user and group ids a user namespace has: the user's own as root, and those that `/etc/subuid` and
//! `/etc/subgid` lend.

use std::{
    fs,
    io::{self, Read},
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

/// How long `newuidmap` may take, which may have to ask a directory service.
const PATIENCE: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(1);

/// How many ids containers have, from 0 up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ids {
    pub(super) users: u32,
    pub(super) groups: u32,
}

impl Ids {
    /// Whether a process may change its groups.
    pub(super) fn can_set_groups(self) -> bool {
        self.groups > 1
    }
}

/// From ids inside to ids outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct IdMap {
    users: Extents,
    groups: Extents,
}

/// The user's own id, which is root inside, and the ranges that follow it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Extents {
    own: u32,
    lent: Vec<(u32, u32)>,
}

impl Extents {
    fn count(&self) -> u32 {
        self.lent.iter().fold(1, |sum, (_, count)| sum.saturating_add(*count))
    }

    /// As `newuidmap` wants it: inside, outside, count of each extent.
    fn arguments(&self) -> Vec<String> {
        let mut inside = 0_u32;
        let extents = std::iter::once((self.own, 1)).chain(self.lent.iter().copied());
        let numbers = extents.flat_map(|(outside, count)| {
            let extent = [inside, outside, count];
            inside = inside.saturating_add(count);
            extent
        });
        numbers.map(|number| number.to_string()).collect()
    }
}

impl IdMap {
    /// What this process's user has. The second is why it has but one id, if so, and what to do about it.
    pub(super) fn of_this_user() -> (Self, Option<String>) {
        let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let name = name_of(uid, &read("/etc/passwd")).unwrap_or_default();
        let [users, groups] = ["/etc/subuid", "/etc/subgid"].map(|path| lent_to(uid, &name, &read(path)));
        let missing = if !installed("newuidmap") || !installed("newgidmap") {
            Some("there is no newuidmap: apt install uidmap".to_owned())
        } else if users.is_empty() || groups.is_empty() {
            let who = if name.is_empty() { uid.to_string() } else { name };
            let file = if users.is_empty() { "/etc/subuid" } else { "/etc/subgid" };
            Some(format!(
                "{file} lends {who} no ids: add a line like {who}:100000:65536 to /etc/subuid and /etc/subgid"
            ))
        } else {
            None
        };
        let [users, groups] = if missing.is_some() { [Vec::new(), Vec::new()] } else { [users, groups] };
        let map = Self { users: Extents { own: uid, lent: users }, groups: Extents { own: gid, lent: groups } };
        (map, missing)
    }

    pub(super) fn ids(&self) -> Ids {
        Ids { users: self.users.count(), groups: self.groups.count() }
    }

    /// Tells this map from others in a file's name: what was unpacked under one cannot be used under another.
    pub(super) fn fingerprint(&self) -> String {
        let side = |extents: &Extents| {
            let lent = extents.lent.iter().map(|(start, count)| format!("+{start}x{count}"));
            format!("{}{}", extents.own, lent.collect::<String>())
        };
        format!("{}-{}", side(&self.users), side(&self.groups))
    }

    /// Gives the new user namespace of this process its ids.
    ///
    /// # Errors
    /// In words, with what to do.
    pub(super) fn apply(&self, pid: u32) -> Result<(), String> {
        if self.users.lent.is_empty() {
            // As the kernel wants it from those without privileges: one id, and groups that stay as they are.
            let proc = Path::new("/proc").join(pid.to_string());
            let written = fs::write(proc.join("setgroups"), "deny")
                .and_then(|()| fs::write(proc.join("uid_map"), self.users.arguments().join(" ")))
                .and_then(|()| fs::write(proc.join("gid_map"), self.groups.arguments().join(" ")));
            return written.map_err(|error| format!("a user namespace cannot be given its id: {error}"));
        }
        run("newuidmap", pid, &self.users)?;
        run("newgidmap", pid, &self.groups)
    }
}

fn run(program: &str, pid: u32, extents: &Extents) -> Result<(), String> {
    let mut command = Command::new(program);
    command.arg(pid.to_string()).args(extents.arguments());
    let Err(why) = succeeds(&mut command) else { return Ok(()) };
    Err(format!(
        "{program} fails: {why}: see that it is installed setuid root (apt install --reinstall uidmap), and that the \
         service runs without NoNewPrivileges"
    ))
}

/// The error is what it writes to stderr.
fn succeeds(command: &mut Command) -> io::Result<()> {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    let deadline = Instant::now() + PATIENCE;
    let status = loop {
        match child.try_wait()? {
            Some(status) => break status,
            None if Instant::now() < deadline => thread::sleep(PAUSE),
            None => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(io::ErrorKind::TimedOut.into());
            }
        }
    };
    if status.success() {
        return Ok(());
    }
    let mut why = String::new();
    if let Some(mut stderr) = child.stderr.take() {
        stderr.read_to_string(&mut why)?;
    }
    Err(io::Error::other(why.trim().to_owned()))
}

fn installed(program: &str) -> bool {
    !matches!(Command::new(program).output(), Err(error) if error.kind() == io::ErrorKind::NotFound)
}

fn name_of(uid: u32, passwd: &str) -> Option<String> {
    let uid = uid.to_string();
    let mut entries = passwd.lines().map(|line| line.split(':').collect::<Vec<_>>());
    entries.find(|entry| entry.get(2) == Some(&uid.as_str())).map(|entry| entry[0].to_owned())
}

/// The ranges that a file like `/etc/subuid` lends to this user, by name or by number.
fn lent_to(uid: u32, name: &str, file: &str) -> Vec<(u32, u32)> {
    let uid = uid.to_string();
    let lent = file.lines().filter_map(|line| {
        let mut parts = line.trim().split(':');
        let who = parts.next().filter(|who| !who.is_empty())?;
        let range = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        (who == name || who == uid).then_some(range)
    });
    lent.filter(|(_, count)| *count > 0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_lent_what_stands_under_the_name_or_the_number() {
        let passwd = "root:x:0:0::/root:/bin/sh\nanna:x:1000:1000::/home/anna:/bin/sh\n";
        assert_eq!(name_of(1000, passwd).as_deref(), Some("anna"));
        assert_eq!(name_of(1001, passwd), None);
        let file = "# who:first:count\nanna:100000:65536\nbert:165536:65536\n1000:300000:1\nanna:7:0\nanna:x:1\n";
        assert_eq!(lent_to(1000, "anna", file), [(100_000, 65_536), (300_000, 1)]);
        assert_eq!(lent_to(1001, "", file), [], "a user without a name is nobody else");
    }

    #[test]
    fn ids_follow_one_another_inside() {
        let users = Extents { own: 1000, lent: vec![(100_000, 10), (500_000, 5)] };
        assert_eq!(users.arguments().join(" "), "0 1000 1 1 100000 10 11 500000 5");
        let groups = Extents { own: 50, lent: Vec::new() };
        assert_eq!(groups.arguments().join(" "), "0 50 1");
        let map = IdMap { users, groups };
        assert_eq!(map.ids(), Ids { users: 16, groups: 1 });
        assert!(!map.ids().can_set_groups());
        assert_eq!(map.fingerprint(), "1000+100000x10+500000x5-50");
    }
}
