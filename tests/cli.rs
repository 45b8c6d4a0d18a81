//! The command line, as people and scripts use it: the real binary against a service of its own.

#[path = "cli/demo.rs"]
mod demo;
#[path = "cli/service.rs"]
mod service;

use std::{io::Write, process::Stdio};

use serde_json::{Value, json};
use service::{Cli, Service, eventually, signal};

#[test]
fn applying_is_idempotent_and_takes_several_documents() {
    let cli = Service::start();
    let file = cli.file("jobs.yaml", "name: a\nimage: sim/ok\n---\nname: b\nimage: sim/ok\nargs: [exit=3]\n");
    assert_eq!(cli.stdout(&["job", "apply", "-f", &file]), "a revision 1 (registered)\nb revision 1 (registered)\n");
    let changed = "name: a\nimage: sim/ok\n---\nname: b\nimage: sim/ok\nargs: [exit=4]\n";
    let applied = cli.with_input(&["job", "apply", "-f", "-"], changed);
    assert_eq!(applied.stdout, "a revision 1 (unchanged)\nb revision 2 (changed)\n");
    let listed = cli.json(&["job", "list"]);
    assert_eq!(listed.as_array().unwrap().len(), 2);
    assert_eq!(cli.stdout(&["job", "restore", "b", "1"]), "b revision 3 (as revision 1 was)\n");
    assert_eq!(cli.json(&["job", "revisions", "b", "--limit", "2"])[0]["number"], 3);
    assert_eq!(cli.json(&["job", "disable", "a"])["spec"]["enabled"], false);
    assert_eq!(cli.run(&["run", "a"]).code, 1);
    assert_eq!(cli.json(&["job", "enable", "a"])["spec"]["enabled"], true);
    assert_eq!(cli.run(&["job", "archive", "a"]).code, 0);
    assert_eq!(cli.json(&["job", "list"]).as_array().unwrap().len(), 1);
    assert_eq!(cli.json(&["job", "list", "--archived"]).as_array().unwrap().len(), 2);
}

#[test]
fn what_is_shown_of_a_job_can_be_applied() {
    let cli = Service::start();
    let text = "name: a\nimage: sim/ok\nargs: [print=x, 'exit=3']\nconfig: {keep: null, list: []}\n\
                resources: {cpu: 0.5}\nsecrets: {KEY: {value: hidden}}\nlabels: {team: data}\n";
    assert_eq!(cli.with_input(&["job", "apply", "-f", "-"], text).code, 0);
    let shown = cli.stdout(&["job", "show", "a"]);
    assert!(!shown.contains("hidden"), "{shown}");
    assert_eq!(cli.with_input(&["job", "apply", "-f", "-"], &shown).stdout, "a revision 1 (unchanged)\n");
}

#[test]
fn what_is_wrong_in_a_file_is_told_with_its_place() {
    let cli = Cli::offline();
    for (text, problem) in [
        ("name: a\nimage: b\nimagee: c\n", "stdin, line 3, column 1: unknown field `imagee`"),
        ("name: a\nimage: [b\n", "stdin, line "),
        ("{\"name\": \"a\",\n \"image\" 1}", "stdin, line 2, column 10: expected `:`"),
        ("# nothing\n", "stdin: there is no job in it"),
    ] {
        let refused = cli.with_input(&["job", "apply", "-f", "-"], text);
        assert_eq!(refused.code, 2, "{refused:?}");
        assert!(refused.stderr.contains(problem), "{refused:?}");
    }
    let missing = cli.run(&["job", "apply", "-f", "/nowhere/haulier.yaml"]);
    assert_eq!((missing.code, missing.stderr.contains("/nowhere/haulier.yaml cannot be read")), (2, true));
}

#[test]
fn refused_fields_are_named() {
    let cli = Service::start();
    let refused = cli.with_input(&["job", "apply", "-f", "-"], "name: a\nimage: sim/ok\nmax_parallel: 0\n");
    assert_eq!(refused.code, 2);
    assert!(refused.stderr.starts_with("error: stdin, line 3, column 15: /max_parallel"), "{refused:?}");
    // What the service alone can know.
    let refused = cli.with_input(&["job", "apply", "-f", "-"], "name: a\nimage: sim/ok\nengine: nowhere\n");
    assert_eq!(refused.code, 1);
    assert!(refused.stderr.starts_with("error: stdin: job a: /engine: there is no engine nowhere"), "{refused:?}");
}

#[test]
fn whether_it_is_alive_is_asked_without_a_token() {
    let cli = Service::start();
    assert_eq!(cli.with_token("").run(&["health"]).code, 0);
    let gone = Cli::offline().run(&["health"]);
    assert_eq!((gone.code, gone.stderr.contains("cannot reach the service")), (69, true));
}

#[test]
fn following_keeps_the_streams_apart_and_ends_as_the_container_did() {
    let cli = Service::start();
    cli.job("noisy", &["print=to stdout", "print-err=to stderr", "print=more", "exit=7"]);
    let ended = cli.run(&["run", "noisy", "--follow"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (7, "to stdout\nmore\n"));
    assert!(ended.stderr.contains("to stderr\n") && ended.stderr.contains("failed after"), "{ended:?}");
    let quiet = cli.run(&["run", "noisy", "--follow", "-q"]);
    assert_eq!((quiet.stdout.as_str(), quiet.stderr.as_str()), ("to stdout\nmore\n", "to stderr\n"));
}

#[test]
fn exit_codes_tell_how_a_run_ended() {
    let cli = Service::start();
    cli.job("fine", &[]);
    cli.job("out-of-memory", &["oom"]);
    cli.job("reports-an-error", &["report={\"error\": {\"message\": \"no\"}}"]);
    cli.job("endless", &["forever"]);
    cli.apply(&json!({"name": "no-image", "image": "sim/missing"}));
    for (job, code) in [("fine", 0), ("out-of-memory", 137), ("reports-an-error", 125), ("no-image", 125)] {
        let ended = cli.run(&["run", job, "--wait"]);
        assert_eq!(ended.code, code, "{job}: {ended:?}");
    }
    assert_eq!(cli.run(&["run", "endless", "--wait", "--timeout", "1s"]).code, 124);
    let waiting = cli.start(&["run", "endless", "--wait"]);
    let run = eventually(|| cli.json(&["runs", "--state", "running"])[0]["id"].as_str().map(str::to_owned));
    assert!(cli.stdout(&["cancel", &run]).starts_with(&run));
    assert_eq!(waiting.end().code, 130);
}

#[test]
fn parameters_are_json_where_they_can_be() {
    let cli = Service::start();
    cli.job("echo", &["echo-env=HAULIER_PARAMETERS", "echo-env=MODE"]);
    let args = ["--param", "n=3", "--param", "text=3x", "--param", "list=[1]", "--env", "MODE=a=b"];
    let ended = cli.run(&[&["run", "echo", "--follow", "--label", "k=v"], &args[..]].concat());
    let mut lines = ended.stdout.lines();
    let parameters: Value = serde_json::from_str(lines.next().unwrap()).unwrap();
    assert_eq!(parameters, json!({"n": 3, "text": "3x", "list": [1]}));
    assert_eq!(lines.next(), Some("a=b"));
    assert_eq!(cli.json(&["runs", "--label", "k=v"]).as_array().unwrap().len(), 1);
    assert_eq!(cli.json(&["runs", "--since", "2000-01-01T00:00:00Z", "--limit", "1"])[0]["source"]["kind"], "cli");
}

#[test]
fn a_key_gives_the_same_run() {
    let cli = Service::start();
    cli.job("once", &[]);
    let first = cli.stdout(&["run", "once", "--key", "today"]);
    let again = cli.run(&["run", "once", "--key", "today"]);
    assert_eq!(again.stdout, first);
    assert!(again.stderr.contains("the key was used before"), "{again:?}");
    let retried = cli.run(&["retry", first.trim(), "--wait"]);
    assert!(retried.code == 0 && retried.stdout != first, "{retried:?}");
}

#[test]
fn a_run_is_shown_with_all_that_is_known() {
    let cli = Service::start();
    let report = "report={\"output\": {\"path\": \"a/b\"}, \"metrics\": {\"rows\": 42}, \"state\": {\"day\": 3}}";
    cli.job("load", &["print=hello", report]);
    let run = cli.stdout(&["run", "load", "--wait"]).trim().to_owned();
    let page = cli.stdout(&["show", &run]);
    for part in [&run, "succeeded", "\"path\": \"a/b\"", "rows  42", "ATTEMPT", "triggered", "finished"] {
        assert!(page.contains(part), "{part} is not on the page:\n{page}");
    }
    assert_eq!(cli.json(&["show", &run])["metrics"]["rows"], 42.0);
    assert_eq!(cli.stdout(&["logs", &run]), "hello\n");
    let record: Value = serde_json::from_str(&cli.stdout(&["logs", &run, "-o", "json"])).unwrap();
    assert_eq!((&record["text"], &record["stream"]), (&json!("hello"), &json!("stdout")));
    assert!(cli.stdout(&["logs", &run, "--timestamps"]).ends_with("Z hello\n"));
    assert_eq!(cli.stdout(&["logs", &run, "--stream", "stderr"]), "");
    assert_eq!(cli.json(&["state", "show", "load"])["state"], json!({"day": 3}));
    assert_eq!(cli.stdout(&["state", "set", "load", "{\"day\": 4}", "--expect", "1"]), "version 2\n");
    assert_eq!(cli.run(&["state", "set", "load", "{}", "--expect", "1"]).code, 1);
    assert_eq!(cli.json(&["state", "history", "load"]).as_array().unwrap().len(), 2);
}

#[test]
fn it_says_why_a_run_waits() {
    let cli = Service::start();
    cli.apply(&json!({"name": "single", "image": "sim/ok", "args": ["forever"], "max_parallel": 1}));
    let holder = cli.stdout(&["run", "single"]).trim().to_owned();
    let waiter = cli.stdout(&["run", "single"]).trim().to_owned();
    let page = cli.stdout(&["show", &waiter]);
    assert!(page.contains("max_parallel is full") && page.contains(&format!("held by {holder}")), "{page}");
    assert_eq!(cli.stdout(&["cancel", "--job", "single"]), "2 runs asked to end\n");
    assert_eq!(cli.run(&["cancel"]).code, 2);
}

#[test]
fn limits_tokens_projects_and_the_rest_answer() {
    let cli = Service::start();
    cli.job("nightly", &[]);
    assert_eq!(cli.stdout(&["limit", "set", "source-api", "2"]), "source-api capacity 2\n");
    assert_eq!(cli.json(&["limit", "show", "source-api"])["capacity"], 2);
    assert_eq!(cli.json(&["limit", "list"])[0]["name"], "source-api");
    assert_eq!(cli.run(&["limit", "remove", "source-api"]).code, 0);
    let made = ["token", "create", "ci", "--scope", "trigger", "--job", "nightly", "--expires", "30d"];
    let token = cli.stdout(&made).trim().to_owned();
    let narrow = cli.with_token(&token);
    assert_eq!(narrow.run(&["run", "nightly", "--wait"]).code, 0);
    assert_eq!(narrow.run(&["secret", "list"]).code, 77);
    let id = cli.json(&["token", "list"])[0]["id"].as_str().unwrap().to_owned();
    assert_eq!(cli.run(&["token", "revoke", &id]).code, 0);
    assert_eq!(narrow.run(&["runs"]).code, 77);
    assert_eq!(cli.stdout(&["project", "create", "acme", "--image", "sim/*"]), "acme images sim/*\n");
    assert_eq!(cli.json(&["project", "list"]).as_array().unwrap().len(), 2);
    assert_eq!(cli.json(&["job", "list", "--project", "acme"]), json!([]));
    assert_eq!(cli.json(&["engine", "list"])[0]["kind"], "simulated");
    assert_eq!(cli.json(&["audit", "--limit", "1"])[0]["action"], "token.revoke");
    assert_eq!(cli.json(&["audit", "--project", "acme"])[0]["action"], "project.create");
    let set = ["registry", "set", "r", "--server", "registry.example.com", "--username", "u", "--no-check"];
    assert_eq!(cli.with_input(&set, "password\n").code, 0);
    assert_eq!(cli.json(&["registry", "list"])[0]["username"], "u");
    assert_eq!(cli.json(&["openapi"])["openapi"], "3.1.0");
}

#[test]
fn secrets_come_from_stdin_and_stay_secret() {
    let cli = Service::start();
    assert_eq!(cli.with_input(&["secret", "set", "api-key"], "hunter2-hunter2\n").code, 0);
    cli.apply(&json!({"name": "uses-it", "image": "sim/ok", "args": ["echo-env=KEY"],
        "secrets": {"KEY": {"from": "api-key"}}}));
    let ended = cli.run(&["run", "uses-it", "--follow"]);
    assert!(ended.code == 0 && !ended.stdout.is_empty() && !ended.stdout.contains("hunter2"), "{ended:?}");
    assert_eq!(cli.json(&["secret", "list"])[0]["name"], "api-key");
    let empty = cli.with_input(&["secret", "set", "api-key"], "\n");
    assert_eq!((empty.code, empty.stderr.contains("the value is empty")), (2, true));
}

#[test]
fn refusals_say_what_to_do() {
    let cli = Service::start();
    let unknown = cli.run(&["run", "nope"]);
    assert_eq!(unknown.code, 1);
    assert_eq!(unknown.stderr, "error: job nope: there is no such job in this project\n");
    let wrong = cli.with_token("a-token-that-nobody-made").run(&["runs"]);
    assert_eq!((wrong.code, wrong.stderr.contains("look at HAULIER_TOKEN")), (77, true), "{wrong:?}");
    let none = cli.with_token("").run(&["runs"]);
    assert_eq!((none.code, none.stderr.contains("set HAULIER_TOKEN")), (2, true), "{none:?}");
    let away = Cli::offline().run(&["runs"]);
    assert_eq!((away.code, away.stderr.contains("is it running?")), (69, true), "{away:?}");
    assert_eq!(cli.run(&["show", "01890a5d-ac96-774b-bcce-b302099a8057"]).code, 1);
    assert_eq!(cli.run(&["show", "latest"]).code, 2);
}

#[test]
fn the_doctor_finds_what_is_wrong() {
    let cli = Service::start();
    let well = cli.run(&["doctor"]);
    assert_eq!(well.code, 0, "{well:?}");
    let checks = cli.json(&["doctor"]);
    let verdicts: Vec<_> = checks.as_array().unwrap().iter().map(|check| (&check["what"], &check["verdict"])).collect();
    for what in ["service", "database", "token", "version", "engine simulated"] {
        assert!(verdicts.contains(&(&json!(what), &json!("ok"))), "{what}: {verdicts:?}");
    }
    assert_eq!(Cli::offline().run(&["doctor"]).code, 1);
    assert_eq!(cli.with_token("a-token-that-nobody-made").run(&["doctor"]).code, 1);
}

#[test]
fn a_service_starts_though_its_engines_are_away_and_says_so() {
    // Nothing listens on the discard port's neighbour.
    let cli = Service::with(
        "default_engine = 'simulated'
        [engines.simulated]
        kind = 'simulated'
        [engines.docker]
        kind = 'docker'
        host = 'tcp://127.0.0.1:1'
        [engines.swarm]
        kind = 'swarm'
        host = 'tcp://127.0.0.1:1'
        [engines.nomad]
        kind = 'nomad'
        address = 'http://127.0.0.1:1'
        ",
    );
    for (name, reachable) in [("simulated", true), ("docker", false), ("swarm", false), ("nomad", false)] {
        eventually(|| {
            let engines = cli.json(&["engine", "list"]);
            let engine = engines.as_array()?.iter().find(|engine| engine["name"] == name)?;
            (engine["health"]["reachable"] == json!(reachable)).then_some(())
        });
    }
}

#[test]
fn an_interrupt_where_nobody_can_be_asked_leaves_the_run() {
    let cli = Service::start();
    cli.job("endless", &["print=begun", "forever"]);
    let following = cli.start(&["run", "endless", "--follow"]);
    let run = eventually(|| cli.json(&["runs", "--state", "running"])[0]["id"].as_str().map(str::to_owned));
    eventually(|| following.stderr().contains(&run).then_some(()));
    signal("INT", following.id());
    let left = following.end();
    assert_eq!(left.code, 130, "{left:?}");
    assert!(left.stderr.contains(&format!("the run goes on: haulier logs -f {run}")), "{left:?}");
    assert_eq!(cli.json(&["show", &run])["state"], "running");
    assert_eq!(cli.run(&["cancel", &run]).code, 0);
}

#[test]
fn a_closed_pipe_is_no_panic() {
    let cli = Service::start();
    let mut child = cli.command(&["openapi"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let ended = child.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(141));
    assert_eq!(String::from_utf8_lossy(&ended.stderr), "");
}

#[test]
fn the_service_ends_when_told_and_keeps_its_token_to_itself() {
    let mut cli = Service::start();
    let first = cli.log();
    assert_eq!(first.matches("HAULIER_TOKEN=").count(), 1, "{first}");
    assert!(first.contains("Back it up"), "{first}");
    assert!(!first.contains('\u{1b}'), "there are colours where nobody sees them: {first:?}");
    let code = cli.restart();
    assert_eq!(code, Some(0));
    let second = cli.log();
    assert!(!second.contains("HAULIER_TOKEN") && !second.contains("Back it up"), "{second}");
    assert_eq!(cli.run(&["runs"]).code, 0, "the first token still works");
}

#[test]
fn wrong_settings_are_usage_errors() {
    let cli = Cli::offline();
    let mut child = cli.command(&["serve", "--listen", "here"]);
    let refused = child.env("HAULIER_DATA_DIR", "/nowhere").output().unwrap();
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("127.0.0.1:8080"));
}

#[test]
fn shells_get_completions() {
    let script = Cli::offline().stdout(&["completions", "bash"]);
    let mut bash = std::process::Command::new("bash").arg("-n").stdin(Stdio::piped()).spawn().unwrap();
    bash.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    assert!(bash.wait().unwrap().success());
    assert!(script.contains("haulier__job__apply") || script.contains("haulier__subcmd__job__subcmd__apply"));
}

#[test]
fn help_is_as_published() {
    let cli = Cli::offline();
    insta::assert_snapshot!("help", cli.stdout(&["--help"]));
    let commands: [&[&str]; 44] = [
        &["demo"],
        &["health"],
        &["init"],
        &["dev"],
        &["deploy"],
        &["registry", "remove"],
        &["serve"],
        &["job", "apply"],
        &["job", "list"],
        &["job", "show"],
        &["job", "archive"],
        &["job", "revisions"],
        &["job", "restore"],
        &["job", "enable"],
        &["job", "disable"],
        &["run"],
        &["runs"],
        &["show"],
        &["logs"],
        &["cancel"],
        &["retry"],
        &["limit", "list"],
        &["limit", "show"],
        &["limit", "set"],
        &["limit", "remove"],
        &["state", "show"],
        &["state", "set"],
        &["state", "history"],
        &["secret", "list"],
        &["secret", "set"],
        &["secret", "remove"],
        &["registry", "set"],
        &["token", "create"],
        &["token", "list"],
        &["token", "revoke"],
        &["project", "create"],
        &["project", "images"],
        &["engine", "list"],
        &["notices"],
        &["channel", "list"],
        &["channel", "set"],
        &["channel", "test"],
        &["doctor"],
        &["completions"],
    ];
    let pages: Vec<_> = commands
        .iter()
        .map(|command| {
            let page = cli.stdout(&[*command, &["-h"]].concat());
            // They are the same for all.
            page.split("\n\n").filter(|part| !part.starts_with("Global options:")).collect::<Vec<_>>().join("\n\n")
        })
        .collect();
    insta::assert_snapshot!("commands", pages.join("\n\n----\n\n"));
}

#[test]
fn the_master_key_is_changed_while_it_serves() {
    let cli = Service::start();
    assert_eq!(cli.json(&["keys", "list"]).as_array().unwrap().len(), 1);
    let said = cli.stdout(&["keys", "rotate"]);
    let (key, rest) = said.strip_prefix("master key ").unwrap().split_once(' ').unwrap();
    assert_eq!(rest, "(a new one: back it up); projects sealed anew: 1\n");
    let listed = cli.stdout(&["keys", "list"]);
    let rows: Vec<Vec<_>> = listed.lines().skip(1).map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], [key, "current", "1"]);
    assert_eq!(rows[1][1..], ["older", "0"]);
    assert_eq!(cli.json(&["audit", "--instance"])[0]["target"], key);
}
