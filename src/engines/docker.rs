//! See the engine trait.
