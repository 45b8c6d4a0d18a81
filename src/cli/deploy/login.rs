//! Who this machine is at a registry.

use docker_credential::DockerCredential::{self, IdentityToken, UsernamePassword};

use crate::{
    cli::{builder::Tool, exit::Usage},
    registry::Login,
};

/// The user name that goes with an identity token, as Azure's registries want it: what `az acr login` leaves.
const TOKEN_USER: &str = "00000000-0000-0000-0000-000000000000";

/// A login, and who knows it already.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) login: Login,
    source: Source,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    /// Variables: nobody else reads them.
    Given,
    Docker,
    Podman,
}

impl Found {
    /// The login for a server: from variables for machines, else what `docker login` or `podman login` has left.
    ///
    /// # Errors
    /// Half of the variables is set.
    pub(super) fn for_server(server: &str) -> Result<Option<Self>, Usage> {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        match (variable("HAULIER_REGISTRY_USER"), variable("HAULIER_REGISTRY_PASSWORD")) {
            (Some(username), Some(password)) => {
                let login = Login { username, password: password.into() };
                return Ok(Some(Self { login, source: Source::Given }));
            }
            (None, None) => {}
            _ => {
                let told = "set both HAULIER_REGISTRY_USER and HAULIER_REGISTRY_PASSWORD, or neither";
                return Err(Usage(told.to_owned()));
            }
        }
        // Without a login there may be a registry that wants none; it says so if it wants one.
        let docker = docker_credential::get_credential(server).map(|known| (known, Source::Docker));
        let known = docker.or_else(|_| docker_credential::get_podman_credential(server).map(|it| (it, Source::Podman)));
        Ok(known.ok().map(|(known, source)| Self { login: as_login(known), source }))
    }

    /// Whether the builder finds it by itself. Then its own configuration is left as it is, with all else that it says.
    pub(super) fn is_known_to(&self, tool: Tool) -> bool {
        match self.source {
            Source::Given => false,
            // Podman and Buildah read Docker's too.
            Source::Docker => true,
            Source::Podman => tool.name() != "docker",
        }
    }
}

fn as_login(known: DockerCredential) -> Login {
    match known {
        UsernamePassword(username, password) => Login { username, password: password.into() },
        IdentityToken(token) => Login { username: TOKEN_USER.to_owned(), password: token.into() },
    }
}
