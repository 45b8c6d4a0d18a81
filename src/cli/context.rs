//! What all commands share: where the service is, who asks, how to print.

use clap::Args;
use secrecy::{ExposeSecret, SecretString};

use super::{
    exit::Usage,
    output::{Format, Output},
};
use crate::{client::Client, domain::Name};

/// Options of all commands.
#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(super) struct Global {
    /// Where the service is
    #[arg(long, global = true, value_name = "URL", env = "HAULIER_URL", default_value = "http://127.0.0.1:8080")]
    url: String,

    /// Token; better given by the variable, for others can see command lines
    #[arg(long, global = true, value_name = "TOKEN", env = "HAULIER_TOKEN", hide_env_values = true)]
    token: Option<SecretString>,

    /// Project; by default the token's own
    #[arg(long, global = true, value_name = "NAME", env = "HAULIER_PROJECT")]
    project: Option<String>,

    /// How to print data
    #[arg(short, long, global = true, value_name = "FORMAT", value_enum, default_value_t)]
    output: Format,

    /// Print no notes on stderr
    #[arg(short, long, global = true)]
    quiet: bool,
}

/// What all commands share.
#[derive(Debug)]
pub(super) struct Context {
    global: Global,
    /// Prints.
    pub(super) out: Output,
}

impl Context {
    pub(super) fn new(global: Global) -> Self {
        let out = Output::new(global.output, global.quiet);
        Self { global, out }
    }

    /// Where the service is.
    pub(super) fn url(&self) -> &str {
        &self.global.url
    }

    /// A client for the service.
    pub(super) fn client(&self) -> anyhow::Result<Client> {
        let token = self.global.token.clone().filter(|token| !token.expose_secret().trim().is_empty());
        let token = token.ok_or_else(|| {
            Usage("there is no token: set HAULIER_TOKEN to one (an admin makes it with `haulier token create`)".into())
        })?;
        let token = SecretString::from(token.expose_secret().trim());
        if !token.expose_secret().bytes().all(|c| c.is_ascii_graphic()) {
            return Err(Usage("the token has characters that no token has: look at HAULIER_TOKEN".into()).into());
        }
        let project = self.global.project.as_deref().filter(|name| !name.is_empty()).map(str::parse::<Name>);
        let project = project.transpose().map_err(|error| Usage(format!("--project: {error}")))?;
        Ok(Client::new(&self.global.url, token, project)?)
    }
}
