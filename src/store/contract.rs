//! The one suite that every database must pass.

/// A database of a test's own.
#[derive(Debug)]
pub struct TestDatabase(String);

impl TestDatabase {
    /// Placeholder until merged.
    pub async fn postgres() -> Option<Self> {
        None
    }
    /// url
    pub fn url(&self) -> &str {
        &self.0
    }
    /// drop
    pub async fn drop(self) {}
}
