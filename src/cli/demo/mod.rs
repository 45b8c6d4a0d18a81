//! `haulier demo`: a service with example jobs, which lives until it is told to end and leaves nothing behind.

#[cfg(target_os = "linux")]
mod image;
#[cfg(not(target_os = "linux"))]
mod image {
    pub(super) fn install(_: &std::path::Path) -> anyhow::Result<()> {
        anyhow::bail!("containers without a daemon need Linux")
    }
}
mod service;

use std::{env, fmt, net::SocketAddr, time::Duration};

use anyhow::Context as _;
use clap::Args;
use serde::Serialize;
use tokio::signal::unix::SignalKind;

use super::{
    context::Context,
    output::Output,
    serve::{self, EndSignals},
};
use crate::config::LogFormat;
use service::DemoService;

/// Whoever forgets it on a terminal finds a bounded number of runs.
const SCHEDULE_ENDS: Duration = Duration::from_secs(2 * 3600);

#[derive(Debug, Args)]
#[command(after_help = "\
Everything is in a temporary directory and on a free port; neither a configuration nor HAULIER_* variables count. \
Containers are made by this machine's kernel, of its own shell: nothing is downloaded. Where that cannot be, they are \
simulated, and it says why.")]
pub(super) struct DemoArgs {
    /// Address and port to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
}

/// What somebody needs to know to look at it.
#[derive(Debug, Serialize)]
struct Details<'a> {
    url: &'a str,
    token: &'a str,
    engine: &'static str,
    /// Why there are no containers.
    simulated_because: Option<&'a str>,
}

pub(super) async fn run(context: &Context, args: &DemoArgs) -> anyhow::Result<()> {
    // A signal that comes during the start, which takes a bounded time, is heard after it.
    let mut end = EndSignals::listen([SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()])?;
    serve::start_log(LogFormat::Text, Some("warn"))?;
    let dir = tempfile::Builder::new().prefix("haulier-demo-").tempdir();
    let dir = dir.context("there is no place for temporary files: see TMPDIR")?;
    let demo = DemoService::start(dir.path(), args.listen).await?;
    let shown = show(context.out, &demo, &mut end).await;
    context.out.note("ending: runs are cancelled, and all of it is removed");
    demo.stop().await;
    let path = dir.path().to_owned();
    dir.close().with_context(|| format!("{} cannot be removed: remove it", path.display()))?;
    shown
}

async fn show(out: Output, demo: &DemoService, end: &mut EndSignals) -> anyhow::Result<()> {
    demo.trigger_examples().await?;
    let details = Details {
        url: demo.client.url(),
        token: &demo.token,
        engine: demo.engine,
        simulated_because: demo.simulated_because.as_deref(),
    };
    out.one(&details, ToString::to_string)?;
    tokio::select! {
        () = end.next() => return Ok(()),
        () = tokio::time::sleep(SCHEDULE_ENDS) => demo.pause_schedule().await?,
    }
    out.note("it has shown enough: nothing starts by itself any more");
    end.next().await;
    Ok(())
}

impl fmt::Display for Details<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { url, token, .. } = self;
        // As it was called, so that what is shown can be pasted.
        let haulier = env::args_os().next().unwrap_or_else(|| "haulier".into());
        let haulier = haulier.display();
        match self.simulated_because {
            None => writeln!(f, "Haulier runs its examples in containers of this machine's kernel.")?,
            Some(why) => writeln!(f, "Haulier only pretends to run containers, for it cannot here: {why}")?,
        }
        write!(
            f,
            "
  Dashboard      {url}/
  to sign in     {token}

In another terminal:

  export HAULIER_URL={url} HAULIER_TOKEN={token}
  {haulier} runs                            # what runs, what waits
  {haulier} run load-orders --follow        # one more, with its log
  {haulier} run export-invoices --wait      # it fails: the exit code is its container's

Ctrl-C ends it and removes everything."
        )
    }
}
