//! Images in files: OCI layout directories, OCI archives, and what `docker save` writes.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::{Component, Path, PathBuf},
};

use ring::digest::{SHA256, digest};
use serde::Deserialize;

use super::{Image, ImageStore, broken, config, hex, invalid};
use crate::engines::EngineError;

/// More than any manifest or configuration has.
const LONGEST_DOCUMENT: u64 = 8 << 20;
/// How many entries an archive of an image may have.
const MOST_ENTRIES: usize = 10_000;
const CHUNK: usize = 256 * 1024;

/// Where an image's parts are read from.
enum Parts {
    /// A layout directory.
    Dir(PathBuf),
    /// An archive, and where in it each file lies: offset and length.
    Tar(File, HashMap<PathBuf, (u64, u64)>),
}

#[derive(Deserialize)]
struct DockerManifest {
    #[serde(rename = "Config")]
    config: PathBuf,
    #[serde(rename = "Layers")]
    layers: Vec<PathBuf>,
}

#[derive(Deserialize)]
struct Index {
    manifests: Vec<Descriptor>,
}

#[derive(Deserialize)]
struct Manifest {
    config: Descriptor,
    layers: Vec<Descriptor>,
}

#[derive(Deserialize)]
struct Descriptor {
    digest: String,
    #[serde(default, rename = "mediaType")]
    media_type: String,
    #[serde(default)]
    platform: Option<Platform>,
}

#[derive(Deserialize)]
struct Platform {
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    os: String,
}

impl ImageStore {
    /// Reads an image, and unpacks those of its layers that are not there yet.
    pub(super) fn read_archive(&self, path: &Path) -> Result<Image, EngineError> {
        let mut parts = Parts::open(path).map_err(|error| invalid(format!("{}: {error}", path.display())))?;
        let (document, files) = parts.image().map_err(|error| invalid(format!("{}: {error}", path.display())))?;
        let (config, diff_ids) = config::parse(&document)?;
        if files.len() != diff_ids.len() {
            return Err(invalid(format!("it has {} layers and its configuration {}", files.len(), diff_ids.len())));
        }
        let mut layers = Vec::new();
        for (file, diff_id) in files.iter().zip(&diff_ids) {
            if let Some(layer) = self.layer(diff_id) {
                layers.push(layer);
                continue;
            }
            let mut unpacking = self.unpack(diff_id)?;
            let mut layer = parts.read(file).map_err(|error| invalid(format!("{}: {error}", file.display())))?;
            let mut bytes = vec![0; CHUNK];
            loop {
                match layer.read(&mut bytes).map_err(|error| broken(&error))? {
                    0 => break,
                    length if unpacking.write(&bytes[..length]).is_ok() => {}
                    _ => break,
                }
            }
            layers.push(unpacking.finish()?);
        }
        Ok(Image { id: sha256(&document), layers, config })
    }
}

impl Parts {
    fn open(path: &Path) -> io::Result<Self> {
        if path.is_dir() {
            return Ok(Self::Dir(path.to_owned()));
        }
        let mut file = File::open(path)?;
        let mut magic = [0; 2];
        file.read_exact(&mut magic)?;
        file.rewind()?;
        if magic == [0x1f, 0x8b] {
            return Err(io::Error::other("the archive is compressed: gunzip it first"));
        }
        let mut files = HashMap::new();
        let mut links = Vec::new();
        let mut archive = tar::Archive::new(file);
        for entry in archive.entries_with_seek()?.take(MOST_ENTRIES) {
            let entry = entry?;
            let path = plain(&entry.path()?);
            if entry.header().entry_type().is_file() {
                files.insert(path, (entry.raw_file_position(), entry.size()));
            } else if let Some(target) = entry.link_name()? {
                // A layer that another image of the archive has too.
                let target = path.parent().unwrap_or(Path::new("")).join(target);
                links.push((path, plain(&target)));
            }
        }
        for (link, target) in links {
            if let Some(found) = files.get(&target).copied() {
                files.insert(link, found);
            }
        }
        Ok(Self::Tar(archive.into_inner(), files))
    }

    fn read(&mut self, path: &Path) -> io::Result<Box<dyn Read + '_>> {
        match self {
            Self::Dir(dir) => Ok(Box::new(File::open(dir.join(plain(path)))?)),
            Self::Tar(file, files) => {
                let (offset, length) =
                    files.get(&plain(path)).ok_or_else(|| io::Error::other("it is not in the archive"))?;
                file.seek(SeekFrom::Start(*offset))?;
                Ok(Box::new(file.take(*length)))
            }
        }
    }

    fn document(&mut self, path: &Path) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.read(path)?.take(LONGEST_DOCUMENT).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// The image's configuration, and the files of its layers.
    fn image(&mut self) -> io::Result<(Vec<u8>, Vec<PathBuf>)> {
        if let Ok(index) = self.document(Path::new("index.json")) {
            return self.oci_image(&index);
        }
        let manifests = self.document(Path::new("manifest.json")).map_err(|_| {
            io::Error::other(
                "there is neither index.json nor manifest.json: it must be an OCI layout or from docker save",
            )
        })?;
        let mut manifests: Vec<DockerManifest> = serde_json::from_slice(&manifests)?;
        match (manifests.pop(), manifests.is_empty()) {
            (Some(only), true) => Ok((self.document(&only.config)?, only.layers)),
            _ => Err(io::Error::other("it must hold exactly one image")),
        }
    }

    fn oci_image(&mut self, index: &[u8]) -> io::Result<(Vec<u8>, Vec<PathBuf>)> {
        let mut index: Index = serde_json::from_slice(index)?;
        // An index may point to another, of one image for several kinds of machine.
        for _ in 0..3 {
            let descriptor = choose(index.manifests)?;
            let document = self.blob(&descriptor.digest)?;
            if descriptor.media_type.contains("index") || descriptor.media_type.contains("manifest.list") {
                index = serde_json::from_slice(&document)?;
                continue;
            }
            let manifest: Manifest = serde_json::from_slice(&document)?;
            let layers = manifest.layers.iter().map(|layer| blob_path(&layer.digest)).collect::<Result<_, _>>()?;
            return Ok((self.blob(&manifest.config.digest)?, layers));
        }
        Err(io::Error::other("its indexes point to each other"))
    }

    /// A small blob, which is what its digest says.
    fn blob(&mut self, digest: &str) -> io::Result<Vec<u8>> {
        let bytes = self.document(&blob_path(digest)?)?;
        if sha256(&bytes) == digest {
            Ok(bytes)
        } else {
            Err(io::Error::other(format!("what is called {digest} is something else: copy it again")))
        }
    }
}

fn choose(manifests: Vec<Descriptor>) -> io::Result<Descriptor> {
    let here = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let fits = |it: &Descriptor| it.platform.as_ref().is_none_or(|on| on.os == "linux" && on.architecture == here);
    let mut fitting = manifests.into_iter().filter(fits);
    match (fitting.next(), fitting.next()) {
        (Some(only), None) => Ok(only),
        (None, _) => Err(io::Error::other(format!("it holds no image for linux/{here}"))),
        (Some(_), Some(_)) => Err(io::Error::other("it holds several images: export the one that is wanted")),
    }
}

fn blob_path(digest: &str) -> io::Result<PathBuf> {
    match digest.split_once(':') {
        Some((algorithm, hex)) if config::is_digest(digest) => Ok(Path::new("blobs").join(algorithm).join(hex)),
        _ => Err(io::Error::other(format!("{digest:?} is no digest"))),
    }
}

/// Without what could lead anywhere else.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(part) => plain.push(part),
            Component::ParentDir => _ = plain.pop(),
            _ => {}
        }
    }
    plain
}

fn sha256(bytes: &[u8]) -> String {
    format!("sha256:{}", hex(digest(&SHA256, bytes).as_ref()))
}
