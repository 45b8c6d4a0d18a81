//! Logins that are tried when they are set, and images that are pinned.

use serde_json::json;

use crate::{
    project::infra,
    service::{Cli, Service},
};

fn set(cli: &Cli, server: &str, user: &str, password: &str, more: &[&str]) -> (i32, String) {
    let args = ["registry", "set", "private", "--server", server, "--username", user];
    let ended = cli.with_input(&[&args[..], more].concat(), password);
    (ended.code, ended.stderr)
}

#[test]
fn a_login_is_tried_when_it_is_set() {
    const TEST: &str = "a_login_is_tried_when_it_is_set";
    let Some(server) = infra(TEST, "HAULIER_TEST_REGISTRY_AUTH") else { return };
    let Some(user) = infra(TEST, "HAULIER_TEST_REGISTRY_USER") else { return };
    let Some(password) = infra(TEST, "HAULIER_TEST_REGISTRY_PASSWORD") else { return };
    let cli = Service::start();
    let (code, told) = set(&cli, &server, &user, "wrong", &[]);
    assert!(code == 1 && told.contains("refuses this login") && told.contains("--no-check"), "{told}");
    let (code, told) = set(&cli, "127.0.0.1:1", &user, &password, &[]);
    assert!(code == 1 && told.contains("cannot be reached"), "{told}");
    let (code, told) = set(&cli, "registry.invalid", &user, &password, &[]);
    assert!(code == 1 && told.contains("registry.invalid cannot be reached"), "{told}");
    let (code, told) = set(&cli, "127.0.0.2:5000", &user, &password, &[]);
    assert!(code == 1 && told.contains("registries.allow"), "{told}");
    let (code, told) = set(&cli, "localhost:5000", &user, &password, &[]);
    assert!(code == 1 && !told.contains("is set"), "{told}");
    assert_eq!(cli.json(&["registry", "list"]), json!([]));
    assert_eq!(set(&cli, "registry.invalid", &user, &password, &["--no-check"]).0, 0);
    assert_eq!(set(&cli, &server, &user, &password, &[]), (0, "private is set\n".to_owned()));
    assert_eq!(cli.json(&["registry", "list"])[0]["server"], json!(server));
}

#[test]
fn a_pinned_job_keeps_the_digest() {
    const TEST: &str = "a_pinned_job_keeps_the_digest";
    let Some(server) = infra(TEST, "HAULIER_TEST_REGISTRY_AUTH") else { return };
    let Some(user) = infra(TEST, "HAULIER_TEST_REGISTRY_USER") else { return };
    let Some(password) = infra(TEST, "HAULIER_TEST_REGISTRY_PASSWORD") else { return };
    let cli = Service::start();
    let image = format!("{server}/haulier-test/busybox:1");
    let file = cli.file("job.yaml", &format!("name: a\nimage: {image}\n"));
    let nobody = cli.run(&["job", "apply", "-f", &file, "--pin"]);
    assert!(nobody.code == 1 && nobody.stderr.contains("the project has none for it"), "{nobody:?}");
    assert_eq!(set(&cli, &server, &user, &password, &[]).0, 0);
    assert_eq!(cli.stdout(&["job", "apply", "-f", &file, "--pin"]), "a revision 1 (registered)\n");
    let pinned = cli.json(&["job", "show", "a"])["spec"]["image"].as_str().unwrap().to_owned();
    assert!(pinned.starts_with(&format!("{server}/haulier-test/busybox@sha256:")), "{pinned}");
    assert_eq!(cli.stdout(&["job", "apply", "-f", &file, "--pin"]), "a revision 1 (unchanged)\n");
    // What is shown can be applied again.
    let shown = cli.stdout(&["job", "show", "a"]);
    assert_eq!(cli.with_input(&["job", "apply", "-f", "-"], &shown).stdout, "a revision 1 (unchanged)\n");
    let missing = cli.file("missing.yaml", &format!("name: b\nimage: {server}/none:1\npin: true\n"));
    let missing = cli.run(&["job", "apply", "-f", &missing]);
    assert!(missing.code == 1 && missing.stderr.contains("is not in its registry"), "{missing:?}");
}

#[test]
fn images_that_the_project_does_not_allow_are_told() {
    let cli = Service::start();
    cli.stdout(&["project", "images", "default", "registry.example.com/data/*"]);
    let file = cli.file("job.yaml", "name: a\nimage: miner.example.com/x\n");
    let refused = cli.run(&["job", "apply", "-f", &file, "--dry-run"]);
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.stderr.contains("registry.example.com/data/*"), "{refused:?}");
}
