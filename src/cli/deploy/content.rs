//! What goes into an image, as one hash: what has the same content need not be built again.

use std::{
    fs,
    io::{self, Read},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use ignore::gitignore::{Gitignore, GitignoreBuilder};
use ring::digest::{Context, SHA256};

use crate::cli::{builder::BuildArgs, exit::Usage};

/// More files than a script needs: something is in the folder that does not belong into the image.
const MOST_FILES: usize = 20_000;
/// More bytes than a script needs.
const MOST_BYTES: u64 = 512 * 1024 * 1024;

/// One thing that goes into the image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// Where, in the folder.
    pub(super) path: PathBuf,
    /// What it is.
    pub(super) kind: Kind,
}

/// What an entry is. Directories are known by what is in them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// A file.
    File {
        /// Whether it may be executed.
        executable: bool,
    },
    /// A symbolic link to there.
    Link(PathBuf),
}

/// All that `.dockerignore` lets into the image, by path.
///
/// # Errors
/// A file cannot be read, or there is more than any script needs.
pub(super) fn entries(dir: &Path) -> anyhow::Result<Vec<Entry>> {
    let ignored = dockerignore(dir)?;
    let mut entries = Vec::new();
    let mut bytes = 0;
    let mut walk = ignore::WalkBuilder::new(dir);
    walk.standard_filters(false).follow_links(false).sort_by_file_name(Ord::cmp);
    for found in walk.build() {
        let found = found?;
        let kind = found.file_type();
        let path = found.path().strip_prefix(dir)?.to_owned();
        if kind.is_none_or(|kind| kind.is_dir()) || ignored.matched_path_or_any_parents(&path, false).is_ignore() {
            continue;
        }
        let meta = found.metadata()?;
        bytes += meta.len();
        if entries.len() >= MOST_FILES || bytes > MOST_BYTES {
            let told = format!(
                "{} has more than {MOST_FILES} files or {} MB for the image: name in .dockerignore what does not belong \
                 there",
                dir.display(),
                MOST_BYTES / 1024 / 1024
            );
            return Err(Usage(told).into());
        }
        let kind = if meta.is_symlink() {
            Kind::Link(fs::read_link(found.path())?)
        } else {
            Kind::File { executable: meta.permissions().mode() & 0o100 != 0 }
        };
        entries.push(Entry { path, kind });
    }
    entries.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(entries)
}

/// Docker's patterns begin at the folder, git's anywhere.
fn dockerignore(dir: &Path) -> anyhow::Result<Gitignore> {
    let text = match fs::read_to_string(dir.join(".dockerignore")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        text => text?,
    };
    let mut patterns = GitignoreBuilder::new("");
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (not, pattern) = line.strip_prefix('!').map_or(("", line), |rest| ("!", rest));
        let pattern = pattern.trim_start_matches("./").trim_start_matches('/');
        patterns.add_line(None, &format!("{not}/{pattern}"))?;
    }
    // Docker itself reads these, whatever the patterns say, and puts them into no image.
    patterns.add_line(None, "/.dockerignore")?;
    Ok(patterns.build()?)
}

/// The tag that names this content: `content-` and half of its hash.
///
/// # Errors
/// A file cannot be read.
pub(super) fn tag(dir: &Path, entries: &[Entry], build: &BuildArgs) -> anyhow::Result<String> {
    let mut hash = Context::new(&SHA256);
    let mut add = |bytes: &[u8]| {
        hash.update(&bytes.len().to_le_bytes());
        hash.update(bytes);
    };
    // Also where it is ignored: it says what becomes of all else.
    add(&fs::read(dir.join("Dockerfile"))?);
    for (key, value) in &build.args {
        add(key.as_bytes());
        add(value.as_bytes());
    }
    if let Some(platform) = &build.platform {
        add(platform.as_bytes());
    }
    for entry in entries {
        add(entry.path.as_os_str().as_encoded_bytes());
        match &entry.kind {
            Kind::Link(to) => {
                add(b"link");
                add(to.as_os_str().as_encoded_bytes());
            }
            Kind::File { executable } => {
                add(if *executable { b"program" } else { b"file" });
                add(&file_hash(&dir.join(&entry.path))?);
            }
        }
    }
    let hex: String = hash.finish().as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("content-{hex}"))
}

fn file_hash(path: &Path) -> io::Result<Vec<u8>> {
    let mut hash = Context::new(&SHA256);
    let mut file = fs::File::open(path)?;
    let mut piece = vec![0; 64 * 1024];
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(hash.finish().as_ref().to_vec()),
            read => hash.update(&piece[..read]),
        }
    }
}

/// What the Dockerfile builds on, if it says so in a way that is easy to read.
pub(in crate::cli) fn base_image(dir: &Path, build_args: &[(String, String)]) -> Option<String> {
    let text = fs::read_to_string(dir.join("Dockerfile")).ok()?;
    let mut known: Vec<(String, String)> = Vec::new();
    for line in text.lines().map(str::trim) {
        let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        if word.eq_ignore_ascii_case("ARG") {
            let (key, default) = rest.split_once('=').unwrap_or((rest, ""));
            let given = build_args.iter().find(|(given, _)| given == key).map(|(_, value)| value.as_str());
            known.push((key.trim().to_owned(), given.unwrap_or(default).trim_matches('"').to_owned()));
        } else if word.eq_ignore_ascii_case("FROM") {
            let image = rest.split_whitespace().find(|word| !word.starts_with("--"))?;
            return Some(known.iter().fold(image.to_owned(), |image, (key, value)| {
                image.replace(&format!("${{{key}}}"), value).replace(&format!("${key}"), value)
            }));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        dir
    }

    #[test]
    fn what_docker_ignores_does_not_count() {
        let ignore = ".*\nREADME.md\ntests\n**/__pycache__\n!tests/keep\n";
        let dir = folder(&[
            (".dockerignore", ignore),
            (".git/HEAD", "x"),
            ("README.md", "x"),
            ("sub/README.md", "x"),
            ("sub/__pycache__/a.pyc", "x"),
            ("tests/a", "x"),
            ("main.py", "x"),
            ("Dockerfile", "FROM x"),
        ]);
        let paths: Vec<_> = entries(dir.path()).unwrap().into_iter().map(|entry| entry.path).collect();
        assert_eq!(paths, ["Dockerfile", "main.py", "sub/README.md"].map(PathBuf::from));
    }

    #[test]
    fn the_tag_follows_the_content_and_nothing_else() {
        let dir = folder(&[("main.py", "print()"), ("Dockerfile", "FROM x")]);
        let tag = |args: &[(String, String)]| {
            let build = BuildArgs { args: args.to_vec(), ..BuildArgs::default() };
            tag(dir.path(), &entries(dir.path()).unwrap(), &build).unwrap()
        };
        let first = tag(&[]);
        assert!(first.len() == 24 && first.starts_with("content-"), "{first}");
        fs::write(dir.path().join("main.py"), "print()").unwrap();
        assert_eq!(tag(&[]), first);
        assert_ne!(tag(&[("A".to_owned(), "1".to_owned())]), first);
        fs::write(dir.path().join("main.py"), "print(1)").unwrap();
        assert_ne!(tag(&[]), first);
        fs::write(dir.path().join("main.py"), "print()").unwrap();
        fs::set_permissions(dir.path().join("main.py"), fs::Permissions::from_mode(0o755)).unwrap();
        assert_ne!(tag(&[]), first);
    }

    #[test]
    fn the_base_image_is_found() {
        let dir = folder(&[("Dockerfile", "# x\nARG BASE_IMAGE=python:3\nFROM --platform=x ${BASE_IMAGE} AS y\n")]);
        assert_eq!(base_image(dir.path(), &[]).unwrap(), "python:3");
        let args = [("BASE_IMAGE".to_owned(), "r.example.com/p:1".to_owned())];
        assert_eq!(base_image(dir.path(), &args).unwrap(), "r.example.com/p:1");
    }
}
