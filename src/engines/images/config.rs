//! An image's own configuration.

use serde::{Deserialize, Serialize};

use super::invalid;
use crate::engines::EngineError;

/// How an image wants to be run.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct RunConfig {
    /// What is executed.
    pub entrypoint: Vec<String>,
    /// Arguments to the entry point, or the command where there is none.
    pub cmd: Vec<String>,
    /// `NAME=value`.
    pub env: Vec<String>,
    /// `name`, `uid`, or either with `:group`; empty is root.
    pub user: String,
    /// Empty is `/`.
    pub workdir: String,
}

impl RunConfig {
    /// What is executed for a job that replaces these; as Docker does, a replaced entry point takes the image's
    /// arguments along.
    #[must_use]
    pub fn command(&self, command: Option<&[String]>, args: &[String]) -> Vec<String> {
        let own: &[String] = if command.is_some() { &[] } else { &self.cmd };
        let args = if args.is_empty() { own } else { args };
        command.unwrap_or(&self.entrypoint).iter().chain(args).cloned().collect()
    }
}

/// The parts of an OCI image configuration that matter here.
#[derive(Debug, Deserialize)]
struct Document {
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    os: String,
    #[serde(default)]
    config: Option<Process>,
    rootfs: RootFs,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Process {
    entrypoint: Option<Vec<String>>,
    cmd: Option<Vec<String>>,
    env: Option<Vec<String>>,
    user: Option<String>,
    working_dir: Option<String>,
}

#[derive(Debug, Deserialize)]
struct RootFs {
    #[serde(default)]
    diff_ids: Vec<String>,
}

/// Reads a configuration: how to run the image, and the digests of its uncompressed layers.
pub(super) fn parse(text: &[u8]) -> Result<(RunConfig, Vec<String>), EngineError> {
    let Document { architecture, os, config, rootfs } = serde_json::from_slice(text)
        .map_err(|error| invalid(format!("its configuration cannot be understood: {error}")))?;
    let here = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    if !(os.is_empty() || os == "linux") || !(architecture.is_empty() || architecture == here) {
        let text = format!("the image is for {os}/{architecture}, this machine is linux/{here}: build it for that");
        return Err(invalid(text));
    }
    if let Some(wrong) = rootfs.diff_ids.iter().find(|id| !is_digest(id)) {
        return Err(invalid(format!("{wrong:?} is no digest of a layer")));
    }
    let process = config.unwrap_or_default();
    let config = RunConfig {
        entrypoint: process.entrypoint.unwrap_or_default(),
        cmd: process.cmd.unwrap_or_default(),
        env: process.env.unwrap_or_default(),
        user: process.user.unwrap_or_default(),
        workdir: process.working_dir.unwrap_or_default(),
    };
    Ok((config, rootfs.diff_ids))
}

/// Whether it is `sha256:` and 64 hexadecimal digits: what becomes a file's name must be nothing else.
pub(crate) fn is_digest(text: &str) -> bool {
    text.strip_prefix("sha256:")
        .is_some_and(|hex| hex.len() == 64 && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(of: &[&str]) -> Vec<String> {
        of.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn commands_are_put_together_as_docker_does() {
        let image = RunConfig { entrypoint: texts(&["e"]), cmd: texts(&["c"]), ..RunConfig::default() };
        assert_eq!(image.command(None, &[]), ["e", "c"]);
        assert_eq!(image.command(None, &texts(&["a"])), ["e", "a"]);
        assert_eq!(image.command(Some(&texts(&["x"])), &[]), ["x"]);
        assert_eq!(image.command(Some(&texts(&["x"])), &texts(&["a"])), ["x", "a"]);
    }

    #[test]
    fn what_is_not_for_this_machine_or_no_digest_is_refused() {
        let id = format!("sha256:{}", "a".repeat(64));
        let text = |arch: &str, id: &str| {
            format!(r#"{{"architecture":"{arch}","os":"linux","rootfs":{{"type":"layers","diff_ids":["{id}"]}}}}"#)
        };
        assert_eq!(parse(text("", &id).as_bytes()).unwrap().1, std::slice::from_ref(&id));
        assert!(parse(text("s390x", &id).as_bytes()).unwrap_err().detail.contains("s390x"));
        assert!(parse(text("", "sha256:../../../etc").as_bytes()).is_err());
        assert!(parse(b"{}").is_err());
    }
}
