//! Images that are put together without a builder.

use crate::project::{Project, in_container, infra, python, service};

#[test]
fn a_shell_project_needs_no_builder() {
    const TEST: &str = "a_shell_project_needs_no_builder";
    let Some(server) = infra(TEST, "HAULIER_TEST_REGISTRY") else { return };
    let Some(private) = infra(TEST, "HAULIER_TEST_REGISTRY_AUTH") else { return };
    let Some(image) = infra(TEST, "HAULIER_TEST_IMAGE") else { return };
    let (cli, project) = (service(), Project::shell(&image));
    let registry = format!("{server}/scaffold");
    let deploy = ["deploy", "--builder", "none", "--registry", &registry];
    project.edit("Dockerfile", "WORKDIR /app", "WORKDIR /app\nENV GREETING=\"good day\"");
    project.edit("main.sh", "set -eu", "set -eu\necho \"$GREETING from $PWD as $(id -u)\"");
    let first = project.run(&cli, &[&deploy[..], &["--run"]].concat());
    assert_eq!(first.code, 0, "{first:?}");
    assert!(first.stdout.contains("good day from /app as 65534\nthis is run number 1"), "{first:?}");
    let second = project.run(&cli, &deploy);
    assert!(second.code == 0 && second.stdout.contains("(unchanged)"), "{second:?}");
    // The same files make the same image, byte for byte.
    let again = project.run(&cli, &[&deploy[..], &["--rebuild"]].concat());
    assert!(again.code == 0 && again.stdout.contains("(unchanged)"), "{again:?}");
    let tests = project.path().join("tests");
    let image = cli.json(&["job", "show", project.name()])["spec"]["image"].as_str().unwrap().to_owned();
    let (passed, said) = in_container(&image, &tests, "/app/tests", &["sh", "tests/test_main.sh"]);
    assert!(passed && said.contains("ok"), "{said}");
    // From one registry to another: the base's layers go along.
    let (user, password) = (infra(TEST, "HAULIER_TEST_REGISTRY_USER"), infra(TEST, "HAULIER_TEST_REGISTRY_PASSWORD"));
    let (Some(user), Some(password)) = (user, password) else { return };
    let login = [("HAULIER_REGISTRY_USER", user.as_str()), ("HAULIER_REGISTRY_PASSWORD", password.as_str())];
    let there = project.run_with(&cli, &["deploy", "--builder", "none", "--registry", &private, "--yes"], &login);
    assert!(there.code == 0 && there.stderr.contains("base layer 1 of 1"), "{there:?}");
}

#[test]
fn a_python_project_brings_its_packages() {
    const TEST: &str = "a_python_project_brings_its_packages";
    let Some(server) = infra(TEST, "HAULIER_TEST_REGISTRY") else { return };
    let Some(base) = infra(TEST, "HAULIER_TEST_PYTHON_BASE") else { return };
    let Some(()) = python(TEST) else { return };
    let (cli, project) = (service(), Project::init("python", &base));
    let registry = format!("{server}/scaffold");
    let deploy = ["deploy", "--builder", "none", "--registry", &registry];
    let ended = project.run(&cli, &[&deploy[..], &["--run"]].concat());
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.stderr.contains("collecting what requirements.txt says"), "{ended:?}");
    assert!(ended.stderr.contains("loaded record 3"), "{ended:?}");
    assert!(project.run(&cli, &deploy).stdout.contains("(unchanged)"));
    let again = project.run(&cli, &[&deploy[..], &["--rebuild"]].concat());
    assert!(again.code == 0 && again.stdout.contains("(unchanged)"), "{again:?}");
}

#[test]
fn what_only_a_builder_can_do_is_refused_with_its_line() {
    const TEST: &str = "what_only_a_builder_can_do_is_refused_with_its_line";
    let Some(server) = infra(TEST, "HAULIER_TEST_REGISTRY") else { return };
    let Some(image) = infra(TEST, "HAULIER_TEST_IMAGE") else { return };
    let (cli, project) = (service(), Project::shell(&image));
    let refused = |told: &str| {
        let ended = project.run(&cli, &["deploy", "--builder", "none", "--registry", &format!("{server}/scaffold")]);
        assert!(ended.code != 0 && ended.stderr.contains(told), "{ended:?}");
    };
    project.edit("Dockerfile", "USER", "RUN make\nUSER");
    refused("Dockerfile, line 6: RUN runs something");
    project.write("Dockerfile", &format!("FROM {image}\nCOPY missing /x\n"));
    refused("missing is not in the folder");
    project.write("Dockerfile", &format!("FROM {server}/scaffold/none:1\n"));
    refused("the base image: ");
}
