//! The object stores that tests run against.

use uuid::Uuid;

use super::{LogError, ObjectSettings, Objects};
use crate::engines::contract::skipped;

/// A place of one test's own on a real server.
#[derive(Debug, Clone)]
pub struct TestStore {
    /// What `logs.store` is set to.
    pub url: String,
    /// What `logs.store_options` are. None of these secrets is one.
    pub options: Vec<(&'static str, String)>,
}

impl TestStore {
    /// A place on a server of each kind that is there. One that is missing is a visible skip of `what`.
    #[must_use]
    pub fn all(what: &str) -> Vec<Self> {
        let find = |kind: &str, variable: &str, make: fn(&str) -> Self| {
            let endpoint = std::env::var(variable).ok().filter(|endpoint| !endpoint.is_empty());
            if endpoint.is_none() {
                skipped(&format!("{what} ({kind})"), &format!("{variable} names no server: use tests/support/test"));
            }
            endpoint.map(|endpoint| make(&endpoint))
        };
        let all = [find("S3", "HAULIER_TEST_S3", Self::s3), find("Azure", "HAULIER_TEST_AZURE", Self::azure)];
        all.into_iter().flatten().collect()
    }

    fn s3(endpoint: &str) -> Self {
        let options = [
            ("endpoint", endpoint),
            ("access_key_id", "haulier"),
            ("secret_access_key", "haulier-test-only"),
            ("allow_http", "true"),
        ];
        Self::new("s3", options)
    }

    /// With the account that every emulator has.
    fn azure(endpoint: &str) -> Self {
        let key = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";
        let options = [
            ("endpoint", &*format!("{endpoint}/devstoreaccount1")),
            ("account_name", "devstoreaccount1"),
            ("account_key", key),
            ("allow_http", "true"),
        ];
        Self::new("az", options)
    }

    fn new(scheme: &str, options: [(&'static str, &str); 4]) -> Self {
        let url = format!("{scheme}://haulier-test/{}/logs", Uuid::now_v7());
        Self { url, options: options.map(|(name, value)| (name, value.to_owned())).into() }
    }

    /// As settings.
    ///
    /// # Panics
    /// They are not right.
    #[must_use]
    pub fn settings(&self) -> ObjectSettings {
        let mut settings = ObjectSettings::new(&self.url).expect("the form is right");
        for (name, value) in &self.options {
            assert!(settings.set(name, value.as_str().into()), "{name} is an option");
        }
        settings
    }

    /// As they stand in a configuration file.
    #[must_use]
    pub fn toml(&self) -> String {
        let options = self.options.iter().map(|(name, value)| format!("{name} = {value:?}\n"));
        format!("[logs]\nstore = {:?}\n[logs.store_options]\n{}", self.url, options.collect::<String>())
    }

    /// Deletes all that the test has put there.
    ///
    /// # Errors
    /// The server does not do it.
    pub async fn clean_up(&self) -> Result<(), LogError> {
        let objects = Objects::open(&self.settings()).expect("the options fit");
        let all = objects.all().await?;
        objects.delete(all).await
    }
}
