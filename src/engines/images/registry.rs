//! Pulling from a registry.

use std::sync::Arc;

use futures::StreamExt;
use oci_client::{Client, Reference, errors::OciDistributionError, manifest::OciDescriptor, secrets::RegistryAuth};
use secrecy::ExposeSecret;
use tokio::{sync::mpsc, task::spawn_blocking};

use super::{Image, ImageStore, Layer, broken, config, invalid, pull_failed};
use crate::{
    domain::WaitReason,
    engines::{Credentials, EngineError, EngineErrorKind, LaunchProgress, Persistence},
    registry::RegistryError,
};

/// No image has so many layers that they could be mounted.
const MOST_LAYERS: usize = 100;
/// Pieces of a layer between the network and the unpacking.
const PIECES: usize = 16;

/// What goes to the thread that feeds the unpacking.
enum Piece {
    Bytes(bytes::Bytes),
    /// All of it was there, and its digest was right.
    End,
}

impl ImageStore {
    pub(super) async fn pull(
        self: &Arc<Self>,
        reference: &Reference,
        credentials: Option<&Credentials>,
        progress: &LaunchProgress,
    ) -> Result<Image, EngineError> {
        let client = client(reference)?;
        let auth = credentials.map_or(RegistryAuth::Anonymous, |it| {
            RegistryAuth::Basic(it.username.clone(), it.password.expose_secret().to_owned())
        });
        let had_login = credentials.is_some();
        let failed = |error| classify(reference, had_login, error);
        let (manifest, _, document) = client.pull_manifest_and_config(reference, &auth).await.map_err(failed)?;
        let (config, diff_ids) = config::parse(document.as_bytes())?;
        if !config::is_digest(&manifest.config.digest) {
            return Err(invalid(format!("{:?} is no digest of a configuration", manifest.config.digest)));
        }
        let total = manifest.layers.len();
        if total != diff_ids.len() || total > MOST_LAYERS {
            let text = format!("its manifest has {total} layers and its configuration {}", diff_ids.len());
            return Err(invalid(format!("{text}: they must agree and be {MOST_LAYERS} at most")));
        }
        let mut layers = Vec::with_capacity(total);
        for (number, (descriptor, diff_id)) in manifest.layers.iter().zip(diff_ids).enumerate() {
            if let Some(layer) = self.layer(&diff_id) {
                layers.push(layer);
                continue;
            }
            progress.waits_for(WaitReason::PullingImage, format!("{reference}: layer {} of {total}", number + 1));
            layers.push(self.pull_layer(&client, reference, descriptor, diff_id, &failed).await?);
        }
        Ok(Image { id: manifest.config.digest, layers, config })
    }

    /// From the network straight into the unpacking; nothing is kept unless both digests are right.
    async fn pull_layer(
        self: &Arc<Self>,
        client: &Client,
        reference: &Reference,
        descriptor: &OciDescriptor,
        diff_id: String,
        failed: &(impl Fn(OciDistributionError) -> EngineError + Sync),
    ) -> Result<Layer, EngineError> {
        let mut stream = client.pull_blob_stream(reference, descriptor).await.map_err(failed)?;
        let (pieces, mut arriving) = mpsc::channel(PIECES);
        let store = self.clone();
        let unpacked = spawn_blocking(move || {
            let mut unpacking = store.unpack(&diff_id)?;
            while let Some(piece) = arriving.blocking_recv() {
                match piece {
                    Piece::Bytes(bytes) if unpacking.write(&bytes).is_ok() => {}
                    Piece::Bytes(_) | Piece::End => return unpacking.finish(),
                }
            }
            Err(pull_failed(Persistence::Temporary, "the pull was given up"))
        });
        while let Some(bytes) = stream.stream.next().await {
            let bytes = bytes.map_err(|error| {
                pull_failed(Persistence::Temporary, format!("a layer of {reference} did not arrive whole: {error}"))
            })?;
            // It has ended, and says why below.
            if pieces.send(Piece::Bytes(bytes)).await.is_err() {
                break;
            }
        }
        let _ = pieces.send(Piece::End).await;
        unpacked.await.unwrap_or_else(|error| Err(broken(&std::io::Error::other(error))))
    }
}

fn client(reference: &Reference) -> Result<Client, EngineError> {
    crate::registry::client(reference)
        .map_err(|error| pull_failed(Persistence::Permanent, error.to_string()).caused_by(error))
}

/// What an error means for the launch: what a registry refuses it refuses again, all else may pass.
fn classify(reference: &Reference, had_login: bool, error: OciDistributionError) -> EngineError {
    use EngineErrorKind::{ImageNotFound, ImagePull, ImageUnauthorized};
    use Persistence::{Permanent, Temporary};
    let meaning = crate::registry::classify(reference, had_login, &error);
    let (kind, persistence) = match &meaning {
        RegistryError::Unauthorized { .. } => (ImageUnauthorized, Permanent),
        RegistryError::NotFound(_) => (ImageNotFound, Permanent),
        // A digest that is wrong may be right the next time; so may an answer that is no answer.
        RegistryError::Unreachable { .. } | RegistryError::Odd { .. } => (ImagePull, Temporary),
    };
    EngineError::new(kind, persistence, "pull the image", format!("{reference}: {meaning}")).caused_by(error)
}
