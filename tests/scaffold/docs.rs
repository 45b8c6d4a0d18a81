//! The guide for the first connector, done as it says.

use std::{
    fs,
    process::{Command, Stdio},
};

use tempfile::TempDir;

use crate::project::{infra, program, python, service};

const GUIDE: &str = include_str!("../../docs/first-connector.md");
/// Stands for what differs from one time to the next: within a line for any text, at its beginning for any lines too.
const ANYTHING: &str = "…";

/// A command of the guide, and what it prints.
#[derive(Debug)]
struct Step {
    command: String,
    expected: Vec<String>,
}

/// What stands in the guide's blocks for the console.
fn steps() -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut inside = false;
    for line in GUIDE.lines() {
        match line.strip_prefix("```") {
            Some(kind) => inside = kind == "console",
            None if !inside => {}
            None => match (line.strip_prefix("$ "), steps.last_mut()) {
                (Some(command), _) => steps.push(Step { command: command.to_owned(), expected: Vec::new() }),
                (None, Some(step)) => step.expected.push(line.to_owned()),
                (None, None) => panic!("{line:?} stands before the first command"),
            },
        }
    }
    steps
}

/// Whether this was printed. Lines that must be there are looked for in their order.
fn fits(expected: &[String], printed: &str) -> bool {
    let printed: Vec<&str> = printed.lines().collect();
    fit(&expected.iter().map(String::as_str).collect::<Vec<_>>(), &printed)
}

fn fit(expected: &[&str], printed: &[&str]) -> bool {
    let Some((first, rest)) = expected.split_first() else { return printed.is_empty() };
    let lines_may_come = first.starts_with(ANYTHING);
    let here = printed.split_first().is_some_and(|(line, after)| like(first, line) && fit(rest, after));
    let none = *first == ANYTHING && fit(rest, printed);
    here || none || (lines_may_come && !printed.is_empty() && fit(expected, &printed[1..]))
}

fn like(pattern: &str, line: &str) -> bool {
    let mut parts = pattern.split(ANYTHING);
    let Some(mut rest) = line.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let mut open = false;
    for part in parts {
        open = part.is_empty();
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    open || rest.is_empty()
}

#[test]
fn what_differs_is_left_out() {
    let fits = |expected: &str, printed: &str| fits(&expected.lines().map(str::to_owned).collect::<Vec<_>>(), printed);
    assert!(fits("a\n…\nb … c\n", "a\nb x c\n"));
    assert!(fits("a\n…\nb…\n", "a\nx\ny\nb 1\n"));
    assert!(fits("…INFO 1\n", "x\nINFO 1\n"));
    assert!(!fits("a\n", "a\nb\n") && !fits("a\nb\n", "a\n") && !fits("a … c\n", "a b d\n"));
}

#[test]
fn the_guide_prints_what_it_says() {
    const TEST: &str = "the_guide_prints_what_it_says";
    let Some(base) = infra(TEST, "HAULIER_TEST_PYTHON_BASE") else { return };
    let Some(server) = infra(TEST, "HAULIER_TEST_REGISTRY_AUTH") else { return };
    let Some(user) = infra(TEST, "HAULIER_TEST_REGISTRY_USER") else { return };
    let Some(password) = infra(TEST, "HAULIER_TEST_REGISTRY_PASSWORD") else { return };
    let (Some(()), Some(())) = (python(TEST), program(TEST, "git")) else { return };
    let cli = service();
    let dir = TempDir::new().unwrap();
    let programs = TempDir::new().unwrap();
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_haulier"), programs.path().join("haulier")).unwrap();
    let path = format!("{}:{}", programs.path().display(), std::env::var("PATH").unwrap());
    // Each command begins where the one before has left the shell.
    let (left, code) = (programs.path().join("left"), programs.path().join("code"));
    fs::write(&left, dir.path().to_str().unwrap()).unwrap();
    fs::write(&code, "0").unwrap();
    for Step { command, expected } in steps() {
        let command = command.replace("registry.example.com", &server).replace("robot", &user);
        let script = format!(
            "cd \"$(cat {left})\"; (exit $(cat {code})); {command}\necho $? > {code}; pwd > {left}",
            left = left.display(),
            code = code.display()
        );
        // The shell's own variables are none of the guide's.
        let known = cli.command(&[]);
        let mut shell = Command::new("bash");
        shell.arg("-c").arg(format!("exec 2>&1; {script}")).stdin(Stdio::null()).env("PATH", &path);
        for (name, value) in known.get_envs() {
            match value {
                Some(value) => shell.env(name, value),
                None => shell.env_remove(name),
            };
        }
        shell.envs([
            ("HAULIER_BASE_IMAGE", base.as_str()),
            ("HAULIER_REGISTRY_USER", &user),
            ("HAULIER_REGISTRY_PASSWORD", &password),
            ("REGISTRY_PASSWORD", &password),
            ("REAL_TOKEN", "the-real-token"),
            ("GIT_AUTHOR_NAME", "test"),
            ("GIT_AUTHOR_EMAIL", "test@example.com"),
            ("GIT_COMMITTER_NAME", "test"),
            ("GIT_COMMITTER_EMAIL", "test@example.com"),
        ]);
        let printed =
            String::from_utf8(shell.output().unwrap().stdout).unwrap().replace(&server, "registry.example.com");
        // What was deployed by an earlier test would not be built again.
        let own = dir.path().join("load-orders").join("own.txt");
        if own.parent().is_some_and(std::path::Path::exists) && !own.exists() {
            fs::write(own, uuid::Uuid::now_v7().to_string()).unwrap();
        }
        assert!(fits(&expected, &printed), "$ {command}\nis to print\n{}\nand prints\n{printed}", expected.join("\n"));
    }
}
