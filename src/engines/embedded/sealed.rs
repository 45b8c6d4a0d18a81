//! The program that shims execute: a copy in memory that nobody can write to.
//!
//! A container's process 1 is a fork of the shim, so `/proc/1/exe` leads to the program. Were that the file on the disk,
//! a container that breaks its bounds could change what the service executes next. The copy also stays the one that
//! this service was started from, whatever an upgrade puts in the file's place.

use std::{
    collections::HashMap,
    fs::File,
    io,
    os::fd::{AsRawFd, OwnedFd},
    path::{Path, PathBuf},
    sync::{Mutex, OnceLock, PoisonError},
};

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};

/// Once for each program, as long as the process lives.
static COPIES: OnceLock<Mutex<HashMap<PathBuf, OwnedFd>>> = OnceLock::new();

/// A path by which this process can execute the copy. Blocks.
pub(super) fn copy_of(program: &Path) -> io::Result<PathBuf> {
    let mut copies = COPIES.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
    let copy = match copies.get(program) {
        Some(copy) => copy.as_raw_fd(),
        None => {
            let copy = seal(program)?;
            let number = copy.as_raw_fd();
            copies.insert(program.to_owned(), copy);
            number
        }
    };
    // Seen by the child that executes it, which has the file open until then.
    Ok(PathBuf::from(format!("/proc/self/fd/{copy}")))
}

fn seal(program: &Path) -> io::Result<OwnedFd> {
    let mut source = File::open(program)?;
    let mut copy = File::from(memfd_create("haulier", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?);
    io::copy(&mut source, &mut copy)?;
    fcntl_add_seals(&copy, SealFlags::WRITE | SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
    Ok(copy.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_copy_runs_and_cannot_be_written() {
        let path = copy_of(Path::new("/bin/true")).unwrap();
        assert_eq!(path, copy_of(Path::new("/bin/true")).unwrap(), "it is made once");
        assert!(std::process::Command::new(&path).status().unwrap().success());
        let error =
            std::fs::OpenOptions::new().write(true).open(&path).and_then(|mut file| io::Write::write(&mut file, b"x"));
        assert!(error.is_err());
    }
}
