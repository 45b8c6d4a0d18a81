//! `haulier project`: tenants.

use clap::Subcommand;
use comfy_table::Cell;

use super::{context::Context, exit::Usage, text::time};
use crate::{
    api::types::{ProjectPatch, ProjectRequest, ProjectView},
    domain::ImagePattern,
};

#[derive(Debug, Subcommand)]
pub(super) enum ProjectCommand {
    /// List projects
    List,
    /// Make a project
    Create {
        /// Its name
        name: String,
        /// An image its jobs may use, or a beginning with *; may be repeated. None = all
        #[arg(long = "image", value_name = "PATTERN")]
        images: Vec<ImagePattern>,
    },
    /// Set which images a project's jobs may use; none = all
    Images {
        /// The project's name
        name: String,
        /// An image, or a beginning with *, like registry.example.com/data/*
        #[arg(value_name = "PATTERN")]
        images: Vec<ImagePattern>,
    },
}

pub(super) async fn run(context: &Context, command: ProjectCommand) -> anyhow::Result<()> {
    let (client, out) = (context.client()?, context.out);
    match command {
        ProjectCommand::List => {
            let projects = client.projects().await?.items;
            out.list("projects", &projects, &["NAME", "IMAGES", "MADE"], |project| {
                vec![Cell::new(&project.name), Cell::new(images(project)), Cell::new(time(project.created_at))]
            })?;
        }
        ProjectCommand::Create { name, images: patterns } => {
            let name = name.parse().map_err(|error| Usage(format!("{name}: {error}")))?;
            let project = client.create_project(&ProjectRequest { name, images: patterns }).await?;
            out.one(&project, |project| format!("{} images {}", project.name, images(project)))?;
        }
        ProjectCommand::Images { name, images: patterns } => {
            let project = client.patch_project(&name, &ProjectPatch { images: patterns }).await?;
            out.one(&project, |project| format!("{} images {}", project.name, images(project)))?;
        }
    }
    Ok(())
}

fn images(project: &ProjectView) -> String {
    let patterns: Vec<_> = project.images.iter().map(ToString::to_string).collect();
    if patterns.is_empty() { "all".to_owned() } else { patterns.join(" ") }
}
