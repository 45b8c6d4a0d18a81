//! The `haulier` Python package as a wheel, made from the sources that this binary was built with: it always fits the
//! service, and needs no package index.

use std::{
    collections::BTreeMap,
    io::{Cursor, Write},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::digest::{SHA256, digest};
use rust_embed::RustEmbed;
use serde::Deserialize;
use zip::{CompressionMethod, DateTime, ZipWriter, write::SimpleFileOptions};

#[derive(RustEmbed)]
#[folder = "sdk/python/src"]
#[include = "haulier/*"]
#[exclude = "*.pyc"]
struct Sources;

/// The extra that what the package always depends on belongs to here: its client for the service needs it, and scripts
/// that the service runs have no use for that. So they need nothing but Python.
const CLIENT: &str = "client";

/// What the package says about itself.
const PROJECT: &str = include_str!("../../sdk/python/pyproject.toml");

#[derive(Debug, Deserialize)]
struct Document {
    project: Project,
}

/// The fields of `[project]` that go into a wheel.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Project {
    name: String,
    version: String,
    description: String,
    license: String,
    requires_python: String,
    #[serde(default)]
    dependencies: Vec<String>,
    #[serde(default)]
    optional_dependencies: BTreeMap<String, Vec<String>>,
}

/// A wheel. The same binary always makes the same bytes.
#[derive(Debug)]
pub struct Wheel {
    file_name: String,
    bytes: Vec<u8>,
}

impl Wheel {
    /// The package as this binary brings it.
    ///
    /// # Panics
    /// Never: what it is made of is in the binary, and a test makes it.
    #[must_use]
    pub fn of_this_version() -> Self {
        let Document { project } = toml::from_str(PROJECT).expect("a test reads it");
        let stem = format!("{}-{}", project.name, project.version);
        let bytes = pack(&stem, &project).expect("writing to memory does not fail");
        Self { file_name: format!("{stem}-py3-none-any.whl"), bytes }
    }

    /// What installers want it to be called.
    #[must_use]
    pub fn file_name(&self) -> &str {
        &self.file_name
    }

    /// What is in it.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

/// The archive that the packaging standards describe, in the order of paths, without times.
fn pack(stem: &str, project: &Project) -> zip::result::ZipResult<Vec<u8>> {
    let about = format!("{stem}.dist-info");
    let mut files: BTreeMap<String, Vec<u8>> = Sources::iter()
        .filter_map(|path| Sources::get(&path).map(|file| (path.into_owned(), file.data.into_owned())))
        .collect();
    files.insert(format!("{about}/METADATA"), metadata(project).into_bytes());
    let format = "Wheel-Version: 1.0\nGenerator: haulier\nRoot-Is-Purelib: true\nTag: py3-none-any\n";
    files.insert(format!("{about}/WHEEL"), format.into());
    let mut record = String::new();
    for (path, content) in &files {
        let hash = URL_SAFE_NO_PAD.encode(digest(&SHA256, content));
        record += &format!("{path},sha256={hash},{}\n", content.len());
    }
    record += &format!("{about}/RECORD,,\n");
    // Last, as the standard wants it.
    let record = (format!("{about}/RECORD"), record.into_bytes());

    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Stored)
        .last_modified_time(DateTime::default())
        .unix_permissions(0o644);
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    for (path, content) in files.into_iter().chain([record]) {
        archive.start_file(path, options)?;
        archive.write_all(&content)?;
    }
    Ok(archive.finish()?.into_inner())
}

fn metadata(project: &Project) -> String {
    let Project { name, version, description, license, requires_python, dependencies, optional_dependencies } = project;
    let mut text = format!(
        "Metadata-Version: 2.4\nName: {name}\nVersion: {version}\nSummary: {description}\n\
         License-Expression: {license}\nRequires-Python: {requires_python}\n"
    );
    let client = (!dependencies.is_empty()).then_some((CLIENT, dependencies));
    for (extra, dependencies) in
        client.into_iter().chain(optional_dependencies.iter().map(|(name, of)| (name.as_str(), of)))
    {
        text += &format!("Provides-Extra: {extra}\n");
        for dependency in dependencies {
            text += &format!("Requires-Dist: {}\n", only_for(extra, dependency));
        }
    }
    text
}

/// A dependency that counts only with an extra, beside the condition that it may have.
fn only_for(extra: &str, dependency: &str) -> String {
    match dependency.split_once(';') {
        Some((what, condition)) => format!("{} ; ({}) and extra == '{extra}'", what.trim(), condition.trim()),
        None => format!("{dependency} ; extra == '{extra}'"),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn it_is_whole_and_always_the_same() {
        let wheel = Wheel::of_this_version();
        assert!(wheel.file_name().starts_with("haulier-") && wheel.file_name().ends_with("-py3-none-any.whl"));
        let bytes = wheel.into_bytes();
        assert_eq!(bytes, Wheel::of_this_version().into_bytes());
        let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).unwrap();
        let names: Vec<_> = archive.file_names().map(|name| name.unwrap().into_owned()).collect();
        assert!(names.contains(&"haulier/__init__.py".to_owned()), "{names:?}");
        assert!(!names.iter().any(|name| name.contains("__pycache__")), "{names:?}");
        let record = names.last().unwrap().clone();
        let mut text = String::new();
        archive.by_name(&record).unwrap().read_to_string(&mut text).unwrap();
        for line in text.lines().filter(|line| !line.ends_with(",,")) {
            let [path, hash, size] = line.split(',').collect::<Vec<_>>()[..] else { panic!("{line}") };
            let mut content = Vec::new();
            archive.by_name(path).unwrap().read_to_end(&mut content).unwrap();
            assert_eq!(content.len().to_string(), size);
            assert_eq!(format!("sha256={}", URL_SAFE_NO_PAD.encode(digest(&SHA256, &content))), hash);
        }
        assert_eq!(text.lines().count(), names.len());
    }

    #[test]
    fn extras_keep_their_conditions() {
        assert_eq!(only_for("x", "httpx>=1"), "httpx>=1 ; extra == 'x'");
        assert_eq!(only_for("x", "a; python_version < '3.11'"), "a ; (python_version < '3.11') and extra == 'x'");
    }
}
