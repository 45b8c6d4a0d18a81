//! This machine's kernel, as the contract wants it: by root, and by an ordinary user.

mod archive;
mod cases;
#[path = "../ordinary_user/mod.rs"]
mod ordinary_user;
mod single_id;

use std::{
    env, fs,
    io::Write as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use async_trait::async_trait;
use haulier::{
    domain::InstallationId,
    engines::{
        Engine, Handle,
        contract::{Faults, NotApplicable, SlowImage, Subject, Verdict},
        embedded::{EmbeddedConfig, EmbeddedEngine},
    },
};
use ordinary_user::OrdinaryUser;

/// Tells a test that it was started by itself, as another user; the value is a directory of that user's.
const HANDED_OVER: &str = "HAULIER_TEST_HANDED_OVER";

/// Run by root.
pub async fn embedded() -> Result<Subject, String> {
    subject("embedded", root()).await
}

/// Run by an ordinary user, to whom the case was handed over.
pub async fn embedded_rootless() -> Result<Subject, String> {
    match env::var_os(HANDED_OVER) {
        Some(_) => subject("embedded, rootless", root()).await,
        None => Err(OrdinaryUser::of_the_tests().err().unwrap_or_else(|| "it was not handed over".to_owned())),
    }
}

/// Where all lies. One for all cases: what one has pulled, the others find.
fn root() -> PathBuf {
    env::var_os(HANDED_OVER).map_or_else(|| Path::new(env!("CARGO_TARGET_TMPDIR")).join("embedded"), PathBuf::from)
}

async fn subject(name: &'static str, root: PathBuf) -> Result<Subject, String> {
    let program = Path::new(env!("CARGO_BIN_EXE_haulier"));
    let open = |owner| EmbeddedEngine::open("embedded", owner, EmbeddedConfig::default(), &root, program);
    let health = open(InstallationId::generate()).map_err(|error| error.to_string())?.probe().await;
    if !health.reachable {
        return Err(health.detail.unwrap_or_default());
    }
    let faults = Arc::new(EmbeddedFaults(root.join("runs")));
    let subject = crate::subject(name, SlowImage::Proxied, faults, |owner| {
        Arc::new(open(owner).expect("it was opened just now"))
    })?;
    Ok(Subject { many: 200, ..subject })
}

/// Whether an ordinary user has run this test, which is then over. `false`: to be run here, by whoever this is.
///
/// # Panics
/// The test has failed there.
pub fn run_by_an_ordinary_user(test: &str) -> bool {
    let user = OrdinaryUser::of_the_tests();
    user.is_ok_and(|user| {
        let root = user.home.join("contract");
        env::var_os(HANDED_OVER).is_none() && hand_over(test, &user, &root)
    })
}

/// Runs this test again as that user.
fn hand_over(test: &str, user: &OrdinaryUser, root: &Path) -> bool {
    let told = user.directory();
    let mut command = user.command(env::current_exe().expect("a test knows its program"));
    command.args(["--exact", test, "--nocapture"]).env(HANDED_OVER, root);
    // Where the user could not write.
    let files = ["HAULIER_TEST_CONTRACT", "HAULIER_TEST_SKIPS"];
    for name in files {
        command.env(name, told.path().join(name));
    }
    let done = command.output().expect("the program can be executed");
    for name in files {
        let Some(target) = env::var_os(name) else { continue };
        let lines = fs::read(told.path().join(name)).unwrap_or_default();
        let mut target = fs::OpenOptions::new().create(true).append(true).open(target).expect("it can be written");
        target.write_all(&lines).expect("it can be written");
    }
    let (said, why) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success() && said.contains(" 1 passed"), "as {user:?}: {}\n{said}\n{why}", done.status);
    true
}

/// What the user may do who runs the service.
struct EmbeddedFaults(PathBuf);

#[async_trait]
impl Faults for EmbeddedFaults {
    async fn interrupt(&self) -> Verdict {
        Err(NotApplicable("there is no daemon that could be away"))
    }

    async fn start_again(&self, _handle: &Handle) -> Verdict {
        Err(NotApplicable("a run directory is begun once"))
    }

    async fn lose(&self, handle: &Handle) -> Verdict {
        let shim = shim_of(&handle.id).expect("its shim runs");
        assert!(std::process::Command::new("kill").args(["-9", &shim]).status().expect("kill runs").success());
        // Out of sight, for not all that is in it may be removed by an ordinary user; the next engine does so.
        let grave = self.0.join(format!(".removed-{}", handle.id));
        fs::rename(self.0.join(&handle.id), grave).expect("it can be moved");
        Ok(())
    }
}

/// The process number of the shim that keeps this workload.
fn shim_of(name: &str) -> Option<String> {
    fs::read_dir("/proc").unwrap().flatten().find_map(|process| {
        let command = fs::read(process.path().join("cmdline")).ok()?;
        let mut parts = command.split(|byte| *byte == 0).map(String::from_utf8_lossy);
        // The container's init is a fork of it; only the shim itself leads a session and is no one's process 1.
        let status = fs::read_to_string(process.path().join("status")).ok()?;
        let outermost = status.lines().any(|line| line.starts_with("NSpid:") && line.split_whitespace().count() == 2);
        (outermost && parts.any(|part| part == "embedded-shim") && parts.next()?.ends_with(name))
            .then(|| process.file_name().to_string_lossy().into_owned())
    })
}
