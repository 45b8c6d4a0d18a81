//! What stands around every page: navigation, project, who is signed in.

use crate::{
    domain::{Name, Timestamp},
    web::{Assets, format::exact},
};

/// A place in the navigation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Section {
    /// What happens now.
    Overview,
    /// Jobs.
    Jobs,
    /// Runs.
    Runs,
    /// What an operator should know.
    Notices,
    /// Limits.
    Limits,
    /// Engines.
    Engines,
    /// Tokens.
    Tokens,
    /// Who changed what.
    Audit,
}

impl Section {
    /// Its name.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Overview => "Overview",
            Self::Jobs => "Jobs",
            Self::Runs => "Runs",
            Self::Notices => "Notices",
            Self::Limits => "Limits",
            Self::Engines => "Engines",
            Self::Tokens => "Tokens",
            Self::Audit => "Audit",
        }
    }

    /// Its address.
    #[must_use]
    pub const fn path(self) -> &'static str {
        match self {
            Self::Overview => "/",
            Self::Jobs => "/jobs",
            Self::Runs => "/runs",
            Self::Notices => "/notices",
            Self::Limits => "/limits",
            Self::Engines => "/engines",
            Self::Tokens => "/tokens",
            Self::Audit => "/audit",
        }
    }
}

/// Light or dark.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Theme {
    /// As the system has it.
    #[default]
    Auto,
    /// Light.
    Light,
    /// Dark.
    Dark,
}

impl Theme {
    /// All choices.
    pub const ALL: [Self; 3] = [Self::Auto, Self::Light, Self::Dark];

    /// The choice as it is kept.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Light => "light",
            Self::Dark => "dark",
        }
    }

    /// Reads a kept choice.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|theme| theme.as_str() == text)
    }
}

/// What whoever is signed in may do, so that nothing else is offered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "one a scope")]
pub struct Rights {
    /// See jobs, limits, state.
    pub read: bool,
    /// Start and cancel runs.
    pub trigger: bool,
    /// Change limits.
    pub write: bool,
    /// See tokens and the audit log.
    pub admin: bool,
}

/// What stands around a page.
#[derive(Debug, Clone)]
pub struct Shell {
    /// The page's name.
    pub title: String,
    /// Where it is.
    pub section: Section,
    /// The project that pages are about.
    pub project: Name,
    /// Projects to change to; empty when there is no choice.
    pub projects: Vec<Name>,
    /// The token's name.
    pub user: String,
    /// What it may do.
    pub rights: Rights,
    /// Light or dark.
    pub theme: Theme,
    /// What forms carry to show that they are ours.
    pub csrf: String,
    /// The page's own address, to come back to.
    pub here: String,
    /// When the page was made.
    pub now: Timestamp,
    /// The stream that tells when the page should be looked at anew.
    pub live: Option<String>,
    /// Addresses of style sheet, script and icon.
    pub assets: Assets,
}

impl Shell {
    /// When the page was made, in words.
    #[must_use]
    pub fn made(&self) -> String {
        exact(self.now)
    }

    /// The navigation, in groups.
    #[must_use]
    pub fn sections(&self) -> Vec<Vec<Section>> {
        let mut groups = vec![vec![Section::Overview, Section::Jobs, Section::Runs]];
        let mut bounds = Vec::new();
        if self.rights.read {
            bounds.push(Section::Notices);
            bounds.push(Section::Limits);
        }
        bounds.push(Section::Engines);
        groups.push(bounds);
        if self.rights.admin {
            groups.push(vec![Section::Tokens, Section::Audit]);
        }
        groups
    }
}
