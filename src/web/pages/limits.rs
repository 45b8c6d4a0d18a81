//! Limits: who holds them, who waits.

use askama::Template;

use super::{RunRow, Shell};
use crate::{
    domain::{Name, RunId},
    web::format::Ago,
};

/// The most places that are drawn one by one.
const PLACES: u32 = 24;

/// How much of a capacity is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Meter {
    /// In use.
    pub held: u32,
    /// In all.
    pub capacity: u32,
}

impl Meter {
    /// Filled and empty places, when there are few enough to draw each.
    #[must_use]
    pub fn places(&self) -> Option<Vec<bool>> {
        let most = self.capacity.max(self.held);
        (most <= PLACES).then(|| (0..most).map(|place| place < self.held).collect())
    }

    /// Filled, in percent.
    #[must_use]
    pub fn percent(&self) -> u32 {
        u64::from(self.held.min(self.capacity))
            .checked_mul(100)
            .and_then(|held| held.checked_div(u64::from(self.capacity)))
            .and_then(|percent| u32::try_from(percent).ok())
            .unwrap_or(100)
    }

    /// Whether nothing is left.
    #[must_use]
    pub const fn full(&self) -> bool {
        self.held >= self.capacity
    }
}

/// All limits of the project.
#[derive(Debug, Template)]
#[template(path = "limits.html")]
pub struct LimitsPage {
    /// What stands around it.
    pub shell: Shell,
    /// By name.
    pub limits: Vec<LimitCard>,
    /// Where the next page begins.
    pub next: Option<Name>,
}

/// A limit.
#[derive(Debug, Clone)]
pub struct LimitCard {
    /// Its name.
    pub name: Name,
    /// Its use.
    pub meter: Meter,
    /// When its capacity was set.
    pub updated: Ago,
}

/// One limit: its holders and its queue.
#[derive(Debug, Template)]
#[template(path = "limit.html")]
pub struct LimitPage {
    /// What stands around it.
    pub shell: Shell,
    /// The limit.
    pub limit: LimitCard,
    /// Who holds it, and how much.
    pub holders: Vec<(Option<RunRow>, RunId, u32)>,
    /// How many ready runs wait for it.
    pub waiting: u32,
    /// The first of them.
    pub queue: Vec<RunRow>,
}
