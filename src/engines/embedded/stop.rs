//! Ending and removing.

use std::{fs, io, path::Path, time::Duration};

use tokio::time::{Instant, sleep, timeout};

use super::{
    blocking, cgroups, failed,
    rundir::{DRAFT, Ended, Failure, Order, RunDir, Status},
};
use crate::{
    domain::{Clock, SystemClock, Timestamp},
    engines::{EngineError, reexec::Helper},
};

/// How long a shim may take to listen, and after that to end what it keeps.
const SHIM: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(5);
/// What a directory is called that is being removed.
const REMOVED: &str = ".removed-";
/// A directory takes no time to make: what is older was never finished.
const ABANDONED: Duration = Duration::from_secs(600);

/// What an order to stop came to.
#[derive(Debug, PartialEq, Eq)]
enum Stopped {
    /// It is missing, has ended, or can never begin.
    Already,
    /// The shim has the order.
    Told,
    /// There is a shim that does not listen yet.
    NotYet,
}

pub(super) async fn stop(dir: RunDir, grace: Duration) -> Result<(), EngineError> {
    let deadline = Instant::now() + SHIM;
    loop {
        let asked = dir.clone();
        let order = move || match order(&asked, grace) {
            // Removed meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Stopped::Already),
            answer => answer,
        };
        match blocking("stop the workload", order).await? {
            Stopped::Already | Stopped::Told => return Ok(()),
            Stopped::NotYet if Instant::now() < deadline => sleep(PAUSE).await,
            Stopped::NotYet => return Err(failed("stop the workload", &io::ErrorKind::TimedOut.into())),
        }
    }
}

fn order(dir: &RunDir, grace: Duration) -> io::Result<Stopped> {
    if dir.labels()?.is_none() {
        return Ok(Stopped::Already);
    }
    let alive = dir.shim()?.is_some();
    match dir.status()? {
        None => forbid(dir),
        Some(Status::Ended(_)) => Ok(Stopped::Already),
        Some(_) if !alive => Ok(Stopped::Already),
        Some(_) => {
            let grace = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
            Ok(if dir.order(Order::Stop(grace))? { Stopped::Told } else { Stopped::NotYet })
        }
    }
}

/// What was not begun must not be begun by a launch that is late.
fn forbid(dir: &RunDir) -> io::Result<Stopped> {
    let _deciding = dir.deciding()?;
    if dir.status()?.is_some() {
        // Begun meanwhile.
        return Ok(Stopped::NotYet);
    }
    let failure = Some(Failure::NeverStarted("a stop came before its launch".to_owned()));
    dir.set_status(&Status::Ended(Ended { failure, ..Ended::default() }))?;
    Ok(Stopped::Already)
}

pub(super) async fn remove(dir: RunDir, name: String, helper: Helper) -> Result<(), EngineError> {
    stop(dir.clone(), Duration::ZERO).await?;
    let asked = dir.clone();
    if let Some(shim) = blocking("remove the workload", move || asked.shim()).await?
        && timeout(SHIM, shim.gone()).await.is_err()
    {
        shim.kill().map_err(|error| failed("remove the workload", &error))?;
        let _ = timeout(SHIM, shim.gone()).await;
    }
    blocking("remove the workload", move || {
        match dir.group()? {
            Some(group) => cgroups::remove_group(&group),
            None => cgroups::remove(&name),
        }
        // Gone for everyone at once, whole.
        let grave = dir.path().with_file_name(format!("{REMOVED}{}", ulid::Ulid::generate()));
        match fs::rename(dir.path(), &grave) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            done => done?,
        }
        helper.remove_tree(&grave)
    })
    .await
}

/// Removes what an earlier service was killed over: what it was about to remove, or to make.
pub(super) fn tidy_up(runs: &Path, helper: &Helper) -> io::Result<()> {
    let now = SystemClock.now();
    for entry in fs::read_dir(runs)? {
        let Ok(name) = entry?.file_name().into_string() else { continue };
        let abandoned = name.strip_prefix(DRAFT).and_then(|id| id.parse::<ulid::Ulid>().ok()).is_some_and(|id| {
            let made =
                Timestamp::from_micros(i64::try_from(id.timestamp_ms()).unwrap_or(i64::MAX).saturating_mul(1000));
            now.since(made) > ABANDONED
        });
        if abandoned || name.starts_with(REMOVED) {
            helper.remove_tree(&runs.join(name))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::{AttemptId, InstallationId, RunId},
        engines::embedded::rundir::Labels,
    };

    fn labels() -> Labels {
        Labels {
            owner: InstallationId::generate(),
            attempt: AttemptId { run: RunId::generate(), number: 1 },
            spec: String::new(),
            job: String::new(),
            project: String::new(),
            created_at: Timestamp::from_micros(1),
        }
    }

    #[test]
    fn what_was_stopped_before_it_began_never_begins() {
        let root = tempfile::tempdir().unwrap();
        let dir = RunDir::at(root.path().join("r"));
        assert_eq!(order(&dir, Duration::ZERO).unwrap(), Stopped::Already, "missing is success");
        assert!(dir.create(&labels()).unwrap());
        assert!(!dir.create(&labels()).unwrap(), "a name is taken once");
        assert_eq!(order(&dir, Duration::ZERO).unwrap(), Stopped::Already);
        let Some(Status::Ended(ended)) = dir.status().unwrap() else { panic!("it has an end") };
        assert!(matches!(ended.failure, Some(Failure::NeverStarted(_))));
        assert_eq!(order(&dir, Duration::ZERO).unwrap(), Stopped::Already, "and keeps it");
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1, "no draft is left");
    }

    #[test]
    fn a_status_that_a_crash_has_cut_short_is_that_of_a_workload_begun() {
        let root = tempfile::tempdir().unwrap();
        let dir = RunDir::at(root.path().join("r"));
        dir.create(&labels()).unwrap();
        fs::write(dir.join("status.json"), "{\"phase\": \"en").unwrap();
        assert_eq!(dir.status().unwrap(), Some(Status::Starting));
    }

    #[test]
    fn what_others_were_killed_over_is_removed() {
        let root = tempfile::tempdir().unwrap();
        let old = format!("{DRAFT}{}", ulid::Ulid::from_parts(1, 1));
        let new = format!("{DRAFT}{}", ulid::Ulid::generate());
        for name in [".removed-x", &old, &new, "r-1"] {
            fs::create_dir(root.path().join(name)).unwrap();
        }
        tidy_up(root.path(), &Helper::new("/nowhere".into())).unwrap();
        let mut left: Vec<_> =
            fs::read_dir(root.path()).unwrap().map(|it| it.unwrap().file_name().into_string().unwrap()).collect();
        left.sort();
        assert_eq!(left, [new, "r-1".to_owned()]);
    }
}
