//! An image put together without a builder: the base image's layers, one of Python packages, one of the project's
//! files. Nothing of it is run.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use futures::TryStreamExt;
use oci_client::{
    Client, Reference,
    errors::OciDistributionError,
    manifest::{
        IMAGE_CONFIG_MEDIA_TYPE, IMAGE_LAYER_GZIP_MEDIA_TYPE, OCI_IMAGE_MEDIA_TYPE, OciDescriptor, OciImageManifest,
        OciManifest,
    },
};
use serde_json::{Map, Value, json};
use tokio::process::Command;

use super::{
    content::{self, Entry},
    dockerfile::{self, Recipe, Step},
    layer::{Layer, Tree, sha256},
    login::Found,
    publish::{check_size, hinted},
    target::Target,
};
use crate::{
    cli::{exit::Usage, output::Output, programs},
    registry::{self, Login},
};

/// Where Python packages lie in such an image.
const PACKAGES: &str = "/opt/haulier/python";

/// Puts the image together and pushes it.
///
/// # Errors
/// The Dockerfile asks for more than this can do, or a registry fails.
pub(super) async fn assemble(
    dir: &Path,
    image: &Reference,
    target: &Target,
    (entries, build_args): (&[Entry], &[(String, String)]),
    max_image_mb: u64,
    out: Output,
) -> anyhow::Result<()> {
    let text = fs::read_to_string(dir.join("Dockerfile")).context("the Dockerfile cannot be read")?;
    let recipe = dockerfile::read(&text, build_args)?;
    out.note(format_args!("there is no builder: putting {image} together from {}", recipe.base));
    let base = Base::pull(&recipe.base).await?;
    let layers = layers(dir, &recipe, &base, entries, out).await?;
    let packed: i64 = base.manifest.layers.iter().map(|layer| layer.size).sum();
    let own: usize = layers.iter().map(|layer| layer.bytes.len()).sum();
    check_size(u64::try_from(packed).unwrap_or(u64::MAX).saturating_add(own as u64), max_image_mb)?;
    let config = config(&base, &recipe, &layers)?;
    Push { base: &base, image, target, out }.push(&layers, config).await
}

/// What is built on.
struct Base {
    reference: Reference,
    client: Client,
    manifest: OciImageManifest,
    config: Value,
    login: Option<Login>,
}

impl Base {
    async fn pull(name: &str) -> anyhow::Result<Self> {
        let reference: Reference =
            name.parse().map_err(|error| Usage(format!("the base image {name} is no image: {error}")))?;
        let login = Found::for_server(reference.registry())?.map(|found| found.login);
        let failed = |error: OciDistributionError| {
            let error = registry::classify(&reference, login.is_some(), &error);
            anyhow::anyhow!("the base image: {error}")
        };
        let client = registry::client(&reference).map_err(failed)?;
        let auth = registry::auth(login.as_ref());
        let (manifest, _, config) = client.pull_manifest_and_config(&reference, &auth).await.map_err(failed)?;
        let config = serde_json::from_str(&config).context("the base image's configuration cannot be understood")?;
        Ok(Self { reference, client, manifest, config, login })
    }

    fn variable(&self, name: &str) -> Option<&str> {
        let env = self.config.pointer("/config/Env")?.as_array()?;
        env.iter().filter_map(Value::as_str).find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
    }
}

async fn layers(
    dir: &Path,
    recipe: &Recipe,
    base: &Base,
    entries: &[Entry],
    out: Output,
) -> anyhow::Result<Vec<Layer>> {
    let mut layers = Vec::new();
    let mut files = Tree::default();
    if let Some(workdir) = &recipe.workdir {
        files.directory(workdir);
    }
    for step in &recipe.steps {
        match step {
            Step::Copy { .. } => files.copy(step, dir, entries).map_err(|missing| {
                let missing = missing.display();
                Usage(format!("Dockerfile: {missing} is not in the folder, or .dockerignore keeps it out"))
            })?,
            Step::PipInstall(requirements) => {
                out.note(format_args!("collecting what {} says", requirements.display()));
                let packages = packages(dir, requirements, base).await?;
                let mut tree = Tree::default();
                tree.directory(Path::new(PACKAGES));
                tree.all_below(Path::new(PACKAGES), packages.path(), &content::entries(packages.path())?);
                layers.push(tree.pack()?);
            }
        }
    }
    layers.push(files.pack().context("the project's files cannot be read")?);
    Ok(layers)
}

/// Python packages for the base image's Python, which need not be this machine's.
async fn packages(dir: &Path, requirements: &Path, base: &Base) -> anyhow::Result<tempfile::TempDir> {
    let version = base.variable("PYTHON_VERSION").ok_or_else(|| {
        Usage(format!("the base image {} does not say which Python it has (PYTHON_VERSION)", base.reference))
    })?;
    let version: Vec<_> = version.split('.').take(2).collect();
    let machine = match base.config["architecture"].as_str() {
        Some("arm64") => "aarch64",
        _ => "x86_64",
    };
    let folder = tempfile::tempdir()?;
    let own = std::path::absolute(dir.join(".venv/bin/python"))?;
    let python = if own.exists() { own } else { PathBuf::from("python3") };
    let mut pip = Command::new(python);
    pip.args(["-m", "pip", "install", "--quiet", "--no-compile", "--only-binary=:all:", "--implementation=cp"]);
    pip.arg(format!("--python-version={}", version.join(".")));
    for platform in ["manylinux2014", "manylinux_2_17", "manylinux_2_28"] {
        pip.arg(format!("--platform={platform}_{machine}"));
    }
    pip.arg("--target").arg(folder.path()).arg("-r").arg(requirements).current_dir(dir);
    programs::run(&mut pip, "see what it says above; packages that must be compiled need docker, podman or buildah")
        .await?;
    forget_this_machine(folder.path())?;
    Ok(folder)
}

/// Takes out what pip writes down about where a package came from: paths of this machine.
fn forget_this_machine(folder: &Path) -> anyhow::Result<()> {
    const FROM: &str = "direct_url.json";
    for entry in fs::read_dir(folder)? {
        let about = entry?.path();
        if about.join(FROM).exists() {
            fs::remove_file(about.join(FROM))?;
            let record = fs::read_to_string(about.join("RECORD"))?;
            let kept: Vec<_> = record.lines().filter(|line| !line.contains(FROM)).collect();
            fs::write(about.join("RECORD"), kept.join("\n") + "\n")?;
        }
    }
    Ok(())
}

/// The base image's configuration with what the recipe changes.
fn config(base: &Base, recipe: &Recipe, layers: &[Layer]) -> anyhow::Result<Vec<u8>> {
    let mut config = base.config.clone();
    let broken = || anyhow::anyhow!("the base image's configuration has no rootfs");
    let diff_ids = config.pointer_mut("/rootfs/diff_ids").and_then(Value::as_array_mut).ok_or_else(broken)?;
    diff_ids.extend(layers.iter().map(|layer| Value::from(layer.diff_id.as_str())));
    if let Some(history) = config.get_mut("history").and_then(Value::as_array_mut) {
        history.extend(layers.iter().map(|_| json!({"created_by": "haulier deploy"})));
    }
    if !config["config"].is_object() {
        config["config"] = Value::Object(Map::new());
    }
    let process = &mut config["config"];
    let mut env: Vec<String> = serde_json::from_value(process["Env"].take()).unwrap_or_default();
    let packages = recipe.steps.iter().any(|step| matches!(step, Step::PipInstall(_)));
    let packages = packages.then(|| ("PYTHONPATH".to_owned(), PACKAGES.to_owned()));
    for (key, value) in packages.iter().chain(&recipe.env) {
        env.retain(|line| !line.starts_with(&format!("{key}=")));
        env.push(format!("{key}={value}"));
    }
    process["Env"] = json!(env);
    for (key, value) in &recipe.labels {
        process["Labels"][key] = json!(value);
    }
    if let Some(workdir) = &recipe.workdir {
        process["WorkingDir"] = json!(workdir);
    }
    if let Some(user) = &recipe.user {
        process["User"] = json!(user);
    }
    if let Some(entrypoint) = &recipe.entrypoint {
        process["Entrypoint"] = json!(entrypoint);
        process["Cmd"] = Value::Null;
    }
    if let Some(cmd) = &recipe.cmd {
        process["Cmd"] = json!(cmd);
    }
    Ok(serde_json::to_vec(&config)?)
}

/// Brings everything to the target's registry.
struct Push<'a> {
    base: &'a Base,
    image: &'a Reference,
    target: &'a Target,
    out: Output,
}

impl Push<'_> {
    async fn push(&self, layers: &[Layer], config: Vec<u8>) -> anyhow::Result<()> {
        let login = self.target.login();
        let failed =
            |error: OciDistributionError| hinted(&registry::classify(self.image, login.is_some(), &error), self.target);
        let client = registry::client(self.image).map_err(failed)?;
        client.store_auth_if_needed(self.image.registry(), &registry::auth(login)).await;
        // Of its own, so that a refused login is told as one.
        client.auth(self.image, &registry::auth(login), oci_client::RegistryOperation::Push).await.map_err(failed)?;
        let base = &self.base.manifest.layers;
        for (number, layer) in base.iter().enumerate() {
            if !client.blob_exists(self.image, &layer.digest).await.map_err(failed)? {
                let size = layer.size / 1_000_000;
                self.out.note(format_args!("base layer {} of {}, {size} MB", number + 1, base.len()));
                self.bring(&client, layer).await?;
            }
        }
        let config_digest = sha256(&config);
        let mut manifest_layers: Vec<_> = base.iter().cloned().map(as_oci).collect();
        for layer in layers {
            manifest_layers.push(descriptor(IMAGE_LAYER_GZIP_MEDIA_TYPE, &layer.digest, layer.bytes.len())?);
            if !client.blob_exists(self.image, &layer.digest).await.map_err(failed)? {
                self.out.note(format_args!("pushing a layer of {} kB", layer.bytes.len().div_ceil(1000)));
                client.push_blob(self.image, layer.bytes.clone(), &layer.digest).await.map_err(failed)?;
            }
        }
        let manifest = OciImageManifest {
            media_type: Some(OCI_IMAGE_MEDIA_TYPE.to_owned()),
            config: descriptor(IMAGE_CONFIG_MEDIA_TYPE, &config_digest, config.len())?,
            layers: manifest_layers,
            ..OciImageManifest::default()
        };
        client.push_blob(self.image, config, &config_digest).await.map_err(failed)?;
        client.push_manifest(self.image, &OciManifest::Image(manifest)).await.map_err(failed)?;
        Ok(())
    }

    /// One of the base image's layers: within a registry without moving it, if that is allowed.
    async fn bring(&self, client: &Client, layer: &OciDescriptor) -> anyhow::Result<()> {
        let Base { reference, client: source, login, .. } = self.base;
        let same = reference.registry() == self.image.registry();
        if same && client.mount_blob(self.image, reference, &layer.digest).await.is_ok() {
            return Ok(());
        }
        let pulled = source.pull_blob_stream(reference, layer).await.map_err(|error| {
            anyhow::anyhow!("the base image: {}", registry::classify(reference, login.is_some(), &error))
        })?;
        let size = u64::try_from(layer.size).ok();
        let stream = pulled.stream.map_err(OciDistributionError::from);
        client.push_blob_stream(self.image, stream, &layer.digest, size).await.map_err(|error| {
            hinted(&registry::classify(self.image, self.target.login().is_some(), &error), self.target)
        })?;
        Ok(())
    }
}

fn descriptor(kind: &str, digest: &str, size: usize) -> anyhow::Result<OciDescriptor> {
    Ok(OciDescriptor {
        media_type: kind.to_owned(),
        digest: digest.to_owned(),
        size: i64::try_from(size)?,
        ..OciDescriptor::default()
    })
}

/// Docker's own media types mean the same bytes; an OCI manifest names OCI's.
fn as_oci(layer: OciDescriptor) -> OciDescriptor {
    use oci_client::manifest::{
        IMAGE_DOCKER_LAYER_GZIP_MEDIA_TYPE, IMAGE_DOCKER_LAYER_TAR_MEDIA_TYPE, IMAGE_LAYER_MEDIA_TYPE,
    };
    let media_type = match layer.media_type.as_str() {
        IMAGE_DOCKER_LAYER_GZIP_MEDIA_TYPE => IMAGE_LAYER_GZIP_MEDIA_TYPE.to_owned(),
        IMAGE_DOCKER_LAYER_TAR_MEDIA_TYPE => IMAGE_LAYER_MEDIA_TYPE.to_owned(),
        _ => layer.media_type,
    };
    OciDescriptor { media_type, ..layer }
}
