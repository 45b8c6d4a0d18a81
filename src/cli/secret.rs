//! `haulier secret`: the project's secrets. Values go in, and never come out.

use clap::Subcommand;
use comfy_table::Cell;

use super::{context::Context, input, pages::Limit, text::time};

#[derive(Debug, Subcommand)]
pub(super) enum SecretCommand {
    /// List names of secrets
    List(Limit),
    /// Set a secret; its value comes from stdin, or is asked for
    Set {
        /// Its name
        name: String,
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
            out.list("secrets", &secrets, &["NAME", "UPDATED"], |secret| {
                vec![Cell::new(&secret.name), Cell::new(time(secret.updated_at))]
            })?;
        }
        SecretCommand::Set { name } => {
            let value = input::secret(&format!("value of {name} (not shown): "))?;
            client.set_secret(&name, &value).await?;
            out.note(format_args!("{name} is set"));
        }
        SecretCommand::Remove { name } => {
            client.remove_secret(&name).await?;
            out.note(format_args!("{name} is removed"));
        }
    }
    Ok(())
}
