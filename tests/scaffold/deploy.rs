//! `haulier deploy` with builders and registries.

use std::process::Command;

use base64::Engine;
use serde_json::Value;

use crate::{
    project::{Project, infra, program, service},
    service::{Cli, Ended},
};

/// Where this user's own configuration of Podman and Buildah may not do.
const SURROUNDINGS: [(&str, &str); 2] = [("BUILDAH_ISOLATION", "chroot"), ("STORAGE_DRIVER", "vfs")];

/// Removes a builder's own copy of a project's image.
fn remove(builder: &str, registry: &str, project: &Project) {
    let image = format!("{registry}/{}", project.name());
    let _ = Command::new(builder).envs(SURROUNDINGS).args(["rmi", "--force", &image]).output();
}

/// The registry and the image that tests build on.
fn registry(test: &str) -> Option<(String, String)> {
    Some((format!("{}/scaffold", infra(test, "HAULIER_TEST_REGISTRY")?), infra(test, "HAULIER_TEST_IMAGE")?))
}

/// The job's image, and its revision.
fn job(cli: &Cli, project: &Project) -> (String, u64) {
    let job = cli.json(&["job", "show", project.name()]);
    (job["spec"]["image"].as_str().unwrap().to_owned(), job["revision"].as_u64().unwrap())
}

fn done(ended: &Ended, word: &str) {
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.stdout.contains(&format!("({word})")), "{ended:?}");
}

#[test]
fn doing_it_twice_changes_nothing() {
    const TEST: &str = "doing_it_twice_changes_nothing";
    let Some((registry, image)) = registry(TEST) else { return };
    let (cli, project) = (service(), Project::shell(&image));
    let deploy = ["deploy", "--builder", "docker", "--registry", &registry];
    // Without git, the content alone names it.
    let first = project.run(&cli, &deploy);
    done(&first, "registered");
    assert!(!first.stderr.contains("git-") && first.stderr.contains("(content-"), "{first:?}");
    let (pinned, _) = job(&cli, &project);
    assert!(pinned.starts_with(&format!("{registry}/{}@sha256:", project.name())), "{pinned}");
    for part in ["haulier adf --job", "HaulierRunOperator(", "/runs", "Idempotency-Key"] {
        assert!(first.stderr.contains(part), "{part}: {first:?}");
    }
    let second = project.run(&cli, &deploy);
    done(&second, "unchanged");
    assert!(second.stderr.contains("is there already") && !second.stderr.contains("building"), "{second:?}");
    // A commit that changes nothing in the image, and then one that is not made yet.
    let commit = project.commit();
    let third = project.run(&cli, &deploy);
    done(&third, "unchanged");
    assert!(third.stderr.contains(&format!("git-{commit})")), "{third:?}");
    project.write("README.md", "changed\n");
    assert!(project.run(&cli, &deploy).stderr.contains(&format!("git-{commit}-dirty")));
    // Built anew of the same layers it is the same image.
    done(&project.run(&cli, &[&deploy[..], &["--rebuild"]].concat()), "unchanged");
    assert_eq!(job(&cli, &project), (pinned.clone(), 1));
    project.edit("main.sh", "this is run", "this is really run");
    done(&project.run(&cli, &deploy), "changed");
    assert_ne!(job(&cli, &project).0, pinned);
    let run = project.run(&cli, &[&deploy[..], &["--run"]].concat());
    assert!(run.code == 0 && run.stdout.contains("this is really run number 1"), "{run:?}");
    let told: Value =
        serde_json::from_str(&project.run(&cli, &[&deploy[..], &["-o", "json"]].concat()).stdout).unwrap();
    assert_eq!(told["revision"], 2);
}

#[test]
fn the_runs_end_is_the_commands_end() {
    const TEST: &str = "the_runs_end_is_the_commands_end";
    let Some((registry, image)) = registry(TEST) else { return };
    let (cli, project) = (service(), Project::shell(&image));
    project.write("main.sh", "echo out; exit 9\n");
    let ended = project.run(&cli, &["deploy", "--registry", &registry, "--builder", "docker", "--run"]);
    assert_eq!((ended.code, ended.stdout.ends_with("out\n")), (9, true), "{ended:?}");
}

#[test]
fn every_builder_does_it() {
    const TEST: &str = "every_builder_does_it";
    let Some((registry, image)) = registry(TEST) else { return };
    let cli = service();
    for builder in ["podman", "buildah"] {
        let Some(()) = program(&format!("{TEST}, {builder}"), builder) else { continue };
        let project = Project::shell(&image);
        let deploy = ["deploy", "--builder", builder, "--registry", &registry, "--run"];
        let ended = project.run_with(&cli, &deploy, &SURROUNDINGS);
        assert_eq!(ended.code, 0, "{builder}: {ended:?}");
        assert!(ended.stdout.contains("this is run number 1"), "{builder}: {ended:?}");
        let again = project.run_with(&cli, &deploy[..5], &SURROUNDINGS);
        done(&again, "unchanged");
        remove(builder, &registry, &project);
    }
}

#[test]
fn a_build_reads_its_secrets_and_keeps_none() {
    const TEST: &str = "a_build_reads_its_secrets_and_keeps_none";
    let Some((registry, image)) = registry(TEST) else { return };
    let Some(()) = program(TEST, "buildah") else { return };
    let (cli, project) = (service(), Project::shell(&image));
    project.edit("Dockerfile", "USER", "RUN --mount=type=secret,id=key wc -c < /run/secrets/key > /length\nUSER");
    project.write("main.sh", "cat /length; cat /run/secrets/key 2>/dev/null || echo none\n");
    project.write(".haulier/key", "a-key");
    let deploy =
        ["deploy", "--builder", "buildah", "--registry", &registry, "--run", "--build-secret", "key=.haulier/key"];
    let ended = project.run_with(&cli, &deploy, &SURROUNDINGS);
    assert!(ended.code == 0 && ended.stdout.ends_with("\n5\nnone\n"), "{ended:?}");
    remove("buildah", &registry, &project);
}

/// What the service lacks is sent from this machine, on demand; what it has is never touched.
#[test]
fn secrets_are_sent_once() {
    const TEST: &str = "secrets_are_sent_once";
    let Some((registry, image)) = registry(TEST) else { return };
    let (cli, project) = (service(), Project::shell(&image));
    project.write("main.sh", "echo \"$OF_PROJECT $OF_JOB $THERE\" | tr a-z A-Z\n");
    let secrets = "secrets: {OF_PROJECT: {from: p}, OF_JOB: {}, THERE: {from: there}}\ntimeout_seconds";
    project.edit("haulier.yaml", "timeout_seconds", secrets);
    assert_eq!(cli.with_input(&["secret", "set", "there"], "real-value").code, 0);
    let path = ".haulier/secrets.env";
    project.write(path, "OF_PROJECT=project-value\nOF_JOB=job-value\nTHERE=only-for-trying\n");
    let args = ["deploy", "--builder", "docker", "--registry", &registry];
    let refused = project.run(&cli, &args);
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(refused.stderr.contains("no value of OF_JOB, OF_PROJECT (the project's secret p)"), "{refused:?}");
    assert!(refused.stderr.contains("--send-secrets") && !refused.stderr.contains("value\n"), "{refused:?}");
    assert_eq!(cli.json(&["secret", "list"]).as_array().map(Vec::len), Some(1), "nothing was sent");

    let sent = project.run(&cli, &[&args[..], &["--send-secrets", "--run"]].concat());
    done(&sent, "registered");
    assert!(sent.stdout.contains("PROJECT-VALUE JOB-VALUE REAL-VALUE"), "{sent:?}");
    assert!(!sent.stderr.contains("project-value") && !sent.stderr.contains("job-value"), "{sent:?}");
    // They are there now, and stay when other values are here.
    project.write(path, "OF_PROJECT=other\nOF_JOB=other\nTHERE=other\n");
    let again = project.run(&cli, &[&args[..], &["--send-secrets", "--run"]].concat());
    done(&again, "unchanged");
    assert!(again.stdout.contains("PROJECT-VALUE JOB-VALUE REAL-VALUE"), "{again:?}");
}

#[test]
fn what_stands_against_it_is_told_before_anything_is_built() {
    const TEST: &str = "what_stands_against_it_is_told_before_anything_is_built";
    let Some((registry, image)) = registry(TEST) else { return };
    let (cli, project) = (service(), Project::shell(&image));
    let refused = |args: &[&str], code: i32, told: &str| {
        let ended = project.run(&cli, &[&["deploy", "--builder", "docker"], args].concat());
        assert_eq!(ended.code, code, "{args:?}: {ended:?}");
        assert!(ended.stderr.contains(told) && !ended.stderr.contains("Step 1"), "{args:?}: {ended:?}");
    };
    refused(&[], 2, "haulier registry set");
    refused(&["--registry", "nothing"], 2, "no registry of this name");
    refused(&["--registry", "127.0.0.1:1/x"], 1, "cannot be reached");
    let away = project.run(&Cli::offline(), &["deploy", "--registry", &registry]);
    assert_eq!(away.code, 69, "{away:?}");
    // What the service refuses.
    project.edit("haulier.yaml", "timeout_seconds", "secrets: {KEY: {from: nowhere}}\ntimeout_seconds");
    refused(&["--registry", &registry], 2, "no value of KEY (the project's secret nowhere): set each");
    refused(&["--registry", &registry, "--send-secrets"], 2, "secrets.env must have a value of each");
    project.edit("haulier.yaml", "secrets: {KEY: {from: nowhere}}\n", "");
    // Somebody else's job.
    cli.apply(&serde_json::json!({"name": project.name(), "image": "example.com/other:1"}));
    refused(&["--registry", &registry], 2, "there is a job");
    let forced = project.run(&cli, &["deploy", "--builder", "docker", "--registry", &registry, "--yes"]);
    done(&forced, "changed");
    project.edit("haulier.yaml", &format!("image: {}", project.name()), "image: example.com/x:1");
    refused(&["--registry", &registry], 2, "has a tag or digest");
    std::fs::remove_file(project.path().join("Dockerfile")).unwrap();
    refused(&["--registry", &registry], 2, "has no Dockerfile");
}

#[test]
fn builders_that_are_not_there_and_images_that_are_too_big_are_refused() {
    const TEST: &str = "builders_that_are_not_there_and_images_that_are_too_big_are_refused";
    let Some((registry, image)) = registry(TEST) else { return };
    let (cli, project) = (service(), Project::shell(&image));
    let deploy = ["deploy", "--registry", &registry, "--builder", "docker"];
    let away = project.run_with(&cli, &deploy, &[("DOCKER_HOST", "unix:///nowhere.sock")]);
    assert_eq!(away.code, 1, "{away:?}");
    assert!(away.stderr.contains("--builder none"), "{away:?}");
    for builder in ["docker", "none"] {
        let big = project.run(&cli, &["deploy", "--registry", &registry, "--builder", builder, "--max-image-mb", "0"]);
        assert_eq!(big.code, 1, "{big:?}");
        assert!(big.stderr.contains("at most 0 MB are deployed"), "{big:?}");
    }
    // It was not pushed.
    assert_eq!(cli.run(&["job", "show", project.name()]).code, 1);
    project.write("Dockerfile", "FROM nothing.example.com/none:1\n");
    let broken = project.run(&cli, &deploy);
    assert_eq!((broken.code, broken.stderr.contains("correct the Dockerfile")), (1, true), "{broken:?}");
}

#[test]
fn private_registries_take_the_login_of_variables() {
    const TEST: &str = "private_registries_take_the_login_of_variables";
    let Some((_, image)) = registry(TEST) else { return };
    let Some(server) = infra(TEST, "HAULIER_TEST_REGISTRY_AUTH") else { return };
    let Some(user) = infra(TEST, "HAULIER_TEST_REGISTRY_USER") else { return };
    let Some(password) = infra(TEST, "HAULIER_TEST_REGISTRY_PASSWORD") else { return };
    let (cli, project) = (service(), Project::shell(&image));
    let set = ["registry", "set", "private", "--server", &server, "--username", &user];
    let login = [("HAULIER_REGISTRY_USER", user.as_str()), ("HAULIER_REGISTRY_PASSWORD", password.as_str())];
    // The project's only registry needs no --registry.
    assert_eq!(cli.with_input(&set, &password).code, 0);
    for builder in ["docker", "none"] {
        project.write("marker", builder);
        let nobody = project.run_with(&cli, &["deploy", "--builder", builder], &[("HOME", "/nowhere")]);
        assert_eq!((nobody.code, nobody.stderr.contains("it wants a login")), (1, true), "{nobody:?}");
        let wrong = [login[0], ("HAULIER_REGISTRY_PASSWORD", "wrong")];
        let wrong = project.run_with(&cli, &["deploy", "--builder", builder], &wrong);
        assert_eq!((wrong.code, wrong.stderr.contains("the login is wrong")), (1, true), "{wrong:?}");
        let half = project.run_with(&cli, &["deploy", "--builder", builder], &login[..1]);
        assert_eq!((half.code, half.stderr.contains("set both")), (2, true), "{half:?}");
        let ended = project.run_with(&cli, &["deploy", "--builder", builder, "--run"], &login);
        assert!(ended.code == 0 && ended.stdout.contains("this is run number"), "{builder}: {ended:?}");
        assert!(!ended.stderr.contains(&password) && !ended.stderr.contains("has no login"), "{ended:?}");
    }
    // What `docker login` leaves does as well.
    let docker = tempfile::TempDir::new().unwrap();
    let auth = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
    let config = serde_json::json!({"auths": {&server: {"auth": auth}}});
    std::fs::write(docker.path().join("config.json"), config.to_string()).unwrap();
    for builder in ["docker", "none"] {
        project.write("marker", &format!("{builder}, logged in"));
        let login = [("DOCKER_CONFIG", docker.path().to_str().unwrap())];
        done(&project.run_with(&cli, &["deploy", "--builder", builder], &login), "changed");
    }
}
