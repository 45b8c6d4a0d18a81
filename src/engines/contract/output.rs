//! What a workload writes.

use futures::StreamExt;

use super::{Dialect, Step, Subject, Verdict};
use crate::engines::{Handle, LogSource};

/// stdout and stderr are told apart, each in its order.
pub async fn streams_apart(subject: &Subject) -> Verdict {
    subject.needs(subject.engine.capabilities().streams_apart, "streams_apart")?;
    let steps = [Step::Print("out 1"), Step::PrintErr("err 1"), Step::Print("out 2"), Step::PrintErr("err 2")];
    let (handle, exit) = subject.run(&subject.spec(&steps)).await;
    assert_eq!(subject.output(&handle, LogSource::Stdout).await, b"out 1\nout 2\n");
    assert_eq!(subject.output(&handle, LogSource::Stderr).await, b"err 1\nerr 2\n");
    let frames = subject.frames(&handle).await;
    // Engines may keep whole seconds.
    let second = |time: crate::domain::Timestamp| time.as_micros().div_euclid(1_000_000);
    let started = exit.started_at.map(second).expect("its start");
    assert!(frames.iter().all(|frame| second(frame.time) >= started), "{frames:?}");
    Ok(())
}

/// Silence.
pub async fn no_output(subject: &Subject) -> Verdict {
    let (handle, _) = subject.run(&subject.spec(&[Step::Exit(0)])).await;
    assert_eq!(subject.frames(&handle).await, Vec::new());
    Ok(())
}

/// A last line without an end is neither lost nor given one.
pub async fn output_without_newline(subject: &Subject) -> Verdict {
    // Lingering does not help there: a daemon passes such a line on when the container has ended.
    subject.needs(subject.dialect != Dialect::LingeringShell, "whole_output")?;
    let steps = [Step::Print("first"), Step::Write("no end"), Step::Exit(0)];
    let (handle, _) = subject.run(&subject.spec(&steps)).await;
    assert_eq!(subject.output(&handle, LogSource::Stdout).await, b"first\nno end");
    Ok(())
}

/// Lines of 100 KB come through whole.
pub async fn long_lines(subject: &Subject) -> Verdict {
    subject.needs_shell()?;
    let script = "for i in 1 2 3; do head -c 102400 /dev/zero | tr '\\0' $i; echo; done";
    let output = subject.stdout(&subject.spec(&[Step::Shell(script)])).await;
    let lines: Vec<_> = output.lines().collect();
    assert_eq!(lines.len(), 3);
    for (line, digit) in lines.into_iter().zip(["1", "2", "3"]) {
        assert!(line == digit.repeat(102_400), "{} bytes, {}…", line.len(), &line[..40]);
    }
    Ok(())
}

/// Ten megabytes come through whole, in their order.
pub async fn big_output(subject: &Subject) -> Verdict {
    subject.needs_shell()?;
    subject.needs(subject.engine.capabilities().whole_output, "whole_output")?;
    let (lines, width) = (131_072, 80);
    let script = format!("seq 1 {lines} | xargs -n 4096 printf '%0{}d\\n'", width - 1);
    // Read from the start, as the service does: an engine may keep less than this.
    let handle = subject.launch(&subject.spec(&[Step::Shell(&script)])).await;
    let output = subject.output(&handle, LogSource::Stdout).await;
    let output = String::from_utf8(output).expect("the output is text");
    assert_eq!(subject.end(&handle).await.code, Some(0));
    assert_eq!(output.len(), lines * width);
    let wrong = output.lines().zip(1..).find(|(line, number)| line.parse::<usize>() != Ok(*number));
    assert_eq!(wrong, None);
    Ok(())
}

/// Bytes that are no text, zero bytes among them.
pub async fn binary_output(subject: &Subject) -> Verdict {
    subject.needs_shell()?;
    let (handle, _) = subject.run(&subject.spec(&[Step::Shell(r"printf 'a\000\377\376b\nc\001\033[0m\n'")])).await;
    let output = subject.output(&handle, LogSource::Stdout).await;
    // Engines that keep JSON replace what is no UTF-8; nothing may be lost around it.
    let text = String::from_utf8_lossy(&output);
    assert_eq!(text, "a\0\u{fffd}\u{fffd}b\nc\u{1}\u{1b}[0m\n");
    Ok(())
}

/// Output arrives while the workload runs, and the stream ends with it.
pub async fn output_is_followed(subject: &Subject) -> Verdict {
    let handle = subject.launch(&subject.spec(&[Step::Print("early"), Step::AwaitTerm(0)])).await;
    let mut frames = subject.engine.logs(&handle);
    let first = frames.next().await.expect("a frame").expect("the output can be read");
    assert_eq!(&first.bytes[..], b"early\n");
    subject.running(&handle).await;
    subject.engine.stop(&handle, std::time::Duration::from_secs(20)).await.expect("it can be stopped");
    let rest = tokio::time::timeout(super::PATIENCE, frames.collect::<Vec<_>>()).await.expect("the output ends");
    let unsure = !subject.engine.capabilities().output_after_stop;
    assert!(rest.iter().all(|frame| unsure && frame.is_err()), "{rest:?}");
    Ok(())
}

/// Each reading begins at the first byte.
pub async fn output_again_from_the_first(subject: &Subject) -> Verdict {
    let (handle, _) = subject.run(&subject.spec(&[Step::Print("a"), Step::PrintErr("b"), Step::Print("c")])).await;
    let first = subject.frames(&handle).await;
    assert_eq!(first.len(), 3);
    assert_eq!(subject.frames(&handle).await, first);
    Ok(())
}

/// What is read again is never newer than it was, so that who has it can tell.
pub async fn output_again_while_it_runs(subject: &Subject) -> Verdict {
    let handle = subject.launch(&subject.spec(&[Step::Print("early"), Step::AwaitTerm(0)])).await;
    let first = subject.begun(&handle).await;
    let again = subject.other.logs(&handle).next().await.expect("a frame").expect("the output can be read");
    assert_eq!(again.bytes, first.bytes);
    assert!(again.time <= first.time, "{} is newer than {}", again.time, first.time);
    Ok(())
}

/// The output of what is not there ends at once.
pub async fn output_of_a_missing_workload(subject: &Subject) -> Verdict {
    let attempt = subject.spec(&[]).attempt;
    let handle = Handle { attempt, id: attempt.workload_name().to_string() };
    assert_eq!(subject.frames(&handle).await, Vec::new());
    Ok(())
}
