//! People, as an OpenID Connect issuer knows them.

use serde::{Deserialize, Serialize};

use super::{Name, Scope};

/// What somebody may do, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Access {
    /// In which project; `None` = in the whole installation.
    pub project: Option<Name>,
    /// What.
    pub scopes: Vec<Scope>,
}

/// Somebody whom an issuer has named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// Who did what they do: the mail address, else `oidc:` and the subject. No token can be called so.
    pub name: String,
    /// How the issuer tells people apart, for good.
    pub subject: String,
    /// What they may do; never empty.
    pub access: Vec<Access>,
}

impl Person {
    /// What they may do in the whole installation.
    #[must_use]
    pub fn scopes_everywhere(&self) -> Vec<Scope> {
        self.scopes(|project| project.is_none())
    }

    /// What they may do in a project, with what they may do everywhere.
    #[must_use]
    pub fn scopes_in(&self, project: &Name) -> Vec<Scope> {
        self.scopes(|given| given.is_none_or(|given| given == project))
    }

    /// The projects that they were given by name, in order.
    #[must_use]
    pub fn projects(&self) -> Vec<&Name> {
        let mut names: Vec<_> = self.access.iter().filter_map(|access| access.project.as_ref()).collect();
        names.sort();
        names.dedup();
        names
    }

    /// The project that they mean when they name none: their only one, else the default one.
    #[must_use]
    pub fn home(&self) -> Name {
        match self.projects()[..] {
            [only] if self.scopes_everywhere().is_empty() => only.clone(),
            _ => Name::default_project(),
        }
    }

    fn scopes(&self, fits: impl Fn(Option<&Name>) -> bool) -> Vec<Scope> {
        let fitting = self.access.iter().filter(|access| fits(access.project.as_ref()));
        let mut scopes: Vec<_> = fitting.flat_map(|access| access.scopes.iter().copied()).collect();
        scopes.sort();
        scopes.dedup();
        scopes
    }
}
