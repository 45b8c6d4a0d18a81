//! Which user the image's command runs as, looked up in the image's own files.

use std::{fs::File, io::Read, os::fd::AsFd, path::PathBuf};

use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};

use crate::engines::embedded::idmap::Ids;

/// More than any user database has.
const LONGEST: u64 = 1 << 20;

/// A user by number.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct User {
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// Groups beside the main one.
    pub(super) groups: Vec<u32>,
    pub(super) home: Option<String>,
}

impl User {
    /// The user that `wanted` (`name`, `uid`, or either with `:group`) means in this root.
    ///
    /// # Errors
    /// There is no such user or group.
    pub(super) fn find(wanted: &str, root: impl AsFd) -> Result<Self, String> {
        Self::find_in(wanted, &read(&root, "etc/passwd"), &read(&root, "etc/group"))
    }

    /// The user as there can be one with these ids.
    ///
    /// # Errors
    /// The kernel has no such user here.
    pub(super) fn within(mut self, ids: Ids) -> Result<Self, String> {
        let Self { uid, gid, .. } = self;
        if uid >= ids.users || gid >= ids.groups {
            return Err(format!(
                "the image runs as user {uid}, group {gid}, and the service, which is not root, has {} user ids and {} \
                 group ids to give: see `haulier engine list`, or run the service as root",
                ids.users, ids.groups
            ));
        }
        self.groups.retain(|group| ids.can_set_groups() && *group < ids.groups);
        Ok(self)
    }

    fn find_in(wanted: &str, passwd: &str, group: &str) -> Result<Self, String> {
        let (name, wanted_group) = match wanted.split_once(':') {
            Some((name, group)) => (name, Some(group).filter(|group| !group.is_empty())),
            None => (wanted, None),
        };
        let name = if name.is_empty() { "0" } else { name };
        let entry = entries(passwd).find(|entry| entry[0] == name || entry.get(2) == Some(&name));
        let number = |at: usize| entry.as_ref().and_then(|entry| entry.get(at)?.parse().ok());
        let Some(uid) = number(2).or_else(|| name.parse().ok()) else {
            return Err(format!("the image has no user {name}: correct the USER of the image"));
        };
        let home = entry.as_ref().and_then(|entry| entry.get(5)).map(|home| (*home).to_owned());
        let mut found = Self { uid, gid: number(3).unwrap_or(0), groups: Vec::new(), home };
        if let Some(wanted) = wanted_group {
            let gid = entries(group).find(|entry| entry[0] == wanted).and_then(|entry| entry.get(2)?.parse().ok());
            let Some(gid) = gid.or_else(|| wanted.parse().ok()) else {
                return Err(format!("the image has no group {wanted}: correct the USER of the image"));
            };
            found.gid = gid;
        } else if let Some(entry) = &entry {
            let member =
                |group: &Vec<&str>| group.get(3).is_some_and(|names| names.split(',').any(|it| it == entry[0]));
            found.groups = entries(group).filter(member).filter_map(|group| group.get(2)?.parse().ok()).collect();
        }
        Ok(found)
    }
}

fn entries(text: &str) -> impl Iterator<Item = Vec<&str>> {
    text.lines().filter(|line| !line.starts_with('#')).map(|line| line.split(':').collect())
}

/// Nothing where the file is missing: an image need not have any.
fn read(root: impl AsFd, path: &str) -> String {
    let file = openat2(
        root,
        PathBuf::from(path),
        OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC,
        Mode::empty(),
        ResolveFlags::IN_ROOT,
    );
    let mut bytes = Vec::new();
    let _ = file.map(|file| File::from(file).take(LONGEST).read_to_end(&mut bytes));
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\n# no one\napp:x:1000:1001::/home/app:/bin/sh\n";
    const GROUP: &str = "root:x:0:\napps:x:1001:\naudio:x:29:root,app\n";

    fn find(wanted: &str) -> Result<(u32, u32, Vec<u32>), String> {
        User::find_in(wanted, PASSWD, GROUP).map(|user| (user.uid, user.gid, user.groups))
    }

    #[test]
    fn names_and_numbers_mean_what_they_mean_to_docker() {
        assert_eq!(find(""), Ok((0, 0, vec![29])));
        assert_eq!(find("app"), Ok((1000, 1001, vec![29])));
        assert_eq!(find("1000"), Ok((1000, 1001, vec![29])));
        assert_eq!(find("app:audio"), Ok((1000, 29, vec![])));
        assert_eq!(find("app:7"), Ok((1000, 7, vec![])));
        assert_eq!(find("4242"), Ok((4242, 0, vec![])));
        assert_eq!(find("4242:7"), Ok((4242, 7, vec![])));
        assert_eq!(User::find_in("app", PASSWD, GROUP).unwrap().home.as_deref(), Some("/home/app"));
        assert!(find("nobody").unwrap_err().contains("nobody"));
        assert!(find("app:nogroup").unwrap_err().contains("nogroup"));
    }

    #[test]
    fn without_root_there_are_the_ids_that_were_lent_and_no_others() {
        let user = || User::find_in("1000", PASSWD, GROUP).unwrap();
        assert_eq!(user().within(Ids { users: 65_537, groups: 65_537 }), Ok(user()));
        assert!(user().within(Ids { users: 1, groups: 1 }).unwrap_err().contains("user 1000, group 1001"));
        let root = || User::find_in("", PASSWD, GROUP).unwrap();
        assert!(root().within(Ids { users: 1, groups: 1 }).unwrap().groups.is_empty(), "nor further groups");
        assert_eq!(root().within(Ids { users: 65_537, groups: 65_537 }).unwrap().groups, [29]);
    }
}
