//! New projects: the files that `haulier init` writes, from `templates/scaffold`.

mod wheel;

use std::path::PathBuf;

use clap::ValueEnum;
use minijinja::{AutoEscape, Environment, UndefinedBehavior, context, syntax::SyntaxConfig};
use rust_embed::RustEmbed;

pub use wheel::Wheel;

use crate::domain::Name;

/// The templates, one folder each; a project is made of one or several of them.
#[derive(RustEmbed)]
#[folder = "templates/scaffold"]
#[exclude = "*.pyc"]
#[exclude = "*/node_modules/*"]
struct Folders;

/// What a file's name ends with when it is filled in.
const FILLED_IN: &str = ".j2";

/// What a project is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Template {
    /// A Python script
    Python,
    /// A Python script that loads an HTTP API into a data lake
    PythonPipeline,
    /// A shell script
    Shell,
    /// A JavaScript program for Node.js
    Node,
}

/// One file of a new project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScaffoldFile {
    /// Where, in the project's folder.
    pub path: PathBuf,
    /// What is in it.
    pub content: Vec<u8>,
    /// Whether it may be executed.
    pub executable: bool,
}

impl Template {
    /// Its folders; of files with the same name, that of the later folder counts.
    const fn folders(self) -> &'static [&'static str] {
        match self {
            Self::Python => &["common", "python-common", "python"],
            Self::PythonPipeline => &["common", "python-common", "python-pipeline"],
            Self::Shell => &["common", "shell"],
            Self::Node => &["common", "node"],
        }
    }

    /// What the image is built on when nobody says.
    #[must_use]
    pub const fn base_image(self) -> &'static str {
        match self {
            Self::Python | Self::PythonPipeline => "python:3.13-slim",
            Self::Shell => "busybox:1.37",
            Self::Node => "node:24-slim",
        }
    }

    /// Whether it uses the `haulier` Python package.
    const fn is_python(self) -> bool {
        matches!(self, Self::Python | Self::PythonPipeline)
    }

    /// The files of a project with this name, by their paths.
    ///
    /// # Errors
    /// A template cannot be filled in, which tests show.
    pub fn files(self, name: &Name, base_image: &str) -> Result<Vec<ScaffoldFile>, minijinja::Error> {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_auto_escape_callback(|_| AutoEscape::None);
        environment.set_syntax(SyntaxConfig::builder().keep_trailing_newline(true).build()?);
        let wheel = Wheel::of_this_version();
        let known = context! { name => name.as_str(), base_image, wheel => wheel.file_name() };
        let mut files = std::collections::BTreeMap::new();
        for folder in self.folders() {
            for source in Folders::iter() {
                let Some(path) = source.strip_prefix(folder).and_then(|path| path.strip_prefix('/')) else { continue };
                let content = Folders::get(&source).map(|file| file.data.into_owned()).unwrap_or_default();
                let (path, content) = match path.strip_suffix(FILLED_IN) {
                    Some(path) => (path, environment.render_str(&String::from_utf8_lossy(&content), &known)?.into()),
                    None => (path, content),
                };
                let executable = content.starts_with(b"#!");
                files.insert(PathBuf::from(path), ScaffoldFile { path: path.into(), content, executable });
            }
        }
        if self.is_python() {
            let path = PathBuf::from("vendor").join(wheel.file_name());
            files.insert(path.clone(), ScaffoldFile { path, content: wheel.into_bytes(), executable: false });
        }
        Ok(files.into_values().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(template: Template) -> Vec<ScaffoldFile> {
        template.files(&"load-orders".parse().unwrap(), "base.example.com/python:1").unwrap()
    }

    #[test]
    fn every_template_is_whole() {
        for template in Template::value_variants() {
            let files = files(*template);
            let has = |path: &str| files.iter().any(|file| file.path.as_os_str() == path);
            for path in ["haulier.yaml", "Dockerfile", "README.md", ".gitignore", ".dockerignore"] {
                assert!(has(path), "{template:?} has no {path}");
            }
            assert!(files.iter().any(|file| file.path.starts_with("tests")), "{template:?} has no tests");
            for file in files.iter().filter(|file| file.path.extension().is_none_or(|end| end != "whl")) {
                let text = std::str::from_utf8(&file.content).unwrap();
                let foreign = file.path.starts_with(".github");
                assert!(foreign || !text.contains("{{"), "{template:?} {:?} is not filled in", file.path);
                assert!(text.is_empty() || text.ends_with('\n'), "{template:?} {:?}", file.path);
            }
            let read = |path: &str| {
                let file = files.iter().find(|file| file.path.as_os_str() == path).unwrap();
                String::from_utf8(file.content.clone()).unwrap()
            };
            assert!(read("haulier.yaml").contains("name: load-orders\n"));
            assert!(read("Dockerfile").starts_with("ARG BASE_IMAGE=base.example.com/python:1\n"));
            assert!((5..=14).contains(&read("README.md").lines().count()), "{template:?}");
            assert!(read(".gitignore").lines().any(|line| line == ".haulier/"));
        }
    }

    #[test]
    fn python_projects_bring_the_package() {
        let files = files(Template::Python);
        let wheel = files.iter().find(|file| file.path.starts_with("vendor")).unwrap();
        let requirements = files.iter().find(|file| file.path.as_os_str() == "requirements.txt").unwrap();
        let named = std::str::from_utf8(&requirements.content).unwrap();
        assert!(named.contains(wheel.path.to_str().unwrap()), "{named}");
    }
}
