//! What the engine contract is run against: an engine that pulls from the registries of the tests, and runs shells.
//! `eval "$(tests/support/infra)"` brings what it needs.

use std::{env, sync::Arc};

use haulier::{
    domain::InstallationId,
    engines::{
        Credentials, Engine,
        contract::{Dialect, Faults, SlowImage, Subject},
    },
};

/// What the environment tells the tests.
pub fn variable(name: &str) -> Result<String, String> {
    env::var(name).map_err(|_| format!("{name} is not set: eval \"$(tests/support/infra)\""))
}

/// The engine as its owners and a stranger see it.
pub fn subject(
    name: &'static str,
    slow_image: SlowImage,
    faults: Arc<dyn Faults>,
    engine: impl Fn(InstallationId) -> Arc<dyn Engine>,
) -> Result<Subject, String> {
    let registry = variable("HAULIER_TEST_REGISTRY")?;
    let server = variable("HAULIER_TEST_REGISTRY_AUTH")?;
    let (owner, stranger_id) = (InstallationId::generate(), InstallationId::generate());
    Ok(Subject {
        name,
        owner,
        engine: engine(owner),
        other: engine(owner),
        stranger_id,
        stranger: engine(stranger_id),
        image: variable("HAULIER_TEST_IMAGE")?,
        missing_image: format!("{registry}/haulier-test/no-such-image:1"),
        // Nothing listens on the discard port's neighbour.
        unreachable_image: "127.0.0.1:1/haulier-test/busybox:1".to_owned(),
        private: Some((
            format!("{server}/haulier-test/busybox:1"),
            Credentials {
                server,
                username: variable("HAULIER_TEST_REGISTRY_USER")?,
                password: variable("HAULIER_TEST_REGISTRY_PASSWORD")?.into(),
            },
        )),
        slow_image,
        dialect: Dialect::Shell,
        many: 30,
        may_lose_ends: false,
        faults,
    })
}
