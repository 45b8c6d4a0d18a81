//! A simulated workload's output.

use futures::{StreamExt, stream};
use tokio::{
    sync::futures::OwnedNotified,
    time::{Instant, timeout_at},
};

use super::control::SimulatedControl;
use crate::engines::{EngineError, EngineErrorKind, LogFrame, LogStream, Persistence};

/// What comes next in a workload's output.
enum Next {
    Frame(LogFrame),
    /// Some of it is gone.
    Gap,
    Wait(Option<Instant>, OwnedNotified),
    End,
}

pub(super) fn follow(control: SimulatedControl, id: String) -> LogStream {
    stream::unfold(Some((control, id, 0)), |reader| async move {
        let (control, id, read) = reader?;
        match next(&control, &id, read).await {
            Ok(Some(frame)) => Some((Ok(frame), Some((control, id, read + 1)))),
            Ok(None) => None,
            Err(error) => Some((Err(error), None)),
        }
    })
    .boxed()
}

async fn next(control: &SimulatedControl, id: &str, read: usize) -> Result<Option<LogFrame>, EngineError> {
    loop {
        let next = look(control, id, read);
        // Looked at first: who makes it unreachable after this wakes what waits.
        control.reach("read the output")?;
        match next {
            Next::Gap => {
                control.world().set_gap(id, false);
                let text = "some of it is gone";
                let (kind, persistence) = (EngineErrorKind::OutputLost, Persistence::Permanent);
                return Err(EngineError::new(kind, persistence, "read the output", text));
            }
            Next::Frame(frame) => return Ok(Some(frame)),
            Next::End => return Ok(None),
            Next::Wait(None, moved) => moved.await,
            Next::Wait(Some(until), moved) => {
                let _ = Box::pin(timeout_at(until, moved)).await;
            }
        }
    }
}

fn look(control: &SimulatedControl, id: &str, read: usize) -> Next {
    let world = control.world();
    let Some(workload) = world.get(id) else { return Next::End };
    if workload.gap {
        return Next::Gap;
    }
    let now = Instant::now();
    let passed = |_: &_| workload.script.gate.is_none_or(|gate| read < gate.output);
    let frame = workload.script.output.get(read).filter(passed);
    let due =
        frame.map(|(after, ..)| workload.started + *after).filter(|due| workload.ends.is_none_or(|end| *due <= end));
    match (frame, due) {
        (Some((_, source, bytes)), Some(due)) if due <= now => {
            Next::Frame(LogFrame { time: world.time(due), source: *source, bytes: bytes.clone() })
        }
        (_, Some(due)) => Next::Wait(Some(due), workload.moved.clone().notified_owned()),
        (_, None) if workload.has_ended(now) => Next::End,
        (_, None) => Next::Wait(workload.ends, workload.moved.clone().notified_owned()),
    }
}
