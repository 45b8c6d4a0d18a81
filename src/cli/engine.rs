//! `haulier engine`: the container engines, and how they are.

use clap::Subcommand;
use comfy_table::{Cell, Color};

use super::{context::Context, output::Output, text::maybe};
use crate::{api::types::EngineView, engines::EngineHealth};

#[derive(Debug, Subcommand)]
pub(super) enum EngineCommand {
    /// List engines
    List,
}

pub(super) async fn run(context: &Context, command: EngineCommand) -> anyhow::Result<()> {
    let EngineCommand::List = command;
    let out = context.out;
    let engines = context.client()?.engines().await?.items;
    let head = ["NAME", "KIND", "DEFAULT", "HEALTH", "ACTIVE", "QUEUED", "VERSION", "DETAIL"];
    out.list("engines", &engines, &head, |engine| row(out, engine))?;
    Ok(())
}

fn row(out: Output, engine: &EngineView) -> Vec<Cell> {
    let health = engine.health.as_ref();
    let word = match health {
        None => Cell::new("unknown"),
        Some(EngineHealth { reachable: true, .. }) => out.verdict("reachable", Color::Green),
        Some(_) => out.verdict("unreachable", Color::Red),
    };
    vec![
        Cell::new(&engine.name),
        Cell::new(&engine.kind),
        Cell::new(if engine.default { "yes" } else { "no" }),
        word,
        Cell::new(match engine.max_running {
            Some(most) => format!("{} of {most}", engine.active),
            None => engine.active.to_string(),
        }),
        Cell::new(engine.queued),
        Cell::new(maybe(health.and_then(|health| health.version.as_ref()))),
        Cell::new(maybe(health.and_then(|health| health.detail.as_ref()))),
    ]
}
