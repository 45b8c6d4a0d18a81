//! An image of this machine's own shell, for a machine that has no other: made without a network and without executing
//! anything.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use lddtree::DependencyAnalyzer;
use serde_json::json;

use crate::{
    cli::deploy::layer::{Tree, sha256},
    engines::embedded::EmbeddedConfig,
};

/// As the examples call it.
const NAME: &str = "localhost/shell:1";
/// What is in it: what the examples need, and what somebody who looks around would try.
const PROGRAMS: [&str; 6] = ["sh", "cat", "date", "env", "ls", "sleep"];
/// Where all libraries are: nobody knows where this machine's loader would look without its own cache of them.
const LIBRARIES: &str = "/lib";

/// Makes the image, and puts it into the image store of a service in this data directory. Blocks.
///
/// # Errors
/// A program is missing or cannot be read, or this machine does not let this user have images.
pub(super) fn install(data_dir: &Path) -> anyhow::Result<()> {
    let config = EmbeddedConfig::default();
    let root = config.root(data_dir);
    let store = config.image_store(&root, &env::current_exe()?)?;
    let layout = tempfile::tempdir_in(data_dir)?;
    write(layout.path())?;
    store.import(layout.path(), NAME)?;
    Ok(())
}

/// Writes the image as an OCI layout.
fn write(layout: &Path) -> anyhow::Result<()> {
    let layer = tree()?.pack().context("this machine's shell cannot be read")?;
    let blobs = layout.join("blobs/sha256");
    fs::create_dir_all(&blobs)?;
    let blob = |kind: &str, bytes: &[u8]| {
        let digest = sha256(bytes);
        fs::write(blobs.join(digest.trim_start_matches("sha256:")), bytes)?;
        let kind = format!("application/vnd.oci.image.{kind}");
        anyhow::Ok(json!({"mediaType": kind, "digest": digest, "size": bytes.len()}))
    };
    let config = json!({
        "os": "linux",
        "config": {"Env": ["PATH=/bin", format!("LD_LIBRARY_PATH={LIBRARIES}")], "Cmd": ["sh"]},
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id]},
    });
    let manifest = json!({
        "schemaVersion": 2,
        "config": blob("config.v1+json", config.to_string().as_bytes())?,
        "layers": [blob("layer.v1.tar+gzip", &layer.bytes)?],
    });
    let index = json!({"schemaVersion": 2, "manifests": [blob("manifest.v1+json", manifest.to_string().as_bytes())?]});
    fs::write(layout.join("index.json"), index.to_string())?;
    fs::write(layout.join("oci-layout"), json!({"imageLayoutVersion": "1.0.0"}).to_string())?;
    Ok(())
}

/// The programs with all that they need: their libraries, and the loader where they look for it.
fn tree() -> anyhow::Result<Tree> {
    let mut tree = Tree::default();
    tree.directory(Path::new("/tmp"));
    for name in PROGRAMS {
        let program = find(name).with_context(|| format!("this machine has no `{name}` in its PATH"))?;
        let needs = DependencyAnalyzer::default().analyze(&program);
        let needs = needs.with_context(|| format!("{} is no program that could be copied", program.display()))?;
        for (name, library) in needs.libraries {
            let from = library.realpath.with_context(|| format!("{} lacks {name}", program.display()))?;
            tree.program(&Path::new(LIBRARIES).join(name), from);
        }
        if let Some(loader) = needs.interpreter {
            tree.program(Path::new(&loader), PathBuf::from(&loader));
        }
        tree.program(&Path::new("/bin").join(name), program);
    }
    Ok(tree)
}

fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|dir| dir.join(program)).find(|path| path.is_file())
}
