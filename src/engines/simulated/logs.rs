//! A simulated workload's output.

use futures::{StreamExt, stream};
use tokio::{
    sync::futures::OwnedNotified,
    time::{Instant, sleep_until},
};

use super::control::SimulatedControl;
use crate::engines::{EngineError, LogFrame, LogStream};

/// What comes next in a workload's output.
enum Next {
    Frame(LogFrame),
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
        control.reach("read the output")?;
        match look(control, id, read) {
            Next::Frame(frame) => return Ok(Some(frame)),
            Next::End => return Ok(None),
            Next::Wait(until, moved) => {
                let mut reachable = control.reachable();
                let time = async {
                    match until {
                        Some(until) => sleep_until(until).await,
                        None => std::future::pending().await,
                    }
                };
                tokio::select! {
                    () = time => {}
                    () = moved => {}
                    _ = reachable.wait_for(|reachable| !reachable) => {}
                }
            }
        }
    }
}

fn look(control: &SimulatedControl, id: &str, read: usize) -> Next {
    let world = control.world();
    let Some(workload) = world.get(id) else { return Next::End };
    let now = Instant::now();
    let frame = workload.script.output.get(read);
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
