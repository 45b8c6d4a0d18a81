//! `haulier secret`: the project's secrets. Values go in, and never come out.

use clap::Subcommand;
use comfy_table::Cell;

use super::{
    context::Context,
    input,
    pages::Limit,
    text::{maybe, moment_ahead, time},
};
use crate::domain::Timestamp;

#[derive(Debug, Subcommand)]
pub(super) enum SecretCommand {
    /// List names of secrets
    List(Limit),
    /// Set a secret; its value comes from stdin, or is asked for
    Set {
        /// Its name
        name: String,
        /// When it stops being valid, to be told in time: how long from now, or RFC 3339
        #[arg(long, value_name = "TIME", value_parser = moment_ahead)]
        expires: Option<Timestamp>,
    },
    /// Remove a secret that no job uses
    Remove {
        /// Its name
        name: String,
    },
}

pub(super) async fn run(context: &Context, command: SecretCommand) -> anyhow::Result<()> {
    let (client, out) = (context.client()?, context.out);
    match command {
        SecretCommand::List(limit) => {
            let secrets = limit.collect(out, async |cursor| client.secrets(cursor).await).await?;
            out.list("secrets", &secrets, &["NAME", "UPDATED", "EXPIRES"], |secret| {
                let expires = maybe(secret.expires_at.map(time));
                vec![Cell::new(&secret.name), Cell::new(time(secret.updated_at)), Cell::new(expires)]
            })?;
        }
        SecretCommand::Set { name, expires } => {
            let value = input::secret(&format!("value of {name} (not shown): "))?;
            client.set_secret(&name, &value, expires).await?;
            out.note(format_args!("{name} is set"));
        }
        SecretCommand::Remove { name } => {
            client.remove_secret(&name).await?;
            out.note(format_args!("{name} is removed"));
        }
    }
    Ok(())
}
