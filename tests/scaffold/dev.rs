//! `haulier dev`: the script on this machine.

use serde_json::{Value, json};

use crate::{
    project::{Project, infra, python},
    service::{Cli, eventually, signal},
};

/// A shell project whose script is this.
fn script(text: &str) -> Project {
    let project = Project::shell("unused.example.com/base:1");
    project.write("main.sh", text);
    project
}

#[test]
fn a_new_project_runs_and_goes_on_where_it_ended() {
    let project = Project::shell("unused.example.com/base:1");
    let cli = Cli::offline();
    let first = project.run(&cli, &["dev", "--param", "day=monday", "--param", "n=3"]);
    assert_eq!((first.code, first.stdout.contains("run number 1")), (0, true), "{first:?}");
    assert!(first.stdout.contains(r#""day":"monday","n":3"#), "{first:?}");
    assert!(first.stderr.contains("state count") && first.stderr.contains("1 (new)"), "{first:?}");
    assert!(!first.stdout.contains("::haulier"), "{first:?}");
    assert!(project.run(&cli, &["dev"]).stdout.contains("run number 2"));
    assert!(project.run(&cli, &["dev", "--fresh-state"]).stdout.contains("run number 1"));
    let told: Value = serde_json::from_str(&project.run(&cli, &["dev", "-o", "json"]).stdout).unwrap();
    assert_eq!((&told["succeeded"], &told["state"]), (&json!(true), &json!({"count": 2})));
}

#[test]
fn it_ends_as_the_script_does_and_keeps_the_state_only_with_success() {
    let project = script(
        "echo \"::haulier:$HAULIER_REPORT:{\\\"state\\\": {\\\"n\\\": 1}}\"\n\
         echo \"::haulier:wrong-nonce:{}\"\nexit ${CODE:-0}\n",
    );
    let cli = Cli::offline();
    let well = project.run(&cli, &["dev"]);
    assert_eq!((well.code, well.stdout.as_str()), (0, "::haulier:wrong-nonce:{}\n"), "{well:?}");
    project.write(".haulier/state.json", "{\"n\": 0}");
    project.edit("haulier.yaml", "timeout_seconds", "env: {CODE: '7'}\ntimeout_seconds");
    let failed = project.run(&cli, &["dev"]);
    assert_eq!((failed.code, failed.stderr.contains("is not kept")), (7, true), "{failed:?}");
    assert_eq!(project.read(".haulier/state.json"), "{\"n\": 0}");
    project.write("main.sh", "echo \"::haulier:$HAULIER_REPORT:{\\\"outptu\\\": 1}\"\n");
    let invalid = project.run(&cli, &["dev"]);
    assert_eq!((invalid.code, invalid.stderr.contains("unknown field `outptu`")), (125, true), "{invalid:?}");
    project.edit("haulier.yaml", "[sh, main.sh]", "[no-such-program]");
    let missing = project.run(&cli, &["dev"]);
    assert_eq!((missing.code, missing.stderr.contains("correct `command`")), (127, true), "{missing:?}");
    project.write(".haulier/state.json", "[]");
    assert_eq!(project.run(&cli, &["dev"]).code, 2);
}

#[test]
fn secrets_come_from_the_ignored_file_and_are_not_shown() {
    let project = script("echo \"token $TOKEN $(printf %s \"$TOKEN\" | base64)\"; cat \"$KEY_FILE\" | wc -c\n");
    let cli = Cli::offline();
    project.edit(
        "haulier.yaml",
        "timeout_seconds",
        "secrets: {TOKEN: {from: a}, KEY: {from: b, as: file}}\ntimeout_seconds",
    );
    let missing = project.run(&cli, &["dev"]);
    assert_eq!(missing.code, 2);
    assert!(missing.stderr.contains("secrets.env") && missing.stderr.contains("\n  KEY=…\n  TOKEN=…"), "{missing:?}");
    project.write(".haulier/secrets.env", "# here\nTOKEN=hunter2-hunter2\nKEY='12345'\n");
    project.git(&["init", "-q"]);
    let given = project.run(&cli, &["dev"]);
    assert_eq!((given.code, given.stdout.as_str()), (0, "token *** ***\n5\n"), "{given:?}");
    assert!(!given.stderr.contains("warning"), "{given:?}");
    // Nothing of them stays behind.
    let left: Vec<_> = std::fs::read_dir(project.path().join(".haulier")).unwrap().collect();
    assert_eq!(left.len(), 1, "{left:?}");
    project.write(".gitignore", "");
    let told = project.run(&cli, &["dev"]);
    assert!(told.stderr.contains("git does not ignore"), "{told:?}");
}

#[test]
fn a_script_that_asks_for_it_is_continued() {
    let project = script(
        "n=$(printf %s \"$HAULIER_STATE\" | tr -dc 0-9); n=$((${n:-0} + 1)); echo \"slice $HAULIER_SLICE\"\n\
         [ $n -ge 3 ] && outcome=done || outcome=continue\n\
         echo \"::haulier:$HAULIER_REPORT:{\\\"state\\\": {\\\"n\\\": $n}, \\\"outcome\\\": \\\"$outcome\\\"}\"\n",
    );
    let ended = project.run(&Cli::offline(), &["dev"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (0, "slice 1\nslice 2\nslice 3\n"), "{ended:?}");
    project.edit("haulier.yaml", "timeout_seconds", "max_slices: 2\ntimeout_seconds");
    let capped = project.run(&Cli::offline(), &["dev", "--fresh-state"]);
    assert_eq!((capped.code, capped.stderr.contains("max_slices")), (125, true), "{capped:?}");
}

#[test]
fn ctrl_c_and_the_timeout_end_the_script_and_what_it_started() {
    let project = script("trap 'echo told; exit 3' TERM\nsleep 600 &\necho \"begun $!\"\nwait\n");
    let running = project.start(&Cli::offline(), &["dev"]);
    let pid = eventually(|| running.stdout().strip_prefix("begun ")?.split_once('\n').map(|(pid, _)| pid.to_owned()));
    signal("INT", running.id());
    let ended = running.end();
    assert_eq!((ended.code, ended.stdout.ends_with("told\n")), (130, true), "{ended:?}");
    // What it started has ended too; where nobody reaps orphans, as a zombie.
    eventually(|| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        (stat.is_empty() || stat.contains(") Z ")).then_some(())
    });
    project.edit("haulier.yaml", "timeout_seconds: 3600", "timeout_seconds: 1\nkill_grace_seconds: 1");
    project.write("main.sh", "trap '' TERM\nwhile true; do sleep 0.1; done\n");
    let slow = project.run(&Cli::offline(), &["dev"]);
    assert_eq!((slow.code, slow.stderr.contains("timeout_seconds = 1")), (124, true), "{slow:?}");
}

#[test]
fn a_state_that_no_variable_can_hold_is_a_file() {
    const TEST: &str = "a_state_that_no_variable_can_hold_is_a_file";
    let project =
        Project::shell(&infra(TEST, "HAULIER_TEST_IMAGE").unwrap_or_else(|| "unused.example.com/x".to_owned()));
    project.write("main.sh", "echo \"${HAULIER_STATE-none} $(wc -c < \"$HAULIER_STATE_FILE\")\"\n");
    project.write(".haulier/state.json", &json!({"long": "x".repeat(200_000)}).to_string());
    let commands: &[&[&str]] = &[&["dev"], &["dev", "--container", "--builder", "docker"]];
    let with_container = std::env::var("HAULIER_TEST_IMAGE").is_ok();
    for command in commands.iter().take(if with_container { 2 } else { 1 }) {
        let ended = project.run(&Cli::offline(), command);
        assert_eq!((ended.code, ended.stdout.as_str()), (0, "none 200011\n"), "{ended:?}");
    }
}

#[test]
fn what_is_wrong_with_the_job_is_told_with_its_place() {
    let project = script("true\n");
    let cli = Cli::offline();
    project.write("haulier.yaml", "name: a\nimage: b\ncommand: [x]\nmax_parallel: 0\n");
    for command in ["dev", "deploy"] {
        let refused = project.run(&cli, &[command]);
        assert_eq!(refused.code, 2, "{refused:?}");
        assert!(refused.stderr.contains("haulier.yaml, line 4, column 15: /max_parallel"), "{refused:?}");
    }
    project.write("haulier.yaml", "name: a\nimagee: b\n");
    assert!(project.run(&cli, &["dev"]).stderr.contains("line 2, column 1: unknown field `imagee`"));
    std::fs::remove_file(project.path().join("haulier.yaml")).unwrap();
    let none = project.run(&cli, &["dev"]);
    assert_eq!((none.code, none.stderr.contains("haulier init")), (2, true), "{none:?}");
}

#[test]
fn python_projects_get_an_environment_once() {
    const TEST: &str = "python_projects_get_an_environment_once";
    let Some(()) = python(TEST) else { return };
    let project = Project::init("python", "unused.example.com/base:1");
    let cli = Cli::offline();
    let first = project.run(&cli, &["dev", "--param", "count=2"]);
    assert_eq!(first.code, 0, "{first:?}");
    assert!(first.stderr.contains("making .venv") && first.stderr.contains("progress 2/2 records"), "{first:?}");
    assert!(first.stderr.contains("metric rows  2") && first.stderr.contains("loaded record 2"), "{first:?}");
    let second = project.run(&cli, &["dev", "--param", "count=2"]);
    assert!(second.code == 0 && !second.stderr.contains("requirements.txt"), "{second:?}");
    assert!(second.stderr.contains("2 → 4"), "{second:?}");
    project.edit("requirements.txt", "./", "# changed\n./");
    assert!(project.run(&cli, &["dev"]).stderr.contains("installing what requirements.txt says"));
}

#[test]
fn the_container_gets_the_same() {
    const TEST: &str = "the_container_gets_the_same";
    let Some(image) = infra(TEST, "HAULIER_TEST_IMAGE") else { return };
    let project = Project::shell(&image);
    project.write(
        "main.sh",
        "echo \"$HAULIER_PARAMETERS $MODE $(cat /etc/told) $(cat /run/secrets/KEY) $(id -u) $PWD\"\n",
    );
    project.write(".haulier/secrets.env", "KEY=a-secret-file\n");
    project.edit(
        "haulier.yaml",
        "timeout_seconds",
        "env: {MODE: fast}\nfiles: {/etc/told: {content: something}}\nsecrets: {KEY: {from: k, as: file}}\ntimeout_seconds",
    );
    // As root, for a secret file is for whoever runs the script alone.
    project.edit("Dockerfile", "USER 65534:65534\n", "");
    let ended = project.run(&Cli::offline(), &["dev", "--container", "--builder", "docker", "--param", "a=1"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert_eq!(ended.stdout, "{\"a\":1} fast something *** 0 /app\n", "{ended:?}");
    let none = project.run(&Cli::offline(), &["dev", "--container", "--builder", "none"]);
    assert_eq!((none.code, none.stderr.contains("needs docker or podman")), (2, true), "{none:?}");
}
