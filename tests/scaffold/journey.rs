//! What a new developer does, counted and timed; and each project's own tests in its own container.

use std::{io::Write, time::Instant};

use crate::project::{Project, in_container, infra, python, service};

#[test]
fn from_an_empty_folder_to_the_first_run() {
    const TEST: &str = "from_an_empty_folder_to_the_first_run";
    let Some(server) = infra(TEST, "HAULIER_TEST_REGISTRY") else { return };
    let Some(base) = infra(TEST, "HAULIER_TEST_PYTHON_BASE") else { return };
    let Some(()) = python(TEST) else { return };
    let cli = service();
    let begin = Instant::now();
    let project = Project::init("python", &base);
    let registry = format!("{server}/scaffold");
    let commands: [&[&str]; 3] = [
        &["dev"],
        &["deploy", "--run", "--builder", "docker", "--registry", &registry],
        &["run", project.name(), "--follow"],
    ];
    let mut told = Vec::new();
    for command in commands {
        let at = Instant::now();
        let ended = project.run(&cli, command);
        assert_eq!(ended.code, 0, "{command:?}: {ended:?}");
        told.push(format!("{} {:.1} s", command[0], at.elapsed().as_secs_f64()));
    }
    let state = cli.json(&["state", "show", project.name()]);
    assert_eq!(state["state"]["since"], 6, "two runs of three records each: {state}");
    let seconds = begin.elapsed().as_secs_f64();
    // Not `eprintln!`, which the test harness would swallow.
    let line = format!("init and {} commands in {seconds:.1} s: {}\n", told.len(), told.join(", "));
    std::io::stderr().write_all(line.as_bytes()).unwrap();
}

#[test]
fn a_pipelines_tests_pass_in_its_container() {
    const TEST: &str = "a_pipelines_tests_pass_in_its_container";
    let Some(server) = infra(TEST, "HAULIER_TEST_REGISTRY") else { return };
    let Some(base) = infra(TEST, "HAULIER_TEST_PYTHON_BASE") else { return };
    let Some(()) = python(TEST) else { return };
    let (cli, project) = (service(), Project::init("python-pipeline", &base));
    // What a cloud's client needs is much, and not needed here.
    project.edit("requirements.txt", "[pipeline,azure]", "[pipeline]");
    for secret in ["api-token", "storage"] {
        assert_eq!(cli.with_input(&["secret", "set", &format!("{}-{secret}", project.name())], "x").code, 0);
    }
    let registry = format!("{server}/scaffold");
    // The packages come from where this machine's pip gets them.
    let ended = project.run(&cli, &["deploy", "--builder", "none", "--registry", &registry]);
    assert_eq!(ended.code, 0, "{ended:?}");
    let image = cli.json(&["job", "show", project.name()])["spec"]["image"].as_str().unwrap().to_owned();
    let tests = project.path().join("tests");
    let words = ["python", "-m", "unittest", "discover", "tests"];
    let (passed, said) = in_container(&image, &tests, "/app/tests", &words);
    assert!(passed, "{said}");
}

#[test]
fn the_projects_own_tests_pass_in_their_containers() {
    const TEST: &str = "the_projects_own_tests_pass_in_their_containers";
    let Some(server) = infra(TEST, "HAULIER_TEST_REGISTRY") else { return };
    let cli = service();
    for (template, base, words) in [
        ("python", "HAULIER_TEST_PYTHON_BASE", ["python", "-m", "unittest", "discover", "tests"].as_slice()),
        ("shell", "HAULIER_TEST_IMAGE", ["sh", "tests/test_main.sh"].as_slice()),
        ("node", "HAULIER_TEST_NODE_BASE", ["node", "--test", "tests/"].as_slice()),
    ] {
        let what = format!("{TEST}, {template}");
        let Some(base) = infra(&what, base) else { continue };
        if template == "python" && python(&what).is_none() {
            continue;
        }
        let project = Project::init(template, &base);
        let registry = format!("{server}/scaffold");
        let ended = project.run(&cli, &["deploy", "--builder", "docker", "--registry", &registry, "--run"]);
        assert_eq!(ended.code, 0, "{template}: {ended:?}");
        let image = cli.json(&["job", "show", project.name()])["spec"]["image"].as_str().unwrap().to_owned();
        let (passed, said) = in_container(&image, &project.path().join("tests"), "/app/tests", words);
        assert!(passed, "{template}: {said}");
    }
}
