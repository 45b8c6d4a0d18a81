//! Images as `docker save` writes them.

use std::{fs, path::Path, process::Command};

use haulier::{
    domain::{InstallationId, RunId},
    engines::{
        LaunchSpec,
        contract::Subject,
        embedded::{EmbeddedConfig, EmbeddedEngine},
    },
};
use ring::digest::{SHA256, digest};
use serde_json::json;
use tar::{Builder, Header};

/// A file of a layer: its name, what is in it, whose it is.
pub type File<'a> = (&'a str, &'a [u8], u64);

/// Writes an image of these layers that runs as this user; the launch of a command of it.
pub fn launch(subject: &Subject, dir: &Path, layers: &[&[File<'_>]], user: &str, command: &[&str]) -> LaunchSpec {
    let run = RunId::generate();
    let path = dir.join(format!("{run}.tar"));
    fs::write(&path, image(layers, user)).unwrap();
    let mut spec = subject.spec(&[]);
    spec.attempt.run = run;
    spec.image = format!("docker-archive:{}", path.display());
    (spec.command, spec.args) = (Some(command.iter().map(|&part| part.to_owned()).collect()), Vec::new());
    spec
}

/// An engine for `owner` below `root` that reads archives in this directory.
pub fn engine(owner: InstallationId, root: &Path, dir: &Path) -> EmbeddedEngine {
    let config = EmbeddedConfig { archives: Some(dir.to_owned()), ..EmbeddedConfig::default() };
    let program = Path::new(env!("CARGO_BIN_EXE_haulier"));
    EmbeddedEngine::open("embedded", owner, config, root, program).unwrap()
}

/// This machine's own, linked statically: `tests/support/infra` installs it.
pub fn busybox() -> Vec<u8> {
    let found = Command::new("sh").args(["-c", "command -v busybox"]).output().unwrap();
    fs::read(String::from_utf8(found.stdout).unwrap().trim()).unwrap()
}

fn image(layers: &[&[File<'_>]], user: &str) -> Vec<u8> {
    let layers: Vec<_> = layers.iter().map(|files| archive(files)).collect();
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let diff_ids: Vec<_> =
        layers.iter().map(|layer| format!("sha256:{}", hex(digest(&SHA256, layer).as_ref()))).collect();
    let config = json!({"os": "linux", "config": {"User": user}, "rootfs": {"diff_ids": diff_ids}}).to_string();
    let names: Vec<_> = (0..layers.len()).map(|number| format!("{number}.tar")).collect();
    let manifest = json!([{"Config": "config.json", "Layers": names}]).to_string();
    let mut files: Vec<File<'_>> =
        vec![("manifest.json", manifest.as_bytes(), 0), ("config.json", config.as_bytes(), 0)];
    files.extend(names.iter().zip(&layers).map(|(name, layer)| (name.as_str(), layer.as_slice(), 0)));
    archive(&files)
}

fn archive(files: &[File<'_>]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for (name, content, owner) in files {
        let mut header = Header::new_gnu();
        header.set_mode(0o755);
        header.set_uid(*owner);
        header.set_gid(*owner);
        header.set_size(content.len() as u64);
        builder.append_data(&mut header, name, *content).unwrap();
    }
    builder.into_inner().unwrap()
}
