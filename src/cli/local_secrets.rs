//! The values of a job's secrets on this machine, in a file that git ignores.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use secrecy::SecretString;

use super::{exit::Usage, output::Output, workspace::Workspace};

/// Where they are: `.haulier/secrets.env` in the project.
pub(super) fn path(workspace: &Workspace) -> PathBuf {
    workspace.local().join("secrets.env")
}

/// The values by name: lines of `NAME=value`; quotes around a value are left out. A warning where git would keep them.
///
/// # Errors
/// The file cannot be read. What is wrong in it is told without the line, which has a secret in it.
pub(super) fn read(workspace: &Workspace) -> anyhow::Result<BTreeMap<String, SecretString>> {
    let path = path(workspace);
    let secrets = parse(&path)?;
    if path.exists() && !is_ignored(workspace, &path) {
        Output::important(format_args!("warning: git does not ignore {}: add .haulier/ to .gitignore", path.display()));
    }
    Ok(secrets)
}

fn parse(path: &Path) -> anyhow::Result<BTreeMap<String, SecretString>> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(Usage(format!("{} cannot be read: {error}", path.display())).into()),
    };
    let mut secrets = BTreeMap::new();
    for (number, line) in text.lines().map(str::trim).enumerate() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let Some((name, value)) = line.split_once('=').filter(|(name, _)| !name.trim().is_empty()) else {
            return Err(Usage(format!("{}, line {}: write NAME=value", path.display(), number + 1)).into());
        };
        let name = name.trim().trim_start_matches("export ").trim_start();
        secrets.insert(name.to_owned(), SecretString::from(unquoted(value.trim())));
    }
    Ok(secrets)
}

fn unquoted(value: &str) -> &str {
    let inner = |quote| value.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
    inner('"').or_else(|| inner('\'')).unwrap_or(value)
}

/// Whether git leaves the file alone; also where there is no git at all.
fn is_ignored(workspace: &Workspace, path: &Path) -> bool {
    let relative = path.strip_prefix(&workspace.dir).unwrap_or(path);
    let mut git = std::process::Command::new("git");
    let asked = git.arg("check-ignore").arg("--quiet").arg(relative).current_dir(&workspace.dir).output();
    // 1 = it does not ignore it; anything else is no answer.
    asked.map_or(true, |answer| answer.status.code() != Some(1))
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn secrets_are_read_as_people_write_them() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secrets.env");
        fs::write(&path, "# comment\n\nA=plain=with#all $signs\nexport B=\"quoted \"\n C = 'it''s'\n").unwrap();
        let secrets = parse(&path).unwrap();
        let values: Vec<_> = secrets.iter().map(|(name, value)| (name.as_str(), value.expose_secret())).collect();
        assert_eq!(values, [("A", "plain=with#all $signs"), ("B", "quoted "), ("C", "it''s")]);
        fs::write(&path, "A=1\nhunter2\n").unwrap();
        let error = parse(&path).unwrap_err().to_string();
        assert!(error.contains("line 2") && !error.contains("hunter2"), "{error}");
        assert!(parse(&dir.path().join("none")).unwrap().is_empty());
    }
}
