//! `haulier token`: API credentials.

use clap::{Args, Subcommand, ValueEnum};
use comfy_table::Cell;

use super::{
    context::Context,
    exit::Usage,
    pages::Limit,
    text::{maybe, moment_ahead, time},
};
use crate::{
    api::types::{TokenRequest, TokenView},
    domain::{Scope, Timestamp, TokenId},
};

#[derive(Debug, Subcommand)]
pub(super) enum TokenCommand {
    /// Make a token; prints its secret, which is never shown again
    Create(CreateArgs),
    /// List tokens, without their secrets
    List {
        /// Those of the whole installation instead of the project's
        #[arg(long)]
        instance: bool,
        #[command(flatten)]
        limit: Limit,
    },
    /// Revoke a token: it stops working at once
    Revoke {
        /// The token's id
        #[arg(value_name = "TOKEN")]
        id: TokenId,
        /// One of the whole installation instead of the project's
        #[arg(long)]
        instance: bool,
    },
}

#[derive(Debug, Args)]
pub(super) struct CreateArgs {
    /// What to call it
    name: String,
    /// What it may do; may be repeated
    #[arg(long = "scope", value_enum, value_name = "SCOPE", required = true, value_delimiter = ',')]
    scopes: Vec<ScopeArg>,
    /// The only job it reaches; may be repeated
    #[arg(long = "job", value_name = "JOB")]
    jobs: Vec<String>,
    /// When it stops working: how long from now, or RFC 3339
    #[arg(long, value_name = "TIME", value_parser = moment_ahead)]
    expires: Option<Timestamp>,
    /// For the whole installation instead of one project
    #[arg(long)]
    instance: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ScopeArg {
    /// See jobs, runs, logs, limits, state
    Read,
    /// Start runs, and see and cancel runs
    Trigger,
    /// Change jobs, limits, secrets, registries, state
    Write,
    /// Everything in the project, its tokens too
    Admin,
}

impl From<ScopeArg> for Scope {
    fn from(scope: ScopeArg) -> Self {
        match scope {
            ScopeArg::Read => Self::Read,
            ScopeArg::Trigger => Self::Trigger,
            ScopeArg::Write => Self::Write,
            ScopeArg::Admin => Self::Admin,
        }
    }
}

pub(super) async fn run(context: &Context, command: TokenCommand) -> anyhow::Result<()> {
    let (client, out) = (context.client()?, context.out);
    match command {
        TokenCommand::Create(args) => {
            let request = TokenRequest {
                name: args.name.parse().map_err(|error| Usage(format!("{}: {error}", args.name)))?,
                scopes: args.scopes.into_iter().map(Scope::from).collect(),
                jobs: args.jobs,
                expires_at: args.expires,
                instance: args.instance,
            };
            let made = client.create_token(&request).await?;
            out.one(&made, |made| made.secret.clone())?;
            out.note(format_args!(
                "this is the only time that the secret is shown; the token's id is {}",
                made.token.id
            ));
        }
        TokenCommand::List { instance, limit } => {
            let tokens = limit.collect(out, async |cursor| client.tokens(instance, cursor).await).await?;
            let head = ["ID", "NAME", "PROJECT", "SCOPES", "JOBS", "MADE", "EXPIRES", "REVOKED"];
            out.list("tokens", &tokens, &head, row)?;
        }
        TokenCommand::Revoke { id, instance } => {
            client.revoke_token(id, instance).await?;
            out.note(format_args!("{id} is revoked"));
        }
    }
    Ok(())
}

fn row(token: &TokenView) -> Vec<Cell> {
    let jobs = if token.jobs.is_empty() { "all".to_owned() } else { token.jobs.len().to_string() };
    vec![
        Cell::new(token.id),
        Cell::new(&token.name),
        Cell::new(maybe(token.project.as_ref())),
        Cell::new(scopes(&token.scopes)),
        Cell::new(jobs),
        Cell::new(time(token.created_at)),
        Cell::new(maybe(token.expires_at.map(time))),
        Cell::new(maybe(token.revoked_at.map(time))),
    ]
}

/// Scopes, separated by commas.
pub(super) fn scopes(scopes: &[Scope]) -> String {
    scopes.iter().map(|scope| scope.as_str()).collect::<Vec<_>>().join(",")
}
