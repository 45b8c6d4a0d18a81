//! `haulier notices`: what an operator should know.

use clap::{Args, Subcommand};
use comfy_table::{Cell, Color};

use super::{
    context::Context,
    output::Output,
    pages::Limit,
    text::{maybe, time},
};
use crate::{
    api::types::NoticeView,
    domain::{NoticeId, Severity},
};

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct NoticesArgs {
    #[command(subcommand)]
    command: Option<NoticesCommand>,
    #[command(flatten)]
    list: ListArgs,
}

#[derive(Debug, Subcommand)]
enum NoticesCommand {
    /// Say that you have taken note
    Acknowledge {
        /// The notice's id
        notice: NoticeId,
    },
}

#[derive(Debug, Args)]
struct ListArgs {
    /// Those that are over too
    #[arg(long)]
    all: bool,
    /// About this job
    #[arg(long)]
    job: Option<String>,
    /// Of these kinds, separated by commas
    #[arg(long, value_name = "KIND,…")]
    kind: Option<String>,
    /// This bad, or worse: warning, error, critical
    #[arg(long)]
    severity: Option<String>,
    #[command(flatten)]
    limit: Limit,
}

pub(super) async fn run(context: &Context, args: NoticesArgs) -> anyhow::Result<()> {
    let (client, out) = (context.client()?, context.out);
    if let Some(NoticesCommand::Acknowledge { notice }) = args.command {
        let notice = client.acknowledge_notice(notice).await?;
        out.one(&notice, |notice| format!("{} is acknowledged", notice.id))?;
        return Ok(());
    }
    let args = args.list;
    let filters = [
        ("open", (!args.all).then(|| "true".to_owned())),
        ("job", args.job),
        ("kind", args.kind),
        ("severity", args.severity),
    ];
    let filters: Vec<_> = filters.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
    let page = async |cursor: Option<&str>| {
        let cursor = cursor.map(|cursor| ("cursor", cursor.to_owned()));
        client.notices(&filters.iter().cloned().chain(cursor).collect::<Vec<_>>()).await
    };
    let notices = args.limit.collect(out, page).await?;
    let head = ["NOTICE", "SEVERITY", "KIND", "JOB", "OPENED", "OVER", "WHAT"];
    out.list("such notices", &notices, &head, |notice| row(out, notice))?;
    Ok(())
}

fn row(out: Output, notice: &NoticeView) -> Vec<Cell> {
    let colour = if notice.severity == Severity::Warning { Color::Yellow } else { Color::Red };
    let acknowledged = notice.acknowledged_by.as_ref().map(|by| format!(" (acknowledged by {by})"));
    vec![
        Cell::new(notice.id),
        out.verdict(notice.severity.as_str(), colour),
        Cell::new(notice.kind.as_str()),
        Cell::new(maybe(notice.job.as_ref())),
        Cell::new(time(notice.opened_at)),
        Cell::new(maybe(notice.resolved_at.map(time))),
        Cell::new(format!("{}{}", notice.summary, acknowledged.unwrap_or_default())),
    ]
}
