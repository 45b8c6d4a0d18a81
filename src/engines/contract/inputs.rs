//! What a workload is given: environment, files, limits.

use std::time::Duration;

use super::{Step, Subject, Verdict};
use crate::engines::{LaunchFile, LaunchVariable};

/// Values arrive byte for byte, whatever an engine or a shell might make of them.
pub async fn environment_is_exact(subject: &Subject) -> Verdict {
    let values = [
        ("DOLLAR", "${HOME} $HOME $$ %{x} {{ y }} ${env[\"z\"]}"),
        ("QUOTES", r#"it's "quoted" \n `here`"#),
        ("LINES", "one\ntwo\n\nfour"),
        ("EMPTY", ""),
        ("EQUALS", "a=b=c"),
        ("UNICODE", "grüße 🚚"),
        ("JSON", r#"{"a": [1, "b"], "c": null}"#),
        ("HASH", "# a #b\\"),
        ("SPACES", " \t both ends \t "),
        ("CONTROL", "a\r\u{8}\u{1b}[1m\u{7f}b"),
    ];
    let steps: Vec<_> = values.iter().map(|(name, _)| Step::PrintEnv(name)).collect();
    let expected: String = values.iter().map(|(_, value)| format!("{value}\n")).collect();
    for secret in [false, true] {
        let mut spec = subject.spec(&steps);
        let variable = |(name, value): &(&str, &str)| LaunchVariable { secret, ..LaunchVariable::plain(*name, *value) };
        spec.env = values.iter().map(variable).collect();
        assert_eq!(subject.stdout(&spec).await, expected, "secret: {secret}");
    }
    Ok(())
}

/// Arguments arrive byte for byte, with no shell in between.
pub async fn arguments_are_exact(subject: &Subject) -> Verdict {
    subject.needs_shell()?;
    let arguments = [
        "${HOME} $HOME $$ $$$ $",
        "$(GIVEN) $$(GIVEN) $(NOT_GIVEN)",
        "%{x} %%{x} {{ y }} {{.Node.Hostname}} ${env[\"z\"]} ${node.unique.id}",
        r#"it's "quoted" \n `here`"#,
        "one\ntwo\n\nfour",
        "",
        "grüße 🚚",
    ];
    let mut spec = subject.spec(&[]);
    spec.env = vec![LaunchVariable::plain("GIVEN", "expanded")];
    let printf = subject.dialect.program(&["/bin/printf", "[%s]\n"]);
    spec.command = Some(printf.clone());
    spec.args = arguments.map(str::to_owned).to_vec();
    let expected: String = arguments.iter().map(|argument| format!("[{argument}]\n")).collect();
    assert_eq!(subject.stdout(&spec).await, expected);
    // The same, as arguments to what the image itself would run.
    spec.command = None;
    spec.args.splice(0..0, printf);
    assert_eq!(subject.stdout(&spec).await, expected);
    Ok(())
}

/// Without a command the image's own is used, and arguments replace only its arguments.
pub async fn image_entry_point_and_arguments(subject: &Subject) -> Verdict {
    subject.needs_shell()?;
    let mut spec = subject.spec(&[]);
    (spec.command, spec.args) = (None, subject.dialect.program(&["/bin/echo", "a  b", "$c"]));
    assert_eq!(subject.stdout(&spec).await, "a  b $c\n");
    let mut spec = subject.spec(&[]);
    (spec.command, spec.args) = (Some(subject.dialect.program(&["/bin/pwd"])), Vec::new());
    assert_eq!(subject.stdout(&spec).await, "/\n");
    Ok(())
}

fn file(path: &str, content: &[u8], mode: u32, secret: bool) -> LaunchFile {
    LaunchFile { path: path.to_owned(), content: content.to_vec().into(), mode, secret }
}

/// Files are there before the start, with their bytes and modes, and the directories that they need.
pub async fn files_and_secrets(subject: &Subject) -> Verdict {
    subject.needs_shell()?;
    let can = subject.engine.capabilities();
    subject.needs(can.files, "files")?;
    let script = "
        cat /run/secrets/token /run/secrets/deep/er/key /etc/app/config.json /tmp/x
        stat -c '%a %n' /run/secrets/token /etc/app/config.json /tmp /etc/passwd
        tr -d '\\n' </run/secrets/binary | wc -c
        wc -c < /run/haulier/parameters.json
        tail -c 9 /run/haulier/state.json";
    let mut spec = subject.spec(&[Step::Shell(script)]);
    spec.files = vec![
        file("/run/secrets/token", b"s3cret value\n", 0o400, true),
        file("/run/secrets/deep/er/key", b"key\n", 0o400, true),
        file("/run/secrets/binary", &[0, 255, 1, 254].repeat(5000), 0o400, true),
        file("/etc/app/config.json", b"{\"a\": 1}\n", 0o644, false),
        file("/tmp/x", b"x\n", 0o600, false),
        // What a run's documents come to at the most.
        file("/run/haulier/parameters.json", &b"${x} {{y}} %{z}\n".repeat(256 * 64), 0o444, false),
        file("/run/haulier/state.json", &b"${x} {{y}} \"end\"\n".repeat(15_000), 0o444, false),
    ];
    let mode = if can.file_owner { 400 } else { 444 };
    let expected = format!(
        "s3cret value\nkey\n{{\"a\": 1}}\nx\n\
         {mode} /run/secrets/token\n644 /etc/app/config.json\n1777 /tmp\n644 /etc/passwd\n20000\n262144\n}}}} \"end\"\n"
    );
    assert_eq!(subject.stdout(&spec).await, expected);
    Ok(())
}

/// The files belong to the user that the image runs as. The plain image runs as root.
pub async fn files_for_another_user(subject: &Subject) -> Verdict {
    subject.needs_shell()?;
    subject.needs(subject.engine.capabilities().file_owner, "file_owner")?;
    let mut spec = subject.spec(&[Step::Shell("stat -c '%u:%g' /run/secrets/token; id -u")]);
    spec.files = vec![file("/run/secrets/token", b"x", 0o400, true)];
    assert_eq!(subject.stdout(&spec).await, "0:0\n0\n");
    Ok(())
}

/// The kernel knows the limits.
pub async fn limits_apply(subject: &Subject) -> Verdict {
    subject.needs_shell()?;
    let script = "
        cd /sys/fs/cgroup
        cat memory/memory.limit_in_bytes 2>/dev/null || cat memory.max
        [ -z $PIDS ] || cat pids/pids.max 2>/dev/null || cat pids.max
        if [ -d cpu ]; then echo $(($(cat cpu/cpu.cfs_quota_us) * 100 / $(cat cpu/cpu.cfs_period_us)))
        else read quota period <cpu.max; echo $((quota * 100 / period)); fi";
    let mut spec = subject.spec(&[Step::Shell(script)]);
    let can = subject.engine.capabilities();
    subject.needs(can.memory_limit, "memory_limit")?;
    subject.needs(can.cpu_limit, "cpu_limit")?;
    (spec.resources.memory_mb, spec.resources.cpu) = (Some(32), Some(0.5));
    let mut expected = "33554432\n50\n";
    if can.pids_limit {
        spec.resources.pids = Some(77);
        spec.env = vec![LaunchVariable::plain("PIDS", "77")];
        expected = "33554432\n77\n50\n";
    }
    assert_eq!(subject.stdout(&spec).await, expected);
    Ok(())
}

/// A script that knows nothing of signals ends on TERM, though it is the container's main process.
pub async fn init_reaps_and_forwards(subject: &Subject) -> Verdict {
    subject.needs_shell()?;
    let mut spec = subject.spec(&[]);
    (spec.command, spec.args) = (Some(vec!["/bin/sleep".to_owned()]), vec!["3600".to_owned()]);
    let handle = subject.launch(&spec).await;
    subject.running(&handle).await;
    subject.engine.stop(&handle, Duration::from_secs(60)).await.expect("it can be stopped");
    assert_eq!(subject.end(&handle).await.code, Some(143));
    Ok(())
}
