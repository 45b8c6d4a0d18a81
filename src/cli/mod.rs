//! The command line: one file a command, output in [`output`], exit codes in [`exit`].

mod adf;
mod audit;
mod builder;
mod cancel;
mod channel;
mod completions;
mod context;
mod demo;
mod deploy;
mod dev;
mod doctor;
mod document;
mod engine;
pub mod exit;
mod follow;
mod generate;
mod health;
#[cfg(target_os = "linux")]
mod image;
mod init;
mod input;
mod job;
mod keys;
mod limit;
mod local_secrets;
mod logs;
mod notices;
mod openapi;
pub mod output;
mod pages;
mod programs;
mod project;
mod registry;
mod retry;
mod run;
mod runs;
mod secret;
mod serve;
mod show;
mod state;
mod text;
mod token;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use context::{Context, Global};

/// Hand it a container image; any orchestrator can run it, watch it and trust the answer
#[derive(Debug, Parser)]
#[command(name = "haulier", version, after_help = exit::HELP, disable_help_subcommand = true, max_term_width = 110)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show it all here: a service with example jobs, of which Ctrl-C leaves nothing
    Demo(demo::DemoArgs),
    /// Make a new project: script, job as code, Dockerfile, tests
    Init(init::InitArgs),
    /// Run the project's script on this machine, with what it would get in its container
    Dev(dev::DevArgs),
    /// Build the project's image, push it, and apply its job
    Deploy(deploy::DeployArgs),
    /// Run the service
    Serve(crate::config::ServeArgs),
    /// Register, list and change jobs
    #[command(subcommand)]
    Job(job::JobCommand),
    /// Trigger a run, and wait for it if asked to
    Run(run::RunArgs),
    /// List runs, the newest first
    Runs(runs::RunsArgs),
    /// Show a run: where it stands, why it waits, what it did
    Show(show::ShowArgs),
    /// Print a run's log
    Logs(logs::LogsArgs),
    /// Cancel a run, or all runs that match
    Cancel(cancel::CancelArgs),
    /// Run a run again: a new run, same parameters and revision
    Retry(retry::RetryArgs),
    /// List and change limits
    #[command(subcommand)]
    Limit(limit::LimitCommand),
    /// List what an operator should know, and acknowledge it
    Notices(notices::NoticesArgs),
    /// List, set, test and remove channels that notices are sent to
    #[command(subcommand)]
    Channel(channel::ChannelCommand),
    /// Read and set a job's state
    #[command(subcommand)]
    State(state::StateCommand),
    /// List and set the project's secrets
    #[command(subcommand)]
    Secret(secret::SecretCommand),
    /// List and set logins at container registries
    #[command(subcommand)]
    Registry(registry::RegistryCommand),
    /// Make, list and revoke tokens
    #[command(subcommand)]
    Token(token::TokenCommand),
    /// List and make projects
    #[command(subcommand)]
    Project(project::ProjectCommand),
    /// List the master keys, and change to a new one
    #[command(subcommand)]
    Keys(keys::KeysCommand),
    /// Look at the container engines
    #[command(subcommand)]
    Engine(engine::EngineCommand),
    /// Import, list and remove images of the embedded engine, on its machine
    #[cfg(target_os = "linux")]
    #[command(subcommand)]
    Image(image::ImageCommand),
    /// List who changed what, the newest first
    Audit(audit::AuditArgs),
    /// Check the service, the token and the engines, and say what to do
    Doctor,
    /// Ask whether the service is alive; needs no token
    Health,
    /// Print a pipeline for Azure Data Factory that runs a job
    Adf(adf::AdfArgs),
    /// Print the API's OpenAPI document
    Openapi,
    /// Print a file that is made from the code
    #[command(hide = true)]
    Generate {
        /// Which one
        what: generate::Artefact,
    },
    /// Print completions for a shell
    Completions(completions::CompletionsArgs),
}

/// Reads the command line, does what it says, and tells how it went.
#[must_use]
pub fn main() -> ExitCode {
    // Prints help, version and usage errors by itself.
    let cli = Cli::parse();
    // Reads FAILPOINTS; they last as long as the process.
    #[cfg(feature = "failpoints")]
    let _scenario = fail::FailScenario::setup();
    ExitCode::from(run(cli).unwrap_or_else(|error| exit::report(&error)))
}

fn run(cli: Cli) -> anyhow::Result<u8> {
    let runtime = match cli.command {
        Command::Serve(_) | Command::Demo(_) => serve::runtime(),
        _ => tokio::runtime::Builder::new_current_thread().enable_all().build(),
    }?;
    let result = runtime.block_on(dispatch(&Context::new(cli.global), cli.command));
    // Whoever still reads the terminal is not waited for.
    runtime.shutdown_background();
    result
}

async fn dispatch(context: &Context, command: Command) -> anyhow::Result<u8> {
    match command {
        Command::Dev(args) => return dev::run(context, args).await,
        Command::Deploy(args) => return deploy::run(context, args).await,
        Command::Run(args) => return run::run(context, args).await,
        Command::Doctor => return doctor::run(context).await,
        Command::Retry(args) => return retry::run(context, args).await,
        Command::Demo(args) => demo::run(context, &args).await?,
        Command::Init(args) => init::run(context, args)?,
        Command::Serve(args) => serve::run(&args).await?,
        Command::Job(command) => job::run(context, command).await?,
        Command::Runs(args) => runs::run(context, args).await?,
        Command::Show(args) => show::run(context, args).await?,
        Command::Logs(args) => logs::run(context, args).await?,
        Command::Cancel(args) => cancel::run(context, args).await?,
        Command::Limit(command) => limit::run(context, command).await?,
        Command::Notices(args) => notices::run(context, args).await?,
        Command::Channel(command) => channel::run(context, command).await?,
        Command::State(command) => state::run(context, command).await?,
        Command::Secret(command) => secret::run(context, command).await?,
        Command::Registry(command) => registry::run(context, command).await?,
        Command::Token(command) => token::run(context, command).await?,
        Command::Project(command) => project::run(context, command).await?,
        Command::Keys(command) => keys::run(context, command).await?,
        Command::Engine(command) => engine::run(context, command).await?,
        #[cfg(target_os = "linux")]
        Command::Image(command) => image::run(context, command).await?,
        Command::Audit(args) => audit::run(context, args).await?,
        Command::Health => health::run(context).await?,
        Command::Adf(args) => adf::run(context, &args)?,
        Command::Generate { what } => generate::run(context, what)?,
        Command::Openapi => openapi::run(context)?,
        Command::Completions(args) => completions::run(context, &args)?,
    }
    Ok(exit::OK)
}
