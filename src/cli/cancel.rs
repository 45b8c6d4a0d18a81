//! `haulier cancel`: one run, or all that match.

use anyhow::Context as _;
use clap::{ArgGroup, Args};

use super::{context::Context, text::pair};
use crate::{api::types::CancelRequest, domain::RunId};

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("which").required(true).multiple(true).args(["runs", "job", "labels", "all"]))]
pub(super) struct CancelArgs {
    /// Runs' ids
    #[arg(value_name = "RUN", conflicts_with_all = ["job", "labels", "all"])]
    runs: Vec<RunId>,

    /// All live runs of this job
    #[arg(long)]
    job: Option<String>,

    /// All live runs with all of these labels
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = pair)]
    labels: Vec<(String, String)>,

    /// All live runs of the project
    #[arg(long)]
    all: bool,
}

pub(super) async fn run(context: &Context, args: CancelArgs) -> anyhow::Result<()> {
    let (client, out) = (context.client()?, context.out);
    for id in &args.runs {
        let run = client.cancel(*id).await.with_context(|| format!("run {id}"))?;
        out.one(&run, |run| format!("{} {}", run.id, run.state.as_str()))?;
    }
    if args.runs.is_empty() {
        let labels = args.labels.into_iter().collect();
        let request = CancelRequest { job: args.job, labels, all: args.all, ..CancelRequest::default() };
        let cancelled = client.cancel_matching(&request).await?;
        out.one(&cancelled, |cancelled| format!("{} runs asked to end", cancelled.cancelled))?;
    }
    Ok(())
}
