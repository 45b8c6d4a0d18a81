//! Where a project's image is kept.

use super::login::Found;
use crate::{
    api::types::RegistryView,
    cli::{exit::Usage, output::Output},
    client::Client,
    domain::JobSpec,
    registry::{Login, server_of},
};

/// A repository, and who pushes to it.
#[derive(Debug)]
pub(super) struct Target {
    /// The registry's host, with its port if any.
    pub(super) server: String,
    /// Without a tag: `registry.example.com/data/load-orders`.
    pub(super) repository: String,
    /// Who pushes.
    pub(super) found: Option<Found>,
    /// Whether the service has a login for it too.
    service_has_login: bool,
}

impl Target {
    /// From the command line, else from `haulier.yaml`, else the project's registry.
    ///
    /// # Errors
    /// None of them says it, or several do.
    pub(super) async fn choose(client: &Client, spec: &JobSpec, wanted: Option<&str>) -> anyhow::Result<Self> {
        let image = spec.image.as_str();
        let last = image.rsplit('/').next().unwrap_or(image);
        if last.contains([':', '@']) {
            let told = format!("haulier.yaml: image {image} has a tag or digest: leave it out, deploy makes them");
            return Err(Usage(told).into());
        }
        let registries = client.registries().await?.items;
        let repository = repository(image, spec, wanted.filter(|wanted| !wanted.is_empty()), &registries)?;
        let server = server_of(&repository).unwrap_or("docker.io").to_owned();
        let found = Found::for_server(&server)?;
        let service_has_login = registries.iter().any(|registry| registry.server == server);
        Ok(Self { server, repository, found, service_has_login })
    }

    /// Who pushes.
    pub(super) fn login(&self) -> Option<&Login> {
        self.found.as_ref().map(|found| &found.login)
    }

    /// Whether an image is a version of this one.
    pub(super) fn holds(&self, image: &str) -> bool {
        let rest = image.strip_prefix(self.repository.as_str());
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with([':', '@']))
    }

    /// Where a login was needed to push, one is likely needed to pull.
    pub(super) fn warn_without_login(&self, out: Output) {
        if self.found.is_some() && !self.service_has_login {
            out.note(format_args!(
                "the project has no login for {0}: if runs cannot pull the image, `haulier registry set NAME --server \
                 {0} --username USER` gives it one",
                self.server
            ));
        }
    }
}

fn repository(image: &str, spec: &JobSpec, wanted: Option<&str>, registries: &[RegistryView]) -> Result<String, Usage> {
    // Of an image that names a server already, another server keeps the rest.
    let path = server_of(image).map_or(image, |server| &image[server.len() + 1..]);
    let named = |name: &str| registries.iter().find(|registry| registry.name.as_str() == name);
    if let Some(wanted) = wanted {
        let server = wanted.trim_end_matches('/');
        if let Some(registry) = named(server) {
            return Ok(format!("{}/{path}", registry.server));
        }
        if server_of(&format!("{server}/")).is_none() {
            let told = format!(
                "--registry {wanted}: the project has no registry of this name: write a server, like \
                                registry.example.com/data, or see `haulier registry list`"
            );
            return Err(Usage(told));
        }
        return Ok(format!("{server}/{path}"));
    }
    if server_of(image).is_some() {
        return Ok(image.to_owned());
    }
    if let Some(registry) = spec.registry.as_ref().and_then(|name| named(name)) {
        return Ok(format!("{}/{path}", registry.server));
    }
    match registries {
        [only] => Ok(format!("{}/{path}", only.server)),
        [] => Err(Usage(format!(
            "nothing says where the image is kept: write its server in haulier.yaml, like `image: \
             registry.example.com/data/{path}`, or give the project a registry with `haulier registry set`, or use \
             --registry"
        ))),
        several => {
            let names: Vec<_> = several.iter().map(|registry| registry.name.as_str()).collect();
            Err(Usage(format!("the project has several registries: choose one with --registry {}", names.join("|"))))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Timestamp;

    #[test]
    fn the_command_line_goes_before_the_file_and_the_file_before_the_project() {
        let registry = |name: &str, server: &str| RegistryView {
            name: name.parse().unwrap(),
            server: server.to_owned(),
            username: "u".to_owned(),
            updated_at: Timestamp::from_micros(0),
        };
        let one = [registry("main", "one.example.com")];
        let two = [registry("main", "one.example.com"), registry("other", "two.example.com:5000")];
        let found = |image: &str, wanted: Option<&str>, registries: &[RegistryView]| {
            let spec: JobSpec = serde_json::from_value(serde_json::json!({"name": "a", "image": image})).unwrap();
            repository(image, &spec, wanted, registries).map_err(|error| error.to_string())
        };
        assert_eq!(found("a", None, &one).unwrap(), "one.example.com/a");
        assert_eq!(found("r.example.com/x/a", None, &one).unwrap(), "r.example.com/x/a");
        assert_eq!(found("r.example.com/x/a", Some("other"), &two).unwrap(), "two.example.com:5000/x/a");
        assert_eq!(found("a", Some("three.example.com/data/"), &two).unwrap(), "three.example.com/data/a");
        assert_eq!(found("a", Some("localhost"), &[]).unwrap(), "localhost/a");
        assert!(found("a", None, &[]).unwrap_err().contains("haulier registry set"));
        assert!(found("a", None, &two).unwrap_err().contains("--registry main|other"));
        assert!(found("a", Some("nothing"), &two).unwrap_err().contains("no registry of this name"));
    }
}
