//! `haulier runs`: runs, the newest first.

use clap::Args;
use comfy_table::Cell;

use super::{
    context::Context,
    output::Output,
    pages::Limit,
    text::{maybe, millis, moment_ago, pair, time},
};
use crate::{api::types::RunView, domain::Timestamp};

/// The largest page there is.
const PAGE: u32 = 500;

#[derive(Debug, Args)]
pub(super) struct RunsArgs {
    /// Of this job
    #[arg(long)]
    job: Option<String>,

    /// In one of these states, separated by commas
    #[arg(long, value_name = "STATE,…")]
    state: Option<String>,

    /// With all of these labels
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = pair)]
    labels: Vec<(String, String)>,

    /// With all of these in what triggered it, like kind=adf
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    source: Vec<(String, String)>,

    /// Triggered since then: how long ago, or RFC 3339
    #[arg(long, value_name = "TIME", value_parser = moment_ago)]
    since: Option<Timestamp>,

    #[command(flatten)]
    limit: Limit,
}

pub(super) async fn run(context: &Context, args: RunsArgs) -> anyhow::Result<()> {
    let (client, out) = (context.client()?, context.out);
    let all = |pairs: &[(String, String)]| {
        let pairs: Vec<String> = pairs.iter().map(|(key, value)| format!("{key}={value}")).collect();
        Some(pairs.join(",")).filter(|pairs| !pairs.is_empty())
    };
    let filters = [
        ("job", args.job),
        ("state", args.state),
        ("label", all(&args.labels)),
        ("source", all(&args.source)),
        ("since", args.since.map(|since| since.to_string())),
        ("limit", Some(args.limit.limit.min(PAGE).to_string())),
    ];
    let filters: Vec<_> = filters.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
    let page = async |cursor: Option<&str>| {
        let cursor = cursor.map(|cursor| ("cursor", cursor.to_owned()));
        let query: Vec<_> = filters.iter().cloned().chain(cursor).collect();
        client.runs(&query).await
    };
    let runs = args.limit.collect(out, page).await?;
    let head = ["RUN", "JOB", "STATE", "EXIT", "TRIGGERED", "DURATION", "ERROR"];
    out.list("such runs", &runs, &head, |run| row(out, run))?;
    Ok(())
}

fn row(out: Output, run: &RunView) -> Vec<Cell> {
    vec![
        Cell::new(run.id),
        Cell::new(&run.job),
        out.state(run.state),
        Cell::new(maybe(run.exit_code)),
        Cell::new(time(run.created_at)),
        Cell::new(maybe(run.duration_ms.map(millis))),
        Cell::new(maybe(run.error.as_ref().map(|error| error.code.as_str()))),
    ]
}
