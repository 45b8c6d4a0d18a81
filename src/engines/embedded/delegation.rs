//! The part of the control groups that was given to a user who is not root: found, and made ready for containers.
//!
//! With version 2, whoever manages the groups (systemd, nearly everywhere) can delegate one: its user may then make
//! groups below it. As soon as those have controllers, no process may sit in the delegated group itself. So the service
//! moves to a group beside those of the containers:
//!
//! | group | what sits in it |
//! |---|---|
//! | the delegated one | nothing any more |
//! | … `/service` | the service, its helpers, shims: nothing that a container's limits could end |
//! | … `/haulier/NAME` | one container, as below the root of all groups where the service is root |
//!
//! Nothing of this is ever removed but the groups of containers: whoever delegated takes the rest back.

use std::{
    fs, io,
    path::{Component, Path, PathBuf},
};

use super::cgroups::{self, Enforced};

/// Where this process goes that begins in the delegated group.
const SERVICE: &str = "service";
/// What anyone can do who has a systemd of their own.
const START: &str = "start it with `systemd-run --user --scope --property=Delegate=yes haulier serve`";

/// What there is for a service that is not root.
#[derive(Debug, Clone)]
pub(super) struct Delegation {
    /// The delegated group's directory, where containers can have groups with limits.
    pub(super) group: Option<PathBuf>,
    pub(super) enforced: Enforced,
    /// Why some limits, or all, cannot be kept, and what to do.
    pub(super) missing: Option<String>,
    /// What else there is to know about the group.
    pub(super) hint: Option<String>,
}

impl Delegation {
    /// There is nothing, and nobody has looked why.
    pub(super) const NONE: Self = Self { group: None, enforced: Enforced::NOTHING, missing: None, hint: None };

    /// Finds the group that this process may use, and moves this process to where it is not in the way. To be called
    /// before this process starts others. Blocks.
    pub(super) fn take() -> Self {
        let found = fs::read_to_string("/proc/self/cgroup")
            .map_err(|error| format!("/proc/self/cgroup cannot be read: {error}"))
            .and_then(|text| find(Path::new(cgroups::ROOT), &text))
            .and_then(|group| make_way(&group, std::process::id()).map(|()| group));
        match found {
            Ok(group) => Self::prepare(group),
            Err(why) => Self { missing: Some(why), ..Self::NONE },
        }
    }

    fn prepare(group: PathBuf) -> Self {
        let below = group.join(cgroups::ALL);
        // Whatever fails, the rest may do.
        let refused = [make(&below), enable(&group), enable(&below)].into_iter().find_map(Result::err);
        let enforced = Enforced::listed(&read(&below, "cgroup.subtree_control"));
        let missing = lacks(&read(&group, "cgroup.controllers"), enforced, refused.as_ref(), &group);
        let hint = own_unit(&group).filter(|_| enforced.any);
        Self { group: enforced.any.then_some(group), enforced, missing, hint }
    }
}

/// The delegated group in which the process sits of which `own` is `/proc/self/cgroup`.
///
/// # Errors
/// There is none, and what to do.
fn find(root: &Path, own: &str) -> Result<PathBuf, String> {
    if !root.join("cgroup.controllers").exists() {
        let text = "control groups of version 2 are not mounted alone: boot with systemd.unified_cgroup_hierarchy=1";
        return Err(text.to_owned());
    }
    // With `..` it lies outside of what is mounted.
    let own = own.lines().find_map(|line| line.strip_prefix("0::/")).map(|path| root.join(path));
    let own = own.filter(|group| group.components().all(|part| part != Component::ParentDir) && group.is_dir());
    let own =
        own.ok_or("the control group of this process is not to be seen: mount /sys/fs/cgroup as it is outside")?;
    // Where an earlier service of the same group has moved it to, or the unit has (`DelegateSubgroup=`).
    let above = own.parent().filter(|above| own.ends_with(SERVICE) && is_delegated(above));
    match above.or(Some(&own)).filter(|group| is_delegated(group)) {
        Some(group) => Ok(group.to_owned()),
        None => Err(format!("the service's control group is not delegated to its user: {START}")),
    }
}

/// Whether this user may make groups below this one, move processes to them, and give them controllers. Systemd marks
/// what it delegates as well, but the user's own does not.
fn is_delegated(group: &Path) -> bool {
    ["", "cgroup.procs", "cgroup.subtree_control"].iter().all(|file| cgroups::writable(&group.join(file)))
}

/// Moves this process out of the group, if that is where it sits.
///
/// # Errors
/// It is not alone there, or the kernel refuses.
fn make_way(group: &Path, own: u32) -> Result<(), String> {
    let refused = |error: io::Error| format!("the control group {} cannot be used ({error}): {START}", group.display());
    let processes = fs::read_to_string(group.join("cgroup.procs")).map_err(refused)?;
    if processes.lines().any(|process| process.parse() != Ok(own)) {
        // A terminal's group belongs to its user too, and is not for us to arrange.
        return Err(format!("other processes sit in the service's control group, like a shell: {START}"));
    }
    if processes.is_empty() {
        return Ok(());
    }
    let service = group.join(SERVICE);
    make(&service).and_then(|()| fs::write(service.join("cgroup.procs"), own.to_string())).map_err(refused)
}

/// Another service of the same user may be at it as well.
fn make(group: &Path) -> io::Result<()> {
    match fs::create_dir(group) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

/// Lets the groups below this one have limits, of each kind that there is.
fn enable(group: &Path) -> io::Result<()> {
    let available = Enforced::listed(&read(group, "cgroup.controllers"));
    let enabled = available.kept().map(|name| fs::write(group.join("cgroup.subtree_control"), format!("+{name}")));
    enabled.fold(Ok(()), Result::and)
}

fn read(group: &Path, file: &str) -> String {
    fs::read_to_string(group.join(file)).unwrap_or_default()
}

/// Why not all limits can be kept, and what to do.
fn lacks(available: &str, enforced: Enforced, refused: Option<&io::Error>, group: &Path) -> Option<String> {
    let lacking: Vec<_> = enforced.lacking().collect();
    if lacking.is_empty() {
        return None;
    }
    let (names, group) = (lacking.join(", "), group.display());
    Some(match refused {
        Some(error) if Enforced::listed(available).kept().any(|name| lacking.contains(&name)) => {
            format!("the control group {group} takes no limits of {names} below it ({error}): {START}")
        }
        _ => format!(
            "the control group {group} was delegated without {names}: give the unit Delegate=yes, and \
             user@.service Delegate=cpu memory pids (systemctl edit user@.service, then restart user@UID.service)"
        ),
    })
}

/// systemd puts a unit's first process into the unit's group, which the kernel refuses as long as groups below it have
/// limits: those of containers that have outlived the service.
fn own_unit(group: &Path) -> Option<String> {
    let unit = group.file_name()?.to_str()?;
    unit.ends_with(".service")
        .then(|| format!("systemd cannot start {unit} again (219/CGROUP) as long as containers of it run: {START}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Directories that look like groups; what is named `private` belongs to somebody else.
    fn groups(paths: &[&str]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for path in paths {
            let group = root.path().join(path);
            fs::create_dir_all(&group).unwrap();
            fs::write(group.join("cgroup.controllers"), "cpu memory pids\n").unwrap();
            if !group.ends_with("private") {
                fs::write(group.join("cgroup.procs"), "").unwrap();
                fs::write(group.join("cgroup.subtree_control"), "").unwrap();
            }
        }
        root
    }

    #[test]
    fn the_group_is_the_own_one_or_the_one_above_that_an_earlier_service_was_given() {
        let root = groups(&["", "user/app.scope/service", "user/app.scope", "private", "private/service"]);
        let find = |own: &str| {
            find(root.path(), own).map(|group| group.strip_prefix(root.path()).unwrap().display().to_string())
        };
        assert_eq!(find("0::/user/app.scope\n"), Ok("user/app.scope".to_owned()));
        assert_eq!(find("3:cpu:/x\n0::/user/app.scope/service\n"), Ok("user/app.scope".to_owned()));
        assert_eq!(find("0::/\n"), Ok(String::new()), "a container's own root");
        assert_eq!(find("0::/private/service\n"), Ok("private/service".to_owned()), "what is above is not given");
    }

    #[test]
    fn why_there_is_none_is_told_and_what_to_do() {
        let root = groups(&["", "private"]);
        assert!(find(root.path(), "0::/private\n").unwrap_err().contains("systemd-run"));
        for outside in ["0::/../x\n", "0::/gone\n", "1:cpu:/x\n", ""] {
            assert!(find(root.path(), outside).unwrap_err().contains("not to be seen"), "{outside}");
        }
        let first = tempfile::tempdir().unwrap();
        assert!(find(first.path(), "0::/\n").unwrap_err().contains("unified_cgroup_hierarchy"));
    }

    #[test]
    fn who_sits_in_the_group_alone_makes_way() {
        let root = groups(&["app.scope", "app.scope/service"]);
        let group = root.path().join("app.scope");
        let moved = || read(&group, "service/cgroup.procs");
        make_way(&group, 4711).unwrap();
        assert_eq!(moved(), "", "it sits somewhere else already");
        fs::write(group.join("cgroup.procs"), "42\n4711\n").unwrap();
        assert!(make_way(&group, 4711).unwrap_err().contains("other processes"));
        assert_eq!(moved(), "", "and nothing is done");
        fs::write(group.join("cgroup.procs"), "4711\n").unwrap();
        make_way(&group, 4711).unwrap();
        assert_eq!(moved(), "4711");
    }

    #[test]
    fn what_was_not_delegated_is_told_apart_from_what_cannot_be_used() {
        let busy = io::Error::from(io::ErrorKind::ResourceBusy);
        let told = |available: &str, enabled: &str, refused: Option<&io::Error>| {
            lacks(available, Enforced::listed(enabled), refused, Path::new("/x.scope"))
        };
        assert_eq!(told("cpu memory pids", "cpu memory pids", None), None);
        let partly = told("memory pids", "memory pids", None).unwrap();
        assert!(partly.contains("without cpu") && partly.contains("Delegate=cpu"), "{partly}");
        let refused = told("cpu memory pids", "", Some(&busy)).unwrap();
        assert!(refused.contains("memory, cpu, pids") && refused.contains(&busy.to_string()), "{refused}");
    }

    #[test]
    fn a_unit_that_could_not_start_again_is_told() {
        assert!(own_unit(Path::new("/user/haulier.service")).unwrap().contains("haulier.service"));
        assert_eq!(own_unit(Path::new("/user/run-1.scope")), None);
    }
}
