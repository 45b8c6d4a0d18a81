//! The part of a Dockerfile that can be followed without running anything: copied files, settings, and Python packages.

use std::path::{Component, Path, PathBuf};

use crate::cli::exit::Usage;

/// What an image is to be made of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Recipe {
    /// What it is built on.
    pub(super) base: String,
    /// What is added, in order.
    pub(super) steps: Vec<Step>,
    /// Variables.
    pub(super) env: Vec<(String, String)>,
    /// Labels.
    pub(super) labels: Vec<(String, String)>,
    /// The directory that it runs in, if it says one.
    pub(super) workdir: Option<PathBuf>,
    /// Whom it runs as, if it says so.
    pub(super) user: Option<String>,
    /// Its entry point, if it says one.
    pub(super) entrypoint: Option<Vec<String>>,
    /// Its arguments, if it says them.
    pub(super) cmd: Option<Vec<String>>,
}

/// Something that is added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// Files of the project.
    Copy {
        /// What, below the project's folder.
        from: Vec<PathBuf>,
        /// Where to, in the image.
        to: PathBuf,
        /// Whether `to` is a directory, whatever is copied.
        into_directory: bool,
    },
    /// Python packages, as this file of the project lists them.
    PipInstall(PathBuf),
}

/// Reads a Dockerfile.
///
/// # Errors
/// It says something that only a builder can do: with its line.
pub(super) fn read(text: &str, build_args: &[(String, String)]) -> Result<Recipe, Usage> {
    let mut recipe = Recipe::default();
    let mut known: Vec<(String, String)> = Vec::new();
    for (number, line) in joined(text) {
        let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((&line, ""));
        let refused = |why: &str| {
            Usage(format!(
                "Dockerfile, line {number}: {why}: without a builder an image can be made of a base image, copied files \
                 and `pip install -r`; for more, install docker, podman or buildah"
            ))
        };
        let filled = |text: &str| {
            let text = known.iter().fold(text.to_owned(), |text, (key, value)| {
                text.replace(&format!("${{{key}}}"), value).replace(&format!("${key}"), value)
            });
            if text.contains('$') { Err(refused("what the variable means is not known")) } else { Ok(text) }
        };
        let rest = rest.trim();
        let has_base = !recipe.base.is_empty();
        match word.to_ascii_uppercase().as_str() {
            "ARG" => {
                let (key, default) = rest.split_once('=').unwrap_or((rest, ""));
                let given = build_args.iter().find(|(given, _)| given == key).map(|(_, value)| value.clone());
                known.push((key.to_owned(), given.unwrap_or_else(|| unquoted(default).to_owned())));
            }
            "FROM" if has_base => return Err(refused("there are several stages")),
            "FROM" => {
                let words: Vec<_> = rest.split_whitespace().collect();
                let [image] = words[..] else { return Err(refused("FROM has options")) };
                recipe.base = filled(image)?;
            }
            _ if !has_base => return Err(refused("it does not begin with FROM")),
            "WORKDIR" => recipe.workdir = Some(absolute(recipe.workdir.as_deref(), &filled(rest)?)),
            "USER" => recipe.user = Some(filled(rest)?),
            "ENV" => recipe.env.extend(pairs(&filled(rest)?).ok_or_else(|| refused("write ENV KEY=VALUE"))?),
            "LABEL" => recipe.labels.extend(pairs(&filled(rest)?).ok_or_else(|| refused("write LABEL KEY=VALUE"))?),
            "ENTRYPOINT" => {
                recipe.entrypoint = Some(words(rest).ok_or_else(|| refused("write it as a JSON list"))?);
            }
            "CMD" => recipe.cmd = Some(words(rest).ok_or_else(|| refused("write it as a JSON list"))?),
            "COPY" => recipe.steps.push(copy(&filled(rest)?, recipe.workdir.as_deref()).map_err(refused)?),
            "RUN" => recipe.steps.push(pip_install(rest).ok_or_else(|| refused("RUN runs something"))?),
            "EXPOSE" => {}
            other => return Err(refused(&format!("{other} is not known"))),
        }
    }
    if recipe.base.is_empty() {
        return Err(Usage("the Dockerfile has no FROM".to_owned()));
    }
    Ok(recipe)
}

/// Instructions with the number of their first line: comments left out, continued lines joined.
fn joined(text: &str) -> Vec<(usize, String)> {
    let mut lines: Vec<(usize, String)> = Vec::new();
    let mut goes_on = false;
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (part, more) = line.strip_suffix('\\').map_or((line, false), |part| (part.trim_end(), true));
        match lines.last_mut().filter(|_| goes_on) {
            Some((_, whole)) => *whole = format!("{whole} {part}"),
            None => lines.push((number + 1, part.to_owned())),
        }
        goes_on = more;
    }
    lines
}

/// `A=1 B="two words"`; `None` when it is anything else.
fn pairs(text: &str) -> Option<Vec<(String, String)>> {
    let mut pairs = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let (key, value) = rest.split_once('=')?;
        let (value, after) = match value.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => value.split_once(char::is_whitespace).unwrap_or((value, "")),
        };
        if key.contains(char::is_whitespace) {
            return None;
        }
        pairs.push((key.to_owned(), value.to_owned()));
        rest = after.trim_start();
    }
    Some(pairs)
}

fn words(text: &str) -> Option<Vec<String>> {
    serde_json::from_str(text).ok()
}

fn unquoted(text: &str) -> &str {
    text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(text)
}

/// A path of the image, seen from the directory that it works in.
fn absolute(workdir: Option<&Path>, path: &str) -> PathBuf {
    let joined = workdir.unwrap_or(Path::new("/")).join(path);
    joined.components().filter(|part| *part != Component::CurDir).collect()
}

fn copy(rest: &str, workdir: Option<&Path>) -> Result<Step, &'static str> {
    let mut paths: Vec<&str> = rest.split_whitespace().collect();
    if rest.contains(['*', '?', '[', '"']) {
        return Err("COPY has patterns or quotes");
    }
    if paths.iter().any(|path| path.starts_with("--")) {
        return Err("COPY has options");
    }
    let Some(to) = paths.pop().filter(|_| !paths.is_empty()) else { return Err("write COPY FROM TO") };
    let from = paths.iter().map(|path| Path::new(path.trim_start_matches('/')));
    let from: Vec<PathBuf> =
        from.map(|path| path.components().filter(|part| *part != Component::CurDir).collect()).collect();
    if from.iter().any(|path| path.components().any(|part| part == Component::ParentDir)) {
        return Err("COPY leads out of the folder");
    }
    let into_directory = to.ends_with('/') || to == "." || to.ends_with("/.") || from.len() > 1;
    Ok(Step::Copy { from, to: absolute(workdir, to), into_directory })
}

/// `pip install -r FILE`, with options that do not matter here.
fn pip_install(rest: &str) -> Option<Step> {
    let mut words = rest.split_whitespace().filter(|word| {
        !matches!(*word, "--no-cache-dir" | "--no-compile" | "--quiet" | "-q" | "--disable-pip-version-check")
    });
    let begin: Vec<_> = words.by_ref().take(2).collect();
    match (begin.as_slice(), words.collect::<Vec<_>>().as_slice()) {
        (["pip" | "pip3", "install"], ["-r" | "--requirement", file]) => Some(Step::PipInstall(PathBuf::from(*file))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_templates_are_understood() {
        use crate::scaffold::Template;
        for (template, steps) in [(Template::Python, 4), (Template::Shell, 1), (Template::Node, 1)] {
            let files = template.files(&"a".parse().unwrap(), "base.example.com/x:1").unwrap();
            let file = files.iter().find(|file| file.path.as_os_str() == "Dockerfile").unwrap();
            let recipe = read(std::str::from_utf8(&file.content).unwrap(), &[]).unwrap();
            assert_eq!(recipe.base, "base.example.com/x:1");
            assert_eq!((recipe.steps.len(), recipe.user.as_deref()), (steps, Some("65534:65534")), "{template:?}");
            assert_eq!(recipe.workdir, Some("/app".into()));
        }
    }

    #[test]
    fn paths_and_words_are_read_as_docker_does() {
        let text = "ARG V=1\nFROM x:$V\nWORKDIR /srv\nWORKDIR app\nCOPY a b/ ./c\nCOPY ./main.py /opt/run.py\n\
                    ENV A=1 \\\n  B=\"two words\"\nCMD [\"a\", \"b c\"]\n";
        let recipe = read(text, &[("V".to_owned(), "2".to_owned())]).unwrap();
        assert_eq!(recipe.base, "x:2");
        assert_eq!(recipe.workdir, Some("/srv/app".into()));
        let copy = |from: &[&str], to: &str, into_directory| Step::Copy {
            from: from.iter().map(PathBuf::from).collect(),
            to: to.into(),
            into_directory,
        };
        assert_eq!(recipe.steps, [copy(&["a", "b"], "/srv/app/c", true), copy(&["main.py"], "/opt/run.py", false)]);
        assert_eq!(recipe.env[1], ("B".to_owned(), "two words".to_owned()));
        assert_eq!(recipe.cmd.unwrap()[1], "b c");
    }

    #[test]
    fn what_needs_a_builder_is_told_with_its_line() {
        for (text, line) in [
            ("FROM x\n\n# y\nRUN apt-get update\n", 4),
            ("FROM x\nRUN pip install httpx\n", 2),
            ("FROM x\nCOPY --from=a b c\n", 2),
            ("FROM x\nCOPY package*.json ./\n", 2),
            ("FROM x\nCOPY ../secret .\n", 2),
            ("FROM x AS y\n", 1),
            ("FROM x\nFROM y\n", 2),
            ("FROM x\nENV PATH=$PATH:/x\n", 2),
            ("RUN true\n", 1),
            ("FROM x\nCMD run it\n", 2),
        ] {
            let error = read(text, &[]).unwrap_err().to_string();
            assert!(error.starts_with(&format!("Dockerfile, line {line}: ")), "{text:?}: {error}");
        }
    }
}
