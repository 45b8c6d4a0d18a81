//! `haulier init`.

use std::fs;

use tempfile::TempDir;

use crate::service::{Cli, Running};

#[test]
fn a_folder_with_something_in_it_is_left_alone() {
    let dir = TempDir::new().unwrap();
    let run = |args: &[&str]| Running::start(Cli::offline().command(args).current_dir(dir.path())).end();
    let made = run(&["init", "load-orders"]);
    assert_eq!((made.code, made.stdout.as_str()), (0, "load-orders\n"));
    assert!(made.stderr.contains("haulier dev") && made.stderr.contains("haulier deploy --run"), "{made:?}");
    let project = dir.path().join("load-orders");
    fs::write(project.join("mine.txt"), "mine").unwrap();
    fs::write(project.join("main.py"), "changed").unwrap();
    let again = run(&["init", "load-orders"]);
    assert_eq!((again.code, again.stderr.contains("is not empty")), (2, true), "{again:?}");
    assert_eq!(fs::read_to_string(project.join("main.py")).unwrap(), "changed");
    assert_eq!(run(&["init", "load-orders", "--force"]).code, 0);
    assert_eq!(fs::read_to_string(project.join("mine.txt")).unwrap(), "mine");
    assert!(fs::read_to_string(project.join("main.py")).unwrap().contains("from haulier import run"));
}

#[test]
fn what_cannot_be_a_jobs_name_is_refused() {
    for name in ["Load_Orders", "-x", "a/b", ""] {
        let dir = TempDir::new().unwrap();
        let refused = Running::start(Cli::offline().command(&["init", "--", name]).current_dir(dir.path())).end();
        assert_eq!(refused.code, 2, "{refused:?}");
        assert!(refused.stderr.contains("a name has 1 to 63 characters"), "{refused:?}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "{name}");
    }
}
