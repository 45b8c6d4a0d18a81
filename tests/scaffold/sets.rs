//! `haulier job apply` of whole folders.

use std::fs;

use serde_json::json;
use tempfile::TempDir;

use crate::service::Service;

fn folder(files: &[(&str, &str)]) -> (TempDir, String) {
    let dir = TempDir::new().unwrap();
    for (name, text) in files {
        fs::write(dir.path().join(name), text).unwrap();
    }
    let path = dir.path().to_str().unwrap().to_owned();
    (dir, path)
}

#[test]
fn nothing_is_changed_when_one_file_is_wrong() {
    let cli = Service::start();
    let (dir, path) = folder(&[
        ("a.yaml", "name: a\nimage: sim/ok\n"),
        ("b.yaml", "name: b\nimage: sim/ok\nmax_parallel: 0\n"),
        ("c.yml", "name: c\nimagee: sim/ok\n"),
        ("notes.txt", "no job"),
    ]);
    let refused = cli.run(&["job", "apply", "-f", &path]);
    assert_eq!(refused.code, 2);
    for told in ["b.yaml, line 3, column 15: /max_parallel", "c.yml, line 2, column 1: unknown field"] {
        assert!(refused.stderr.contains(told), "{told}: {refused:?}");
    }
    // What the service alone knows stops all of them too.
    fs::write(dir.path().join("b.yaml"), "name: b\nimage: sim/ok\nlimits: [{name: nowhere}]\n").unwrap();
    fs::remove_file(dir.path().join("c.yml")).unwrap();
    let refused = cli.run(&["job", "apply", "-f", &path]);
    assert!(refused.code == 1 && refused.stderr.contains("there is no limit nowhere"), "{refused:?}");
    assert_eq!(cli.json(&["job", "list"]), json!([]));
    fs::write(dir.path().join("b.yaml"), "name: a\nimage: sim/ok\n").unwrap();
    let twice = cli.run(&["job", "apply", "-f", &path]);
    assert!(twice.code == 2 && twice.stderr.contains("a name stands for one job"), "{twice:?}");
    let (_dir, empty) = folder(&[]);
    assert_eq!(cli.run(&["job", "apply", "-f", &empty]).code, 2);
}

#[test]
fn the_plan_tells_each_field_and_no_secret() {
    let cli = Service::start();
    let (dir, path) = folder(&[
        ("a.yaml", "name: a\nimage: sim/ok\nenv: {MODE: slow}\nsecrets: {KEY: {value: hunter2-old}}\n"),
        ("b.yaml", "name: b\nimage: sim/ok\n"),
        ("c.yaml", "name: c\nimage: sim/ok\nsecrets: {KEY: {value: hunter2-old}}\n"),
    ]);
    let apply = ["job", "apply", "-f", &path];
    assert_eq!(cli.stdout(&[&apply[..], &["--dry-run"]].concat()), "+ a (new)\n+ b (new)\n+ c (new)\n");
    assert_eq!(cli.json(&["job", "list"]), json!([]));
    cli.stdout(&apply);
    let changed = "name: a\nimage: sim/ok\nenv: {MODE: fast}\nmax_parallel: 2\nsecrets: {KEY: {value: hunter2-old}}\n";
    fs::write(dir.path().join("a.yaml"), changed).unwrap();
    let secret = "name: c\nimage: sim/ok\nsecrets: {KEY: {value: hunter2-new}}\n";
    fs::write(dir.path().join("c.yaml"), secret).unwrap();
    let plan = cli.stdout(&[&apply[..], &["--dry-run"]].concat());
    let expected = "~ a (revision 1 → 2)\n    /env/MODE: \"slow\" → \"fast\"\n    /max_parallel: null → 2\n\
                    = b (revision 1)\n~ c (revision 1 → 2)\n    /secrets: a value (never shown)\n";
    assert_eq!(plan, expected);
    let plan = cli.json(&[&apply[..], &["--dry-run"]].concat());
    assert_eq!(plan[0]["fields"][0], json!({"pointer": "/env/MODE", "before": "slow", "after": "fast"}));
    assert!(!plan.to_string().contains("hunter2"));
    let applied = cli.stdout(&apply);
    assert_eq!(applied, "a revision 2 (changed)\nb revision 1 (unchanged)\nc revision 2 (changed)\n");
}

#[test]
fn what_is_gone_is_archived_within_its_set_alone() {
    let cli = Service::start();
    let (dir, path) = folder(&[("a.yaml", "name: a\nimage: sim/ok\n"), ("b.yaml", "name: b\nimage: sim/ok\n")]);
    let (_other, others) = folder(&[("d.yaml", "name: d\nimage: sim/ok\n")]);
    cli.stdout(&["job", "apply", "-f", &path, "--set", "mine"]);
    cli.stdout(&["job", "apply", "-f", &others, "--set", "others"]);
    cli.job("by-hand", &[]);
    fs::remove_file(dir.path().join("b.yaml")).unwrap();
    let apply = ["job", "apply", "-f", &path, "--set", "mine", "--prune"];
    assert_eq!(cli.stdout(&[&apply[..], &["--dry-run"]].concat()), "= a (revision 1)\n- b (archived)\n");
    // Nobody can be asked here.
    let asked = cli.run(&apply);
    assert!(asked.code == 2 && asked.stderr.contains("no file has b any more"), "{asked:?}");
    assert_eq!(cli.json(&["job", "list"]).as_array().unwrap().len(), 4);
    let pruned = cli.run(&[&apply[..], &["--yes"]].concat());
    assert!(pruned.code == 0 && pruned.stderr.contains("b is archived"), "{pruned:?}");
    let left: Vec<_> =
        cli.json(&["job", "list"]).as_array().unwrap().iter().map(|job| job["spec"]["name"].clone()).collect();
    assert_eq!(left, ["a", "by-hand", "d"]);
    assert_eq!(cli.run(&["job", "apply", "-f", &path, "--prune"]).code, 2);
    let stolen = cli.run(&["job", "apply", "-f", &others, "--set", "mine"]);
    assert!(stolen.code == 2 && stolen.stderr.contains("belongs to the set others"), "{stolen:?}");
}
