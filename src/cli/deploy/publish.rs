//! Brings a project's image into its registry, unless it is there.

use std::path::Path;

use anyhow::Context as _;
use oci_client::Reference;
use secrecy::ExposeSecret;

use super::{DeployArgs, assemble::assemble, content, target::Target};
use crate::{
    cli::{
        builder::{LoginDir, Tool},
        exit::Usage,
        output::Output,
    },
    registry::{self, RegistryError},
};

/// An image in its registry.
#[derive(Debug)]
pub(super) struct Published {
    /// By digest: `registry.example.com/data/load-orders@sha256:…`.
    pub(super) pinned: String,
    /// Its tags.
    pub(super) tags: Vec<String>,
}

/// Builds and pushes what is not there.
///
/// # Errors
/// The builder or the registry fails.
pub(super) async fn publish(dir: &Path, target: &Target, args: &DeployArgs, out: Output) -> anyhow::Result<Published> {
    let entries = content::entries(dir)?;
    let content_tag = content::tag(dir, &entries, &args.build)?;
    let image = format!("{}:{content_tag}", target.repository);
    let reference: Reference =
        image.parse().map_err(|error| Usage(format!("{} is no image: {error}", target.repository)))?;
    let login = target.login();
    let known = match registry::digest(&reference, login).await {
        Ok(digest) if !args.rebuild => Some(digest),
        Ok(_) | Err(RegistryError::NotFound(_)) => None,
        Err(error) => return Err(hinted(&error, target)),
    };
    let digest = match known {
        Some(digest) => {
            out.note(format_args!("{image} is there already"));
            digest
        }
        None => {
            match args.build.tool().await? {
                Some(tool) => build_and_push(tool, dir, &image, target, args, out).await?,
                None if args.build.platform.is_some() => {
                    let told = "--platform needs a builder: install docker, podman or buildah, or leave it out";
                    return Err(Usage(told.to_owned()).into());
                }
                None => {
                    let from = (entries.as_slice(), args.build.args.as_slice());
                    assemble(dir, &reference, target, from, args.max_image_mb, out).await?;
                }
            }
            registry::digest(&reference, login).await.map_err(|error| hinted(&error, target))?
        }
    };
    let mut tags = vec![content_tag];
    if let Some(revision) = super::revision(dir) {
        registry::tag(&reference, &revision, login).await.map_err(|error| hinted(&error, target))?;
        tags.push(revision);
    }
    Ok(Published { pinned: format!("{}@{digest}", target.repository), tags })
}

async fn build_and_push(
    tool: Tool,
    dir: &Path,
    image: &str,
    target: &Target,
    args: &DeployArgs,
    out: Output,
) -> anyhow::Result<()> {
    out.note(format_args!("building {image} with {}", tool.name()));
    let base = content::base_image(dir, &args.build.args);
    tool.build(dir, image, &args.build, base.as_deref()).await?;
    if let Some(bytes) = tool.size(image).await {
        check_size(bytes, args.max_image_mb)?;
    }
    out.note(format_args!("pushing it to {}", target.server));
    let unknown = target.found.as_ref().filter(|found| !found.is_known_to(tool)).map(|found| &found.login);
    let login = unknown.map(|login| {
        LoginDir::new(&target.server, &login.username, login.password.expose_secret())
            .context("no login can be written")
    });
    let login = login.transpose()?;
    tool.push(image, &target.server, login.as_ref().map(LoginDir::path)).await
}

/// A large image is slow to start everywhere, and mostly an accident.
pub(super) fn check_size(bytes: u64, most_mb: u64) -> anyhow::Result<()> {
    let mb = bytes / 1_000_000;
    anyhow::ensure!(
        mb <= most_mb,
        "the image has {mb} MB, and at most {most_mb} MB are deployed: leave out what the script does not need (see \
         .dockerignore), take a smaller base image, or raise --max-image-mb"
    );
    Ok(())
}

/// What the registry says, and what to do.
pub(super) fn hinted(error: &RegistryError, target: &Target) -> anyhow::Error {
    let hint = match error {
        RegistryError::Unauthorized { .. } => format!(
            ": log in with `docker login {}`, or set HAULIER_REGISTRY_USER and HAULIER_REGISTRY_PASSWORD",
            target.server
        ),
        RegistryError::Unreachable { .. } => ": is its name right, and is it running?".to_owned(),
        RegistryError::NotFound(_) | RegistryError::Odd { .. } => String::new(),
    };
    anyhow::anyhow!("{error}{hint}")
}
