//! Secrets that the job names and the service has no value of: a developer has them in the file that `dev` reads.

use std::collections::BTreeSet;

use secrecy::{ExposeSecret, SecretString};

use crate::{
    api::types::JobView,
    cli::{exit::Usage, input, local_secrets, output::Output, pages, workspace::Workspace},
    client::{Client, ClientError},
    domain::{JobSpec, Name, SecretSpec},
};

/// A value that the service lacks.
struct Lacking {
    /// What the script calls it.
    name: String,
    /// The project's secret that it becomes; else it is the job's own.
    from: Option<Name>,
    value: SecretString,
}

/// The values that the service lacks, which are to be sent.
#[derive(Default)]
pub(super) struct ToSend(Vec<Lacking>);

impl ToSend {
    /// Finds what the service lacks and this machine has. `asked_for`: the developer wants it sent.
    ///
    /// # Errors
    /// Something is lacking, and is not to be sent or not here either: all of it is named.
    pub(super) async fn find(
        client: &Client,
        workspace: &Workspace,
        present: Option<&JobView>,
        asked_for: bool,
    ) -> anyhow::Result<Self> {
        let missing = missing(client, &workspace.spec, present).await?;
        if missing.is_empty() {
            return Ok(Self::default());
        }
        let (path, mut here) = (local_secrets::path(workspace), local_secrets::read(workspace)?);
        let has_all = missing.iter().all(|(name, _)| here.contains_key(*name));
        let names: Vec<_> = missing.iter().map(|(name, secret)| in_words(name, secret)).collect();
        let told = format!("the service has no value of {}", names.join(", "));
        let question = format!("{told}. Send what {} has? [y/N] ", path.display());
        let agreed = || has_all && input::someone_is_there() && input::confirmed(&question);
        if !asked_for && !agreed() {
            let each = "set each with `haulier secret set NAME`";
            let all = format!("send what {} has with --send-secrets", path.display());
            return Err(Usage(format!("{told}: {each}, or {all}")).into());
        }
        let mut to_send = Vec::new();
        for (name, secret) in missing {
            let Some(value) = here.remove(name) else {
                let lines: String = names.iter().map(|name| format!("\n  {name}")).collect();
                return Err(Usage(format!("{} must have a value of each of these:{lines}", path.display())).into());
            };
            to_send.push(Lacking { name: name.clone(), from: secret.from.clone(), value });
        }
        Ok(Self(to_send))
    }

    /// The job with all values in it, to ask the service whether it would take it.
    pub(super) fn with_all(&self, mut spec: JobSpec) -> JobSpec {
        for lacking in &self.0 {
            lacking.give(&mut spec);
        }
        spec
    }

    /// Sends the project's secrets; the job's own are in the answer.
    pub(super) async fn send(self, client: &Client, mut spec: JobSpec, out: Output) -> Result<JobSpec, ClientError> {
        for lacking in self.0 {
            match &lacking.from {
                Some(from) => {
                    client.set_secret(from.as_str(), &lacking.value, None).await?;
                    out.note(format_args!("the project's secret {from} is set to {} of this machine", lacking.name));
                }
                None => lacking.give(&mut spec),
            }
        }
        Ok(spec)
    }
}

impl Lacking {
    fn give(&self, spec: &mut JobSpec) {
        if let Some(secret) = spec.secrets.get_mut(&self.name) {
            (secret.from, secret.value) = (None, Some(self.value.expose_secret().to_owned()));
        }
    }
}

async fn missing<'s>(
    client: &Client,
    spec: &'s JobSpec,
    present: Option<&JobView>,
) -> Result<Vec<(&'s String, &'s SecretSpec)>, ClientError> {
    let mut wanted: Vec<_> = spec.secrets.iter().filter(|(_, secret)| secret.value.is_none()).collect();
    if wanted.iter().any(|(_, secret)| secret.from.is_some()) {
        let known = known(client).await?;
        wanted.retain(|(_, secret)| secret.from.as_ref().is_none_or(|from| !known.contains(from.as_str())));
    }
    let kept = |name: &String| present.is_some_and(|job| job.spec.secrets.contains_key(name));
    wanted.retain(|(name, secret)| secret.from.is_some() || !kept(name));
    Ok(wanted)
}

/// The names of the project's secrets.
async fn known(client: &Client) -> Result<BTreeSet<String>, ClientError> {
    let secrets = pages::all(async |cursor| client.secrets(cursor).await).await?;
    Ok(secrets.into_iter().map(|secret| secret.name.to_string()).collect())
}

fn in_words(name: &str, secret: &SecretSpec) -> String {
    match &secret.from {
        Some(from) => format!("{name} (the project's secret {from})"),
        None => name.to_owned(),
    }
}
