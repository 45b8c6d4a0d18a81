//! Master keys, as they are listed and rotated.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A master key, by its name; the key itself is never told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MasterKeyView {
    /// The first 8 bytes of its SHA-256, in hexadecimal.
    pub id: String,
    /// Whether the keys of new projects are sealed under it.
    pub current: bool,
    /// Whether this service has it. Without it, nothing of the projects that need it can be read.
    pub known: bool,
    /// How many projects need it.
    pub projects: usize,
}

/// What a rotation has done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RotationView {
    /// The master key that every project's key is sealed under now.
    pub current: String,
    /// Whether it is new. If not, it is the first of those that the service was given.
    pub made: bool,
    /// How many projects' keys were sealed anew.
    pub projects: usize,
}
