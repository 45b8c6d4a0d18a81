//! A layer made of this machine's files: the same files always make the same bytes.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use flate2::{Compression, GzBuilder};
use ring::digest::{SHA256, digest};
use tar::{Builder, EntryType, Header};

use super::{
    content::{Entry, Kind},
    dockerfile::Step,
};

/// A layer as registries keep it.
#[derive(Debug)]
pub(in crate::cli) struct Layer {
    /// Compressed.
    pub(in crate::cli) bytes: Vec<u8>,
    /// The digest of `bytes`.
    pub(in crate::cli) digest: String,
    /// The digest of the archive.
    pub(in crate::cli) diff_id: String,
}

/// What a layer holds, by path in the image.
#[derive(Debug, Default)]
pub(in crate::cli) struct Tree(BTreeMap<PathBuf, Node>);

#[derive(Debug)]
enum Node {
    Directory,
    File { from: PathBuf, executable: bool },
    Link(PathBuf),
}

impl Tree {
    /// A directory that belongs to root.
    pub(in crate::cli) fn directory(&mut self, path: &Path) {
        self.0.entry(path.to_owned()).or_insert(Node::Directory);
    }

    /// A file of this machine that can be executed.
    #[cfg(target_os = "linux")]
    pub(in crate::cli) fn program(&mut self, path: &Path, from: PathBuf) {
        self.0.insert(path.to_owned(), Node::File { from, executable: true });
    }

    /// What a `COPY` adds.
    ///
    /// # Errors
    /// What is to be copied is not in the folder, or `.dockerignore` keeps it out: with its name.
    pub(super) fn copy(&mut self, step: &Step, dir: &Path, entries: &[Entry]) -> Result<(), PathBuf> {
        let Step::Copy { from, to, into_directory } = step else { return Ok(()) };
        for source in from {
            let mut found = false;
            for entry in entries {
                let Ok(rest) = entry.path.strip_prefix(source) else { continue };
                found = true;
                let is_file = rest.as_os_str().is_empty();
                let target = match (is_file, into_directory) {
                    (true, false) => to.clone(),
                    (true, true) => to.join(source.file_name().unwrap_or_default()),
                    (false, _) => to.join(rest),
                };
                self.add(&target, entry, dir);
            }
            if !found {
                return Err(source.clone());
            }
        }
        Ok(())
    }

    /// All these entries below a directory of the image.
    pub(super) fn all_below(&mut self, to: &Path, dir: &Path, entries: &[Entry]) {
        entries.iter().for_each(|entry| self.add(&to.join(&entry.path), entry, dir));
    }

    fn add(&mut self, target: &Path, entry: &Entry, dir: &Path) {
        let node = match &entry.kind {
            Kind::Link(to) => Node::Link(to.clone()),
            Kind::File { executable } => Node::File { from: dir.join(&entry.path), executable: *executable },
        };
        self.0.insert(target.to_owned(), node);
    }

    /// The layer: everything is root's, readable by all, without times.
    ///
    /// # Errors
    /// A file cannot be read.
    pub(in crate::cli) fn pack(&self) -> io::Result<Layer> {
        let mut archive = Builder::new(Vec::new());
        for (path, node) in &self.0 {
            let path = path.strip_prefix("/").unwrap_or(path);
            let mut header = Header::new_gnu();
            header.set_mtime(0);
            header.set_uid(0);
            header.set_gid(0);
            header.set_size(0);
            match node {
                Node::Directory => {
                    header.set_entry_type(EntryType::Directory);
                    header.set_mode(0o755);
                    archive.append_data(&mut header, path, io::empty())?;
                }
                Node::Link(to) => {
                    header.set_entry_type(EntryType::Symlink);
                    header.set_mode(0o777);
                    archive.append_link(&mut header, path, to)?;
                }
                Node::File { from, executable } => {
                    let content = fs::read(from)?;
                    header.set_size(content.len() as u64);
                    header.set_mode(if *executable { 0o755 } else { 0o644 });
                    archive.append_data(&mut header, path, content.as_slice())?;
                }
            }
        }
        let archive = archive.into_inner()?;
        let mut packed = GzBuilder::new().mtime(0).write(Vec::new(), Compression::default());
        io::Write::write_all(&mut packed, &archive)?;
        let bytes = packed.finish()?;
        Ok(Layer { digest: sha256(&bytes), diff_id: sha256(&archive), bytes })
    }
}

/// A digest as registries write it.
pub(in crate::cli) fn sha256(bytes: &[u8]) -> String {
    let hex: String = digest(&SHA256, bytes).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::deploy::{content, dockerfile};

    #[test]
    fn files_go_where_docker_would_put_them() {
        let dir = tempfile::tempdir().unwrap();
        for path in ["main.py", "sub/a.txt", "sub/deep/b.txt", "secret"] {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "x").unwrap();
        }
        fs::write(dir.path().join(".dockerignore"), "secret\n").unwrap();
        let entries = content::entries(dir.path()).unwrap();
        let text = "FROM x\nWORKDIR /app\nCOPY main.py ./\nCOPY main.py /opt/run\nCOPY sub ./other\nCOPY . /all\n";
        let recipe = dockerfile::read(text, &[]).unwrap();
        let pack = || {
            let mut tree = Tree::default();
            for step in &recipe.steps {
                tree.copy(step, dir.path(), &entries).unwrap();
            }
            tree.pack().unwrap()
        };
        let (first, second) = (pack(), pack());
        assert_eq!((&first.digest, &first.diff_id), (&second.digest, &second.diff_id));
        let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(first.bytes.as_slice()));
        let names: Vec<_> = archive
            .entries()
            .unwrap()
            .map(|entry| entry.unwrap().path().unwrap().to_string_lossy().into_owned())
            .collect();
        let expected = [
            "all/main.py",
            "all/sub/a.txt",
            "all/sub/deep/b.txt",
            "app/main.py",
            "app/other/a.txt",
            "app/other/deep/b.txt",
            "opt/run",
        ];
        assert_eq!(names, expected);
        let missing = dockerfile::read("FROM x\nCOPY secret /x\n", &[]).unwrap();
        assert_eq!(Tree::default().copy(&missing.steps[0], dir.path(), &entries), Err("secret".into()));
    }
}
