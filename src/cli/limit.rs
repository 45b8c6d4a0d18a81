//! `haulier limit`: how many runs may be active at once, shared by jobs.

use clap::Subcommand;
use comfy_table::Cell;

use super::{
    context::Context,
    output::Output,
    pages::Limit,
    text::{maybe, time},
};
use crate::api::types::LimitView;

#[derive(Debug, Subcommand)]
pub(super) enum LimitCommand {
    /// List limits
    List(Limit),
    /// Show a limit, who holds it, and how many wait
    Show {
        /// Its name
        name: String,
    },
    /// Make a limit, or change its capacity
    Set {
        /// Its name
        name: String,
        /// How much may be held at once; 0 = nothing starts
        capacity: u32,
    },
    /// Remove a limit that nobody uses
    Remove {
        /// Its name
        name: String,
    },
}

pub(super) async fn run(context: &Context, command: LimitCommand) -> anyhow::Result<()> {
    let (client, out) = (context.client()?, context.out);
    match command {
        LimitCommand::List(limit) => {
            let limits = limit.collect(out, async |cursor| client.limits(cursor).await).await?;
            out.list("limits", &limits, &["NAME", "CAPACITY", "HELD", "UPDATED"], row)?;
        }
        LimitCommand::Show { name } => out.one(&client.limit(&name).await?, |limit| page(out, limit))?,
        LimitCommand::Set { name, capacity } => {
            let limit = client.set_limit(&name, capacity).await?;
            out.one(&limit, |limit| format!("{} capacity {}", limit.name, limit.capacity))?;
        }
        LimitCommand::Remove { name } => {
            client.remove_limit(&name).await?;
            out.note(format_args!("{name} is removed"));
        }
    }
    Ok(())
}

fn row(limit: &LimitView) -> Vec<Cell> {
    vec![Cell::new(&limit.name), Cell::new(limit.capacity), Cell::new(limit.held), Cell::new(time(limit.updated_at))]
}

fn page(out: Output, limit: &LimitView) -> String {
    let facts = [
        ("name", limit.name.to_string()),
        ("capacity", limit.capacity.to_string()),
        ("held", limit.held.to_string()),
        ("waiting", maybe(limit.waiting)),
        ("updated", time(limit.updated_at)),
    ];
    let facts = out.table(&[], facts.into_iter().map(|(name, value)| vec![Cell::new(name), Cell::new(value)]));
    let holders = limit.holders.as_deref().unwrap_or_default();
    if holders.is_empty() {
        return facts;
    }
    let rows = holders.iter().map(|holder| vec![Cell::new(holder.run), Cell::new(holder.weight)]);
    format!("{facts}\n\n{}", out.table(&["HELD BY", "WEIGHT"], rows))
}
