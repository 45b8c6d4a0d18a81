//! Files, put into a container before its start.

use bollard::{
    body_full,
    errors::Error,
    models::ContainerInspectResponse,
    query_parameters::{DownloadFromContainerOptions, UploadToContainerOptions},
};
use bytes::Bytes;
use futures::StreamExt;
use secrecy::ExposeSecret;
use std::io::Read;

use super::DockerEngine;
use crate::engines::{
    EngineError, EngineErrorKind, LaunchFile, Persistence,
    docker_api::{
        client::{QUICK, SLOW},
        errors::classify,
    },
};

/// More than any `/etc/passwd` has.
const PASSWD_BYTES: usize = 1 << 20;

impl DockerEngine {
    /// Puts the files where they belong, owned by the user that the container will run as.
    pub(super) async fn place_files(&self, container: &str, files: &[LaunchFile]) -> Result<(), EngineError> {
        if files.is_empty() {
            return Ok(());
        }
        let (uid, gid) = self.user_of(container).await?;
        let archive = archive(files, uid, gid).map_err(|error| {
            EngineError::new(EngineErrorKind::Rejected, Persistence::Permanent, "pack the files", error.to_string())
                .caused_by(error)
        })?;
        let options = UploadToContainerOptions { path: "/".to_owned(), ..Default::default() };
        self.client
            .call(SLOW, |docker| async move {
                docker.upload_to_container(container, Some(options), body_full(archive)).await
            })
            .await
            .map_err(|error| classify("put files into the container", error))
    }

    /// The container's user and group by number.
    async fn user_of(&self, container: &str) -> Result<(u64, u64), EngineError> {
        let found = self.client.inspect(container).await.map_err(|error| classify("inspect the container", error))?;
        let user = found.and_then(|ContainerInspectResponse { config, .. }| config?.user).unwrap_or_default();
        let (user, group) = user.split_once(':').unwrap_or((&user, ""));
        if user.is_empty() || user == "root" {
            return Ok((0, group.parse().unwrap_or(0)));
        }
        if let Ok(uid) = user.parse() {
            return Ok((uid, group.parse().unwrap_or(0)));
        }
        let passwd = self.read_passwd(container).await.map_err(|error| classify("read /etc/passwd", error))?;
        let entry = passwd.lines().map(|line| line.split(':').collect::<Vec<_>>()).find(|entry| entry[0] == user);
        let number = |at: usize| entry.as_ref().and_then(|entry| entry.get(at)?.parse().ok());
        Ok((number(2).unwrap_or(0), group.parse().ok().or(number(3)).unwrap_or(0)))
    }

    async fn read_passwd(&self, container: &str) -> Result<String, Error> {
        let options = DownloadFromContainerOptions { path: "/etc/passwd".to_owned() };
        let archive = self
            .client
            .call(QUICK, |docker| async move {
                let mut chunks = docker.download_from_container(container, Some(options));
                let mut archive = Vec::new();
                while let Some(chunk) = chunks.next().await {
                    archive.extend_from_slice(&chunk?);
                    if archive.len() > PASSWD_BYTES {
                        break;
                    }
                }
                Ok(archive)
            })
            .await?;
        let mut text = String::new();
        for entry in tar::Archive::new(archive.as_slice()).entries()? {
            entry?.read_to_string(&mut text)?;
        }
        Ok(text)
    }
}

/// A tar archive of the files, relative to `/`.
fn archive(files: &[LaunchFile], uid: u64, gid: u64) -> std::io::Result<Bytes> {
    let mut builder = tar::Builder::new(Vec::new());
    for LaunchFile { path, content, mode, secret: _ } in files {
        let content = content.expose_secret();
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(*mode);
        header.set_uid(uid);
        header.set_gid(gid);
        builder.append_data(&mut header, path.trim_start_matches('/'), content)?;
    }
    builder.into_inner().map(Bytes::from)
}
