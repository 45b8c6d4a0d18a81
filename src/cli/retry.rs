//! `haulier retry`: a run again.

use anyhow::Context as _;
use clap::Args;

use super::{context::Context, exit, follow};
use crate::domain::RunId;

#[derive(Debug, Args)]
pub(super) struct RetryArgs {
    /// The run's id
    run: RunId,

    /// Wait for the new run's end; the exit code tells how it ended
    #[arg(long)]
    wait: bool,

    /// Print the new run's log as it comes, and wait for the end
    #[arg(long)]
    follow: bool,
}

pub(super) async fn run(context: &Context, args: RetryArgs) -> anyhow::Result<u8> {
    let (client, out) = (context.client()?, context.out);
    let run = client.retry(args.run).await.with_context(|| format!("run {}", args.run))?;
    let how = match (args.follow, args.wait) {
        (true, _) => follow::How::Follow,
        (false, true) => follow::How::Wait,
        (false, false) => {
            out.one(&run, |run| run.id.to_string())?;
            return Ok(exit::OK);
        }
    };
    follow::to_the_end(&client, out, run, how).await
}
