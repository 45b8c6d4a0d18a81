//! `haulier state`: a job's small JSON document.

use anyhow::Context as _;
use clap::Subcommand;
use comfy_table::Cell;
use serde_json::{Map, Value};

use super::{
    context::Context,
    exit::Usage,
    input,
    pages::Limit,
    text::{maybe, time},
};
use crate::api::types::{StateRequest, StateView};

#[derive(Debug, Subcommand)]
pub(super) enum StateCommand {
    /// Print a job's state
    Show {
        /// The job's name or id
        job: String,
    },
    /// Set a job's state by hand
    Set {
        /// The job's name or id
        job: String,
        /// A JSON object; - reads it from stdin
        #[arg(value_name = "JSON|-")]
        state: String,
        /// Only if this is its present version
        #[arg(long, value_name = "VERSION")]
        expect: Option<i64>,
    },
    /// List a job's states, the newest first
    History {
        /// The job's name or id
        job: String,
        #[command(flatten)]
        limit: Limit,
    },
}

pub(super) async fn run(context: &Context, command: StateCommand) -> anyhow::Result<()> {
    let (client, out) = (context.client()?, context.out);
    match command {
        StateCommand::Show { job } => {
            let state = client.state(&job).await.with_context(|| format!("job {job}"))?;
            out.one(&state, |state| serde_json::to_string_pretty(&state.state).unwrap_or_default())?;
            if !out.is_json() {
                out.note(format_args!("version {}{}", state.version, since(&state)));
            }
        }
        StateCommand::Set { job, state, expect } => {
            let request = StateRequest { state: parse(&state)?, expected_version: expect };
            let state = client.set_state(&job, &request).await.with_context(|| format!("job {job}"))?;
            out.one(&state, |state| format!("version {}", state.version))?;
        }
        StateCommand::History { job, limit } => {
            let states = limit.collect(out, async |cursor| client.state_history(&job, cursor).await).await;
            let states = states.with_context(|| format!("job {job}"))?;
            out.list("states", &states, &["VERSION", "SET", "BY", "RUN", "STATE"], row)?;
        }
    }
    Ok(())
}

fn parse(text: &str) -> anyhow::Result<Map<String, Value>> {
    let text = if text == "-" { input::text("-")? } else { text.to_owned() };
    serde_json::from_str(&text).map_err(|error| Usage(format!("the state is no JSON object: {error}")).into())
}

fn since(state: &StateView) -> String {
    state.updated_at.map(|at| format!(", set {}", time(at))).unwrap_or_default()
}

fn row(state: &StateView) -> Vec<Cell> {
    vec![
        Cell::new(state.version),
        Cell::new(maybe(state.updated_at.map(time))),
        Cell::new(maybe(state.updated_by.as_ref())),
        Cell::new(maybe(state.run)),
        Cell::new(serde_json::to_string(&state.state).unwrap_or_default()),
    ]
}
