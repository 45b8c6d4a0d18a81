//! How a workload ends, and what is told of it.

use super::{Step, Subject, Verdict};
use crate::engines::{EngineErrorKind, Exit, Handle, LaunchFailure, LaunchProgress, LaunchSpec, WorkloadPhase};

/// Code 0, with its times and nothing else.
pub async fn success(subject: &Subject) -> Verdict {
    let (handle, exit) = subject.run(&subject.spec(&[Step::Print("hello"), Step::Exit(0)])).await;
    assert_eq!((exit.code, exit.out_of_memory, &exit.failure), (Some(0), false, &None));
    let (started, finished) = (exit.started_at.expect("its start"), exit.finished_at.expect("its end"));
    assert!(started <= finished, "{started} to {finished}");
    let seen = subject.observe(&handle).await;
    assert!(seen.execution.is_some(), "an execution has a name");
    assert_eq!(seen, subject.observe(&handle).await, "an end stays as it is");
    Ok(())
}

/// A code of the script's own.
pub async fn exit_code(subject: &Subject) -> Verdict {
    let (_, exit) = subject.run(&subject.spec(&[Step::Exit(3)])).await;
    assert_eq!((exit.code, exit.out_of_memory, exit.failure), (Some(3), false, None));
    Ok(())
}

/// Death by a signal is 128 + n, and is not want of memory.
pub async fn killed_by_signal(subject: &Subject) -> Verdict {
    let (_, exit) = subject.run(&subject.spec(&[Step::Signal(9)])).await;
    assert_eq!((exit.code, exit.out_of_memory, exit.failure), (Some(137), false, None));
    Ok(())
}

/// A kill for want of memory.
pub async fn out_of_memory(subject: &Subject) -> Verdict {
    subject.needs(subject.engine.capabilities().memory_limit, "memory_limit")?;
    let mut spec = subject.spec(&[Step::TakeMemory]);
    spec.resources.memory_mb = Some(16);
    let (_, exit) = subject.run(&spec).await;
    assert_eq!((exit.code, exit.failure), (Some(137), None));
    // An engine may tell more than it promises.
    assert!(exit.out_of_memory || !subject.engine.capabilities().out_of_memory_told);
    Ok(())
}

/// A child that is killed does not spoil the success of a script that copes with it.
pub async fn out_of_memory_of_a_child(subject: &Subject) -> Verdict {
    subject.needs_shell()?;
    subject.needs(subject.engine.capabilities().memory_limit, "memory_limit")?;
    let child = r#"sh -c 'x=0123456789abcdef; while :; do x=$x$x; done'; [ $? = 137 ] && echo coped"#;
    let mut spec = subject.spec(&[Step::Shell(child), Step::Exit(0)]);
    spec.resources.memory_mb = Some(16);
    let (_, exit) = subject.run(&spec).await;
    assert_eq!((exit.code, exit.out_of_memory, exit.failure), (Some(0), false, None));
    Ok(())
}

/// A command that the image does not have.
pub async fn command_not_found(subject: &Subject) -> Verdict {
    subject.needs_shell()?;
    let mut spec = subject.spec(&[]);
    (spec.command, spec.args) = (Some(vec!["no-such-command".to_owned()]), Vec::new());
    expect_no_command(subject, &spec).await;
    Ok(())
}

/// A command that is there and cannot be executed.
pub async fn command_not_executable(subject: &Subject) -> Verdict {
    subject.needs_shell()?;
    let mut spec = subject.spec(&[]);
    (spec.command, spec.args) = (Some(vec!["/etc/passwd".to_owned()]), Vec::new());
    expect_no_command(subject, &spec).await;
    Ok(())
}

/// The launch fails for good, or the workload ends as not startable.
async fn expect_no_command(subject: &Subject, spec: &LaunchSpec) {
    for _ in 0..2 {
        match subject.engine.ensure(spec, &LaunchProgress::new().0).await {
            Ok(handle) => {
                let exit = subject.end(&handle).await;
                assert!(matches!(exit.failure, Some(LaunchFailure::CommandNotFound(_))), "{exit:?}");
            }
            Err(error) => {
                assert_eq!(error.kind, EngineErrorKind::CommandNotFound, "{error}");
                assert!(error.is_permanent());
            }
        }
    }
    // Whatever is left can be removed.
    for found in subject.engine.list().await.expect("a list") {
        assert!(!found.running);
        subject.engine.remove(&found.handle).await.expect("it can be removed");
    }
    assert_eq!(subject.engine.list().await.expect("a list"), Vec::new());
}

/// A script may end with 127 itself, as shells do.
pub async fn own_code_127(subject: &Subject) -> Verdict {
    let (_, exit) = subject.run(&subject.spec(&[Step::PrintErr("sh: nope: not found"), Step::Exit(127)])).await;
    assert_eq!((exit.code, exit.failure), (Some(127), None));
    Ok(())
}

/// A workload that was never there.
pub async fn observe_missing(subject: &Subject) -> Verdict {
    let attempt = subject.spec(&[]).attempt;
    let handle = Handle { attempt, id: attempt.workload_name().to_string() };
    let seen = subject.observe(&handle).await;
    assert_eq!((seen.phase, seen.execution), (WorkloadPhase::Absent, None));
    assert_ne!(WorkloadPhase::Absent, WorkloadPhase::Exited(Exit::default()));
    Ok(())
}
