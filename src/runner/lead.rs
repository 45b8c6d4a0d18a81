//! The right to work: one service among several has it.

use std::{sync::Arc, time::Duration};

use tokio::time::sleep;

use super::{Shared, Term, lease, observer, queue, retention, schedules, sweep};
use crate::{domain::RunId, store::Leadership};

/// How often a service that does not lead asks whether it may.
const ASK: Duration = Duration::from_secs(2);
/// How often the leader looks for what other services stored.
const LOOK: Duration = Duration::from_secs(1);
/// How often the leader looks for logs that nobody has put away.
const LEFT: Duration = Duration::from_secs(60);

/// Leads whenever it may, until the service ends.
pub(super) async fn run(shared: Arc<Shared>) {
    while !shared.shutdown.is_cancelled() {
        let leadership = tokio::select! {
            () = shared.shutdown.cancelled() => return,
            leadership = acquire(&shared) => leadership,
        };
        serve_term(&shared, leadership).await;
    }
}

async fn acquire(shared: &Shared) -> Leadership {
    loop {
        match shared.store.try_lead().await {
            Ok(Some(leadership)) => return leadership,
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "the database cannot be asked who leads");
            }
        }
        sleep(ASK).await;
    }
}

async fn serve_term(shared: &Arc<Shared>, mut leadership: Leadership) {
    let term = Arc::new(Term::default());
    *shared.term.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(Arc::clone(&term));
    let spawn = |task: futures::future::BoxFuture<'static, ()>| {
        let end = term.end.clone();
        term.tasks.spawn(async move {
            tokio::select! {
                () = end.cancelled() => {}
                () = task => {}
            }
        });
    };
    for (name, entry) in shared.engines.iter() {
        spawn(Box::pin(observer::run(name.to_owned(), entry.clone())));
    }
    spawn(Box::pin(finish_logs(Arc::clone(shared))));
    let logs = shared.logs.clone();
    spawn(Box::pin(async move { logs.mirror().await }));
    spawn(Box::pin(take_up(Arc::clone(shared))));
    spawn(Box::pin(queue::run(Arc::clone(shared))));
    spawn(Box::pin(schedules::run(Arc::clone(shared))));
    spawn(Box::pin(lease::run(Arc::clone(shared))));
    spawn(Box::pin(sweep::run(Arc::clone(shared))));
    spawn(Box::pin(retention::run(Arc::clone(shared))));
    tokio::select! {
        () = shared.shutdown.cancelled() => {}
        () = leadership.lost() => tracing::warn!("another service may lead now: this one stops launching and watching"),
    }
    // The right is given back only when nothing of this term runs any more.
    *shared.term.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = None;
    term.end.cancel();
    term.tasks.close();
    term.tasks.wait().await;
    // Where services share the logs, the next leader writes them.
    shared.logs.let_go().await;
}

/// Finishes the logs of runs that ended with an earlier service before it could do so, or when they could not be written.
async fn finish_logs(shared: Arc<Shared>) {
    loop {
        match shared.logs.leftovers().await {
            Ok(left) => {
                for run in left {
                    finish_log(&shared, run).await;
                }
            }
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "unfinished logs cannot be listed");
            }
        }
        sleep(LEFT).await;
    }
}

async fn finish_log(shared: &Shared, run: RunId) {
    // It is being written.
    if shared.lock_driven().contains_key(&run) {
        return;
    }
    let done = match shared.store.has_ended(run).await {
        Ok(Some(false)) => shared.logs.take_over(run).await,
        Ok(Some(true) | None) => shared.logs.finish(run).await.map(drop),
        Err(error) => {
            tracing::error!(%run, error = &error as &dyn std::error::Error, "a run cannot be read");
            return;
        }
    };
    if let Err(error) = done {
        tracing::error!(%run, error = &error as &dyn std::error::Error, "a log could not be put away");
    }
}

/// Takes up what an earlier service left; and, where several share the database, what others store.
async fn take_up(shared: Arc<Shared>) {
    loop {
        let done = shared.take_up().await;
        if let Err(error) = &done {
            tracing::error!(error = error as &dyn std::error::Error, "live attempts could not be read");
        }
        if done.is_ok() && !shared.store.is_shared() {
            return;
        }
        shared.queue_changed.notify_one();
        sleep(LOOK).await;
    }
}
