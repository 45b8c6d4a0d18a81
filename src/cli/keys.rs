//! `haulier keys`: the master keys.

use clap::Subcommand;
use comfy_table::Cell;

use super::context::Context;
use crate::api::types::MasterKeyView;

#[derive(Debug, Subcommand)]
pub(super) enum KeysCommand {
    /// List the master keys, by their names, and how many projects need each
    List,
    /// Change to a new master key, while the service runs; older ones stay in the file, for older backups
    Rotate,
}

pub(super) async fn run(context: &Context, command: KeysCommand) -> anyhow::Result<()> {
    let (client, out) = (context.client()?, context.out);
    match command {
        KeysCommand::List => {
            let keys = client.keys().await?.items;
            out.list("master keys", &keys, &["KEY", "STANDING", "PROJECTS"], |key| {
                vec![Cell::new(&key.id), Cell::new(standing(key)), Cell::new(key.projects)]
            })?;
        }
        KeysCommand::Rotate => {
            let done = client.rotate_keys().await?;
            out.one(&done, |done| {
                let new = if done.made { "a new one: back it up" } else { "the first of those given" };
                format!("master key {} ({new}); projects sealed anew: {}", done.current, done.projects)
            })?;
        }
    }
    Ok(())
}

const fn standing(key: &MasterKeyView) -> &'static str {
    match (key.known, key.current) {
        (false, _) => "missing",
        (true, true) => "current",
        (true, false) => "older",
    }
}
