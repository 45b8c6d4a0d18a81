//! What this engine alone must do, by root and by an ordinary user alike.

use std::{fs, process::Command, sync::Arc};

use futures::StreamExt;
use haulier::engines::{
    Change, Engine, LaunchFailure, LaunchFile, LaunchProgress, LaunchVariable, LogSource, WorkloadPhase,
    contract::{Step, Subject, Verdict, run_case},
};

use super::{archive, embedded, embedded_rootless, root, run_by_an_ordinary_user, shim_of};

#[tokio::test(flavor = "multi_thread")]
async fn embedded_shim_killed_is_an_interruption() {
    run_case("embedded_shim_killed_is_an_interruption", embedded().await, shim_killed_is_an_interruption).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn embedded_secrets_are_nowhere_on_the_disk() {
    run_case("embedded_secrets_are_nowhere_on_the_disk", embedded().await, secrets_are_nowhere_on_the_disk).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn embedded_containers_are_confined() {
    run_case("embedded_containers_are_confined", embedded().await, containers_are_confined).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rootless_shim_killed_is_an_interruption() {
    let case = "embedded_engine::cases::rootless_shim_killed_is_an_interruption";
    if !run_by_an_ordinary_user(case) {
        run_case(case, embedded_rootless().await, shim_killed_is_an_interruption).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rootless_secrets_are_nowhere_on_the_disk() {
    let case = "embedded_engine::cases::rootless_secrets_are_nowhere_on_the_disk";
    if !run_by_an_ordinary_user(case) {
        run_case(case, embedded_rootless().await, secrets_are_nowhere_on_the_disk).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rootless_containers_are_confined() {
    let case = "embedded_engine::cases::rootless_containers_are_confined";
    if !run_by_an_ordinary_user(case) {
        run_case(case, embedded_rootless().await, containers_are_confined).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn embedded_layers_hide_what_lies_below_and_keep_their_owners() {
    let case = "embedded_layers_hide_what_lies_below_and_keep_their_owners";
    run_case(case, embedded().await, layers_hide_what_lies_below_and_keep_their_owners).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rootless_layers_hide_what_lies_below_and_keep_their_owners() {
    let case = "embedded_engine::cases::rootless_layers_hide_what_lies_below_and_keep_their_owners";
    if !run_by_an_ordinary_user(case) {
        run_case(case, embedded_rootless().await, layers_hide_what_lies_below_and_keep_their_owners).await;
    }
}

/// The process that keeps a container may die; its container dies with it, and nobody takes that for the script's doing.
async fn shim_killed_is_an_interruption(subject: Arc<Subject>) -> Verdict {
    let handle = subject.launch(&subject.spec(&[Step::Print("ready"), Step::AwaitTerm(0)])).await;
    subject.begun(&handle).await;
    subject.running(&handle).await;
    let mut changes = subject.engine.changes();
    let shim = shim_of(&handle.id).expect("its shim runs");
    assert!(Command::new("kill").args(["-9", &shim]).status().unwrap().success());
    let exit = subject.end(&handle).await;
    assert!(matches!(exit.failure, Some(LaunchFailure::Interrupted(_))), "{exit:?}");
    assert_eq!((exit.code, exit.out_of_memory), (None, false));
    assert_eq!(changes.next().await, Some(Change::Workload(handle.attempt)), "and it is told");
    // Seen in the same way by others; what it wrote is kept, and nothing of it runs on.
    assert_eq!(
        subject.other.observe(std::slice::from_ref(&handle)).await.unwrap()[&handle.attempt].as_ref().unwrap().phase,
        WorkloadPhase::Exited(exit)
    );
    assert_eq!(subject.output(&handle, LogSource::Stdout).await, b"ready\n");
    subject.engine.remove(&handle).await.unwrap();
    // In whichever hierarchy, and below whichever group.
    let left = Command::new("find").args(["/sys/fs/cgroup", "-name", &handle.id]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&left.stdout), "");
    Ok(())
}

/// Secrets are in no file that outlives the start, and in no command line.
async fn secrets_are_nowhere_on_the_disk(subject: Arc<Subject>) -> Verdict {
    let mut spec = subject.spec(&[Step::Print("ready"), Step::AwaitTerm(0)]);
    spec.env = vec![LaunchVariable::secret("TOKEN", "the-secret-itself")];
    let content = b"the-secret-itself".to_vec().into();
    spec.files = vec![LaunchFile { path: "/run/secrets/token".to_owned(), content, mode: 0o400, secret: true }];
    let handle = subject.launch(&spec).await;
    subject.running(&handle).await;
    let root = root().join("runs").join(&handle.id);
    let grep = Command::new("grep")
        // What overlayfs works in, nobody may look into but root.
        .args(["-rqs", "--devices=skip", "--exclude-dir=work", "the-secret-itself"])
        .arg(&root)
        .status();
    assert_eq!(grep.unwrap().code(), Some(1), "found in {}", root.display());
    let command = fs::read(format!("/proc/{}/cmdline", shim_of(&handle.id).unwrap())).unwrap();
    assert!(!String::from_utf8_lossy(&command).contains("the-secret-itself"));
    Ok(())
}

/// What a container may not do, it cannot.
async fn containers_are_confined(subject: Arc<Subject>) -> Verdict {
    let script = "
            mount -t tmpfs none /mnt 2>/dev/null && echo mounted
            unshare -m true 2>/dev/null && echo unshared
            mknod /tmp/disk b 254 0 2>/dev/null && echo made a device
            hostname other 2>/dev/null && echo renamed
            { echo 1 >/proc/sys/kernel/panic; } 2>/dev/null && echo configured the kernel
            { echo b >/proc/sysrq-trigger; } 2>/dev/null && echo pressed a key
            { mkdir /sys/fs/cgroup/pids/mine; } 2>/dev/null && echo made a group
            { echo 1 >/etc/hosts; } 2>/dev/null && echo changed the host
            { echo 1 >/sys/fs/cgroup/memory/memory.limit_in_bytes; } 2>/dev/null && echo changed its limit
            readlink /proc/1/exe /proc/1/root /proc/1/fd/*
            grep -E '^(NoNewPrivs|Seccomp|CapEff):' /proc/self/status
            ls /proc | grep -c '^[0-9]'";
    let output = subject.stdout(&subject.spec(&[Step::Shell(script)])).await;
    let lines: Vec<_> = output.split_whitespace().collect();
    // chown, dac_override, fowner, fsetid, kill, setgid, setuid, net_bind_service, sys_chroot
    let expected = ["CapEff:", "00000000000404fb", "NoNewPrivs:", "1", "Seccomp:", "2"];
    assert_eq!(lines[..6], expected, "{output}");
    assert!(lines[6].parse::<u32>().unwrap() < 8, "its own processes alone: {output}");
    Ok(())
}

/// Deleted files, directories that hide others, files and a main process of another user.
async fn layers_hide_what_lies_below_and_keep_their_owners(subject: Arc<Subject>) -> Verdict {
    let busybox = archive::busybox();
    let below: &[archive::File<'_>] = &[
        ("bin/busybox", &busybox, 0),
        ("deleted/stays", b"", 1234),
        ("deleted/goes", b"", 0),
        ("hidden/goes", b"", 0),
        ("hidden/this/too", b"", 0),
    ];
    let above: &[archive::File<'_>] =
        &[("deleted/.wh.goes", b"", 0), ("hidden/.wh..wh..opq", b"", 0), ("hidden/new", b"", 4321)];
    let archives = tempfile::tempdir_in(root()).unwrap();
    let engine = archive::engine(subject.owner, &root(), archives.path());
    let script = "cd /; b=/bin/busybox
        $b find deleted hidden -type f -exec $b stat -c '%u:%g %n' {} +; $b id -u
        $b touch /mine 2>/dev/null && echo root may write";
    let spec =
        archive::launch(&subject, archives.path(), &[below, above], "1234", &["/bin/busybox", "sh", "-c", script]);
    engine.ensure(&spec, &LaunchProgress::new().0).await.unwrap();
    let handle = subject.launch(&spec).await;
    assert_eq!(subject.end(&handle).await.failure, None);
    let output = String::from_utf8(subject.output(&handle, LogSource::Stdout).await).unwrap();
    assert_eq!(output, "1234:1234 deleted/stays\n4321:4321 hidden/new\n1234\n");
    Ok(())
}
