//! `haulier registry`: logins at container registries.

use clap::Subcommand;
use comfy_table::Cell;
use secrecy::ExposeSecret;

use super::{context::Context, input, text::time};
use crate::api::types::RegistryRequest;

#[derive(Debug, Subcommand)]
pub(super) enum RegistryCommand {
    /// List registries
    List,
    /// Set a login; its password comes from stdin, or is asked for
    Set {
        /// Its name in the project
        name: String,
        /// Host, with port if any, as it stands in image references
        #[arg(long)]
        server: String,
        /// User name
        #[arg(long)]
        username: String,
        /// Do not log in at the registry first
        #[arg(long)]
        no_check: bool,
    },
    /// Remove a login
    Remove {
        /// Its name
        name: String,
    },
}

pub(super) async fn run(context: &Context, command: RegistryCommand) -> anyhow::Result<()> {
    let (client, out) = (context.client()?, context.out);
    match command {
        RegistryCommand::List => {
            let registries = client.registries().await?.items;
            out.list("registries", &registries, &["NAME", "SERVER", "USERNAME", "UPDATED"], |registry| {
                vec![
                    Cell::new(&registry.name),
                    Cell::new(&registry.server),
                    Cell::new(&registry.username),
                    Cell::new(time(registry.updated_at)),
                ]
            })?;
        }
        RegistryCommand::Set { name, server, username, no_check } => {
            let password = input::secret(&format!("password of {username} at {server} (not shown): "))?;
            let password = password.expose_secret().to_owned();
            let request = RegistryRequest { server, username, password, check: !no_check };
            client.set_registry(&name, &request).await?;
            out.note(format_args!("{name} is set"));
        }
        RegistryCommand::Remove { name } => {
            client.remove_registry(&name).await?;
            out.note(format_args!("{name} is removed"));
        }
    }
    Ok(())
}
