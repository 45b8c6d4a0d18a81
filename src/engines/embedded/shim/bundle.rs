//! What libcontainer starts from: a root file system, files in it, and a configuration. All of it is mounted where only
//! the shim sees it, and goes with the shim.

use std::{
    env,
    fs::{self, DirBuilder, File, Permissions},
    io::{self, Write},
    os::{
        fd::OwnedFd,
        unix::fs::{DirBuilderExt, PermissionsExt, fchown},
    },
    path::{Component, Path, PathBuf},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use nix::sched::{CloneFlags, unshare};
use rustix::{
    fs::{Mode, OFlags, ResolveFlags, mkdirat, open, openat2},
    io::Errno,
    mount::{MountFlags, MountPropagationFlags, mount, mount_bind, mount_change},
};

use super::{
    Blueprint, PlacedFile,
    spec::{Lent, render},
    user::User,
};
use crate::engines::embedded::{cgroups, rundir::RunDir};

/// Where secrets are seen in the container. They lie in memory.
const SECRETS: &str = "/run/secrets";

/// Why there is no bundle.
#[derive(Debug)]
pub(super) enum Unusable {
    /// The image is at fault.
    Image(String),
    /// The machine is.
    Machine(io::Error),
}

impl From<io::Error> for Unusable {
    fn from(error: io::Error) -> Self {
        Self::Machine(error)
    }
}

impl From<Errno> for Unusable {
    fn from(error: Errno) -> Self {
        Self::Machine(error.into())
    }
}

impl From<nix::errno::Errno> for Unusable {
    fn from(error: nix::errno::Errno) -> Self {
        Self::Machine(error.into())
    }
}

/// A container's root file system and configuration.
#[derive(Debug)]
pub(super) struct Bundle(PathBuf);

impl Bundle {
    /// Makes everything ready. From here on this process has mounts of its own.
    pub(super) fn mount(dir: &RunDir, blueprint: &Blueprint) -> Result<Self, Unusable> {
        rustix::process::umask(Mode::WGRP | Mode::WOTH);
        let bundle = Self(dir.join("bundle"));
        let (upper, work) = (dir.join("upper"), dir.join("work"));
        for (path, mode) in [(&bundle.0, 0o700), (&work, 0o700), (&upper, 0o755)] {
            // What an earlier try has left, which came to nothing: overlayfs would refuse it.
            match fs::remove_dir_all(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
                _ => DirBuilder::new().mode(mode).create(path)?,
            }
        }
        unshare(CloneFlags::CLONE_NEWNS)?;
        mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
        match &blueprint.delegated {
            Some(group) => mount_bind(group, cgroups::ROOT)?,
            None if blueprint.rootless.is_some() => hide_control_groups()?,
            None => {}
        }
        mount("tmpfs", &bundle.0, "tmpfs", MountFlags::NOSUID | MountFlags::NODEV, Some(c"mode=0700"))?;
        for name in ["rootfs", "state", "secrets"] {
            fs::create_dir(bundle.0.join(name))?;
        }
        bundle.mount_layers(blueprint, &upper, &work)?;
        let root = open(bundle.0.join("rootfs"), OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let user = User::find(&blueprint.user, &root);
        let user = match blueprint.rootless {
            Some(ids) => user.and_then(|user| user.within(ids)),
            None => user,
        };
        let user = user.map_err(Unusable::Image)?;
        bundle.place_files(&root, &blueprint.files, &user)?;
        // As Docker does: a working directory that the image does not have is made.
        make_dirs(&root, Path::new(&blueprint.workdir))?;
        bundle.configure(blueprint, &user)?;
        Ok(bundle)
    }

    /// Where the bundle lies.
    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// Where libcontainer may keep what it must.
    pub(super) fn state(&self) -> PathBuf {
        self.0.join("state")
    }

    fn mount_layers(&self, blueprint: &Blueprint, upper: &Path, work: &Path) -> io::Result<()> {
        // Relative names: all that a mount is told must fit in one page.
        env::set_current_dir(&blueprint.layers_dir)?;
        let lower: Vec<_> = blueprint.layers.iter().rev().map(String::as_str).collect();
        let options = format!("lowerdir={},upperdir={},workdir={}", lower.join(":"), upper.display(), work.display());
        // Where marks of what is hidden are attributes that anyone may set, overlayfs must be told so.
        let options = if blueprint.rootless.is_some() { format!("{options},userxattr") } else { options };
        let target = self.0.join("rootfs");
        let mount = |options: String| {
            let options = std::ffi::CString::new(options).map_err(|_| Errno::INVAL)?;
            mount("overlay", &target, "overlay", MountFlags::NODEV, Some(options.as_c_str()))
        };
        // What the container writes does not outlive it: nobody need wait for the disk.
        match mount(format!("{options},volatile")) {
            Err(Errno::INVAL) => mount(options),
            mounted => mounted,
        }
        .map_err(|error| io::Error::other(format!("mount the image's layers: {error}")))?;
        env::set_current_dir("/")
    }

    fn place_files(&self, root: &OwnedFd, files: &[PlacedFile], user: &User) -> io::Result<()> {
        let secrets = open(self.0.join("secrets"), OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        for PlacedFile { path, content, mode, secret } in files {
            let content = BASE64_STANDARD.decode(content).map_err(io::Error::other)?;
            let (root, path) = match path.strip_prefix(SECRETS) {
                Some(below) if *secret => (&secrets, below),
                _ => (root, path.as_str()),
            };
            let placed = place(root, Path::new(path), &content, *mode, user);
            placed.map_err(|error| io::Error::new(error.kind(), format!("place the file {path}: {error}")))?;
        }
        Ok(())
    }

    fn configure(&self, blueprint: &Blueprint, user: &User) -> io::Result<()> {
        let hosts = ["/etc/resolv.conf", "/etc/hosts"].map(|path| (PathBuf::from(path), path.to_owned()));
        let secrets = blueprint.files.iter().any(|file| file.secret);
        let secrets = secrets.then(|| (self.0.join("secrets"), SECRETS.to_owned()));
        let hidden = blueprint.rootless.is_some() && blueprint.delegated.is_none();
        let groups = if hidden { Vec::new() } else { cgroups::seen(&blueprint.name) };
        let lent = hosts.into_iter().filter(|(path, _)| path.is_file()).chain(secrets).chain(groups);
        let lent: Vec<_> = lent.map(|(source, destination)| Lent { source, destination }).collect();
        let config = serde_json::to_vec(&render(blueprint, user, &lent))?;
        fs::write(self.0.join("config.json"), config)
    }
}

/// libcontainer wants control groups and cannot do with those of version 1 when they are not its own: it is shown a
/// hierarchy of version 2 in which nothing can be changed, and makes do.
fn hide_control_groups() -> Result<(), Unusable> {
    unshare(CloneFlags::CLONE_NEWCGROUP)?;
    let flags = MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    // Two, for where version 2 is mounted already the kernel mounts no second one right upon it.
    for kind in ["tmpfs", "cgroup2"] {
        mount(kind, cgroups::ROOT, kind, flags, None)?;
    }
    Ok(())
}

/// Makes a directory and all above it, below `root` whatever links there are; hands back the last.
fn make_dirs(root: &OwnedFd, path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut at = PathBuf::from(".");
    let mut dir = openat2(root, &at, flags, Mode::empty(), ResolveFlags::IN_ROOT)?;
    for part in path.components() {
        let Component::Normal(part) = part else { continue };
        match mkdirat(&dir, part, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        at.push(part);
        dir = openat2(root, &at, flags, Mode::empty(), ResolveFlags::IN_ROOT)?;
    }
    Ok(dir)
}

fn place(root: &OwnedFd, path: &Path, content: &[u8], mode: u32, user: &User) -> io::Result<()> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidFilename)?;
    let dir = make_dirs(root, path.parent().unwrap_or(Path::new("/")))?;
    // A link there is replaced, not followed.
    match rustix::fs::unlinkat(&dir, name, rustix::fs::AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(error) => return Err(error.into()),
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut file = File::from(rustix::fs::openat(&dir, name, flags, Mode::RUSR | Mode::WUSR)?);
    file.write_all(content)?;
    fchown(&file, Some(user.uid), Some(user.gid))?;
    // After the owner, for a change of owner takes special bits away.
    file.set_permissions(Permissions::from_mode(mode))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn root(path: &Path) -> OwnedFd {
        open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).unwrap()
    }

    fn me() -> User {
        let (uid, gid) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
        User { uid, gid, groups: Vec::new(), home: None }
    }

    #[test]
    fn files_stay_in_the_root_whatever_the_image_links_to() {
        let outside = tempfile::tempdir().unwrap();
        let dir = tempfile::tempdir().unwrap();
        symlink(outside.path(), dir.path().join("etc")).unwrap();
        symlink("../../../..", dir.path().join("up")).unwrap();
        symlink(outside.path().join("x"), dir.path().join("link")).unwrap();
        let root = root(dir.path());
        // An absolute link means the same path below the root, where it leads nowhere.
        assert!(place(&root, Path::new("/etc/app/x"), b"1", 0o644, &me()).is_err());
        place(&root, Path::new("/up/y"), b"2", 0o600, &me()).unwrap();
        place(&root, Path::new("/link"), b"3", 0o644, &me()).unwrap();
        assert_eq!(fs::read(dir.path().join("y")).unwrap(), b"2");
        assert_eq!(fs::read(dir.path().join("link")).unwrap(), b"3");
        assert_eq!(dir.path().join("y").metadata().unwrap().permissions().mode() & 0o7777, 0o600);
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
    }
}
