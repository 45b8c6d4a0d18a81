//! `haulier dev`: the project's script on this machine, with what it would get in its container.

mod folder;
mod inject;
mod process;
mod python;
mod state;
mod summary;

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use serde_json::{Map, Value};
use tokio::process::Command;

use super::{
    builder::{self, BuildArgs},
    context::Context,
    exit::{self, Usage},
    output::Output,
    run::json_or_text,
    text::pair,
    workspace::Workspace,
};
use crate::domain::{AttemptEnd, AttemptResult, Outcome, RunId};

use inject::Injection;
use process::{Ended, Script};

#[derive(Debug, Args)]
#[command(after_help = "\
Secrets come from .haulier/secrets.env (lines like API_TOKEN=…), else from variables of the same names. The state is \
kept in .haulier/state.json, and only when the script succeeds.
The exit code is the script's. Ctrl-C ends the script as a cancelled run is ended.")]
pub(super) struct DevArgs {
    /// A parameter; the value is read as JSON if it is JSON, else as text
    #[arg(long = "param", value_name = "KEY=VALUE", value_parser = pair)]
    parameters: Vec<(String, String)>,

    /// Begin as if there had been no run before
    #[arg(long)]
    fresh_state: bool,

    /// Build the image, and run the script in it
    #[arg(long)]
    container: bool,

    /// The project's folder
    #[arg(long, value_name = "FOLDER", default_value = ".")]
    dir: PathBuf,

    #[command(flatten)]
    build: BuildArgs,
}

pub(super) async fn run(context: &Context, args: DevArgs) -> anyhow::Result<u8> {
    let out = context.out;
    let workspace = Workspace::open(&args.dir)?;
    let parameters: Map<String, Value> =
        args.parameters.into_iter().map(|(key, value)| (key, json_or_text(value))).collect();
    let injection = Injection::new(&workspace, out)?;
    let how = if args.container {
        How::Container(builder::build_for_dev(&workspace, &args.build, out).await?)
    } else {
        python::prepare(&workspace, out).await?;
        How::Here
    };
    let before = if args.fresh_state { Map::new() } else { state::read(&workspace)? };
    let run = RunId::generate();
    let mut now = before.clone();
    let mut slice = 1;
    loop {
        let script = how.script(&workspace, &injection, run, slice, (&parameters, &now))?;
        let Ended { end, reports, interrupted } = process::run(script, &injection, out).await?;
        let result = AttemptResult::judge(&end, &reports);
        let next = reports.state.clone().filter(|_| result.verdict.is_ok());
        if let Some(next) = next {
            state::write(&workspace, &next)?;
            now = next;
        }
        let goes_on = matches!(result.verdict, Ok(Outcome::Continue)) && !interrupted;
        if goes_on && slice < workspace.spec.max_slices {
            slice += 1;
            out.note(format_args!("the script asked to be continued: slice {slice}"));
            continue;
        }
        summary::show(out, &result, &reports, &before, &now)?;
        if goes_on {
            Output::important(format_args!(
                "it asked to be continued after {slice} slices, and max_slices allows no more: raise it, or end sooner"
            ));
            return Ok(exit::RUN_FAILED);
        }
        return Ok(code(&end, &result, interrupted));
    }
}

/// The script's own exit code; where it has none, or ended well in vain, that of `haulier run`.
fn code(end: &AttemptEnd, result: &AttemptResult, interrupted: bool) -> u8 {
    match end {
        _ if interrupted => exit::INTERRUPTED,
        AttemptEnd::Exited { code: 0, .. } if result.verdict.is_err() => exit::RUN_FAILED,
        AttemptEnd::Exited { code, .. } => u8::try_from(*code).unwrap_or(exit::RUN_FAILED),
        AttemptEnd::Failed { exit_code: Some(code), .. } => u8::try_from(*code).unwrap_or(exit::RUN_FAILED),
        AttemptEnd::Failed { .. } => exit::TIMED_OUT,
    }
}

/// Where the script runs.
#[derive(Debug)]
enum How {
    Here,
    Container(builder::Runnable),
}

impl How {
    fn script(
        &self,
        workspace: &Workspace,
        injection: &Injection,
        run: RunId,
        slice: u32,
        documents: (&Map<String, Value>, &Map<String, Value>),
    ) -> anyhow::Result<Script> {
        let spec = &workspace.spec;
        let in_container = matches!(self, Self::Container(_));
        let told = injection.told(workspace, run, slice, documents, in_container)?;
        let (command, remove) = match self {
            Self::Here => {
                let words: Vec<_> = spec.command.iter().flatten().chain(&spec.args).collect();
                let Some((program, args)) = words.split_first() else {
                    let told = "haulier.yaml has no `command`, so what to run stands in the image alone: add one, like \
                                `command: [python, main.py]`, or use --container";
                    return Err(Usage(told.to_owned()).into());
                };
                let mut command = Command::new(program);
                command.args(args).current_dir(&workspace.dir);
                injection.apply_here(&mut command, workspace).context("the surroundings cannot be made")?;
                (command, None)
            }
            Self::Container(runnable) => {
                let name = format!("haulier-dev-{run}-{slice}");
                let mut command = runnable.command(&name, spec);
                injection.apply_container(&mut command, spec, &told).context("the surroundings cannot be made")?;
                runnable.finish(&mut command, spec);
                (command, Some(runnable.remove(&name)))
            }
        };
        Ok(Script::new(command, told.variables, remove, spec))
    }
}
