//! `haulier image`: the images of the embedded engine, on its own machine, with no service needed.

use std::{
    fs::DirBuilder,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use comfy_table::Cell;
use tokio::task::spawn_blocking;

use super::{context::Context, exit::Usage};
use crate::{
    config::{Config, EngineKind, ServeArgs, Surroundings},
    engines::{
        embedded::EmbeddedConfig,
        images::{ImageReference, ImageStore},
    },
};

#[derive(Debug, Subcommand)]
pub(super) enum ImageCommand {
    /// Read an image from an OCI archive, an OCI layout directory, or what `docker save` wrote
    Import {
        /// The archive or directory
        file: PathBuf,
        /// What jobs will call it, like load-orders:1
        name: String,
        #[command(flatten)]
        place: Place,
    },
    /// List images
    List {
        #[command(flatten)]
        place: Place,
    },
    /// Remove an image; runs that use it go on
    Remove {
        /// Its name
        name: String,
        #[command(flatten)]
        place: Place,
    },
}

/// Which service's images: the options of `serve` that say so.
#[derive(Debug, Args)]
pub(super) struct Place {
    /// The service's configuration file
    #[arg(long, value_name = "FILE", env = "HAULIER_CONFIG")]
    config: Option<PathBuf>,
    /// The service's data directory
    #[arg(long, value_name = "DIR", env = "HAULIER_DATA_DIR")]
    data_dir: Option<PathBuf>,
    /// The engine, where several are embedded
    #[arg(long, value_name = "NAME")]
    engine: Option<String>,
}

pub(super) async fn run(context: &Context, command: ImageCommand) -> anyhow::Result<()> {
    let out = context.out;
    match command {
        ImageCommand::Import { file, name, place } => {
            let called = full_name(&name)?;
            spawn_blocking(move || place.open()?.import(&file, &name).map_err(anyhow::Error::from)).await??;
            out.note(format_args!("{called} is imported"));
        }
        ImageCommand::List { place } => {
            let images = spawn_blocking(move || anyhow::Ok(place.open()?.list()?)).await??;
            out.list("images", &images, &["NAME", "ID", "MB"], |image| {
                let id = image.id.trim_start_matches("sha256:").get(..12).unwrap_or(&image.id);
                vec![Cell::new(&image.name), Cell::new(id), Cell::new(image.bytes.div_ceil(1_000_000))]
            })?;
        }
        ImageCommand::Remove { name, place } => {
            let called = full_name(&name)?;
            let wanted = called.clone();
            let found = spawn_blocking(move || anyhow::Ok(place.open()?.forget(&wanted)?)).await??;
            anyhow::ensure!(found, "there is no image {called}: see `haulier image list`");
            out.note(format_args!("{called} is removed"));
        }
    }
    Ok(())
}

fn full_name(name: &str) -> anyhow::Result<String> {
    Ok(name.parse::<ImageReference>().map_err(|error| Usage(error.detail))?.to_string())
}

impl Place {
    /// The store, made when it is not there yet: images may be imported before the service's first start.
    fn open(self) -> anyhow::Result<ImageStore> {
        let args = ServeArgs { config: self.config, data_dir: self.data_dir, listen: None };
        let config = Config::load(&args, &Surroundings::of_this_process()).map_err(|error| Usage(error.to_string()))?;
        let mut embedded = config.engines.all.iter().filter(|(name, engine)| {
            engine.kind == EngineKind::Embedded && self.engine.as_ref().is_none_or(|wanted| wanted == name.as_str())
        });
        let (Some((name, engine)), None) = (embedded.next(), embedded.next()) else {
            return Err(Usage("there is no such embedded engine, or several: name one with --engine".to_owned()).into());
        };
        let settings: EmbeddedConfig =
            engine.settings.clone().try_into().with_context(|| format!("[engines.{name}] cannot be used"))?;
        let root = settings.root(&config.storage.data_dir);
        make_private(&config.storage.data_dir)?;
        let program = std::env::current_exe().context("this program cannot find itself")?;
        settings.image_store(&root, &program).with_context(|| format!("{} cannot be used", root.display()))
    }
}

fn make_private(dir: &Path) -> anyhow::Result<()> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.with_context(|| format!("the data directory {} cannot be made: see --data-dir", dir.display()))
}
