//! `haulier run`: triggers a run, and waits for it if asked to.

use anyhow::Context as _;
use clap::Args;
use indexmap::IndexMap;
use serde_json::Value;

use super::{
    context::Context,
    exit, follow,
    text::{moment_ahead, pair, seconds},
};
use crate::domain::{RunRequest, Timestamp};

#[derive(Debug, Args)]
#[command(after_help = "\
A Ctrl-C while waiting asks whether to cancel the run; a second one leaves it running. Where nobody can be asked, the \
run is left running (see --abandon-after).
Without --follow, stdout gets the run's id (with --output json: the run). With --follow, it gets the script's stdout, \
and stderr the script's stderr.")]
pub(super) struct RunArgs {
    /// The job's name or id
    job: String,

    /// A parameter; the value is read as JSON if it is JSON, else as text
    #[arg(long = "param", value_name = "KEY=VALUE", value_parser = pair)]
    parameters: Vec<(String, String)>,

    /// A variable for the script, before the job's own
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    env: Vec<(String, String)>,

    /// Idempotency key: with the same key, the same run
    #[arg(long, value_name = "KEY")]
    key: Option<String>,

    /// A label
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = pair)]
    labels: Vec<(String, String)>,

    /// Higher goes first, -100 to 100
    #[arg(long, value_name = "N", default_value_t = 0, allow_negative_numbers = true)]
    priority: i32,

    /// Instead of the job's timeout, like 90s or 2h
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    timeout: Option<u32>,

    /// Do not start it earlier: RFC 3339, or how long from now
    #[arg(long, value_name = "TIME", value_parser = moment_ahead)]
    not_before: Option<Timestamp>,

    /// Cancel the run when nobody has asked for it for so long
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    abandon_after: Option<u32>,

    /// Wait for the end; the exit code tells how it ended
    #[arg(long)]
    wait: bool,

    /// Print the log as it comes, and wait for the end
    #[arg(long)]
    follow: bool,
}

pub(super) async fn run(context: &Context, args: RunArgs) -> anyhow::Result<u8> {
    let (client, out) = (context.client()?, context.out);
    let request = RunRequest {
        parameters: args.parameters.into_iter().map(|(key, value)| (key, json_or_text(value))).collect(),
        env: args.env.into_iter().collect(),
        timeout_seconds: args.timeout,
        priority: args.priority,
        not_before: args.not_before,
        labels: args.labels.into_iter().collect(),
        abandon_after_seconds: args.abandon_after,
        source: IndexMap::from([("kind".to_owned(), "cli".to_owned())]),
        ..RunRequest::default()
    };
    let triggered =
        client.trigger(&args.job, &request, args.key.as_deref()).await.with_context(|| format!("job {}", args.job))?;
    let run = triggered.run;
    if triggered.replayed {
        out.note("the key was used before: this is its run");
    }
    let how = match (args.follow, args.wait) {
        (true, _) => follow::How::Follow,
        (false, true) => follow::How::Wait,
        (false, false) => {
            out.one(&run, |run| run.id.to_string())?;
            out.note(format_args!("{}: see haulier show {}", run.state.as_str(), run.id));
            return Ok(exit::OK);
        }
    };
    follow::to_the_end(&client, out, run, how).await
}

/// A parameter's value: JSON if it is JSON, else text.
pub(super) fn json_or_text(value: String) -> Value {
    serde_json::from_str(&value).unwrap_or(Value::String(value))
}
