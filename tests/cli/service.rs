//! A service of a test's own, and the command line that speaks to it.

use std::{
    fs::File,
    io::Write,
    ops::Deref,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;

/// Whatever is waited for must come within this time, also on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(30);

/// Tries until there is an answer.
pub fn eventually<T>(attempt: impl FnMut() -> Option<T>) -> T {
    eventually_within(PATIENCE, attempt)
}

fn eventually_within<T>(patience: Duration, mut attempt: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(answer) = attempt() {
            return answer;
        }
        assert!(Instant::now() < deadline, "it did not come in time");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Sends a signal to a process that this test started.
pub fn signal(name: &str, process: u32) {
    let sent = Command::new("kill").args([format!("-{name}"), process.to_string()]).status().unwrap();
    assert!(sent.success());
}

/// How a command ended.
#[derive(Debug)]
pub struct Ended {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

/// The command line with its surroundings.
#[derive(Debug, Clone)]
pub struct Cli {
    url: String,
    token: String,
}

impl Cli {
    /// Where nothing answers.
    pub fn offline() -> Self {
        Self { url: "http://127.0.0.1:1".to_owned(), token: "any-token-of-sixteen".to_owned() }
    }

    /// Another service.
    pub fn at(url: &str, token: &str) -> Self {
        Self { url: url.to_owned(), token: token.to_owned() }
    }

    pub fn with_token(&self, token: &str) -> Self {
        Self { token: token.to_owned(), ..self.clone() }
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = haulier();
        command.args(args).stdin(Stdio::null());
        // So that help, which shows them, is the same for all.
        if self.url != Self::offline().url || !args.iter().any(|arg| arg.ends_with('h') || *arg == "--help") {
            command.env("HAULIER_URL", &self.url).env("HAULIER_TOKEN", &self.token);
        }
        command
    }

    pub fn run(&self, args: &[&str]) -> Ended {
        self.start(args).end()
    }

    pub fn with_input(&self, args: &[&str], input: &str) -> Ended {
        let mut command = self.command(args);
        let mut running = Running::start(command.stdin(Stdio::piped()));
        running.child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        running.end()
    }

    /// What a command that must succeed prints.
    pub fn stdout(&self, args: &[&str]) -> String {
        let ended = self.run(args);
        assert_eq!(ended.code, 0, "{args:?}: {ended:?}");
        ended.stdout
    }

    pub fn json(&self, args: &[&str]) -> Value {
        serde_json::from_str(&self.stdout(&[args, &["--output", "json"]].concat())).unwrap()
    }

    pub fn start(&self, args: &[&str]) -> Running {
        Running::start(&mut self.command(args))
    }

    /// Registers a job.
    pub fn apply(&self, spec: &Value) {
        let applied = self.with_input(&["job", "apply", "-f", "-"], &spec.to_string());
        assert_eq!(applied.code, 0, "{applied:?}");
    }

    /// Registers a job whose script is these words.
    pub fn job(&self, name: &str, args: &[&str]) {
        self.apply(&serde_json::json!({"name": name, "image": "sim/ok", "args": args}));
    }
}

/// The program, without the variables that would change what it does.
pub fn haulier() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_haulier"));
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| name.starts_with("HAULIER_") || name == "RUST_LOG" || name == "COLUMNS") {
            command.env_remove(name);
        }
    }
    command
}

/// A command that goes on; ended with the test.
#[derive(Debug)]
pub struct Running {
    child: Child,
    dir: TempDir,
}

impl Running {
    pub fn start(command: &mut Command) -> Self {
        let dir = TempDir::new().unwrap();
        command.stdout(File::create(dir.path().join("stdout")).unwrap());
        command.stderr(File::create(dir.path().join("stderr")).unwrap());
        Self { child: command.spawn().unwrap(), dir }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    #[allow(dead_code, reason = "not every test binary looks at it")]
    pub fn stdout(&self) -> String {
        self.read("stdout")
    }

    pub fn stderr(&self) -> String {
        self.read("stderr")
    }

    fn read(&self, name: &str) -> String {
        String::from_utf8(std::fs::read(self.dir.path().join(name)).unwrap()).unwrap()
    }

    /// Waits for its end.
    pub fn end(self) -> Ended {
        self.end_within(PATIENCE)
    }

    /// Waits for its end for so long.
    pub fn end_within(mut self, patience: Duration) -> Ended {
        let status = eventually_within(patience, || self.child.try_wait().unwrap());
        let code = status.code().expect("it ended by itself");
        Ended { code, stdout: self.read("stdout"), stderr: self.read("stderr") }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A service with the simulated engine, and the command line as its admin. Ended with the test.
pub struct Service {
    cli: Cli,
    running: Running,
    dir: TempDir,
}

impl Deref for Service {
    type Target = Cli;
    fn deref(&self) -> &Cli {
        &self.cli
    }
}

impl Service {
    pub fn start() -> Self {
        Self::with("registries.allow = ['127.0.0.1']\n[engines.simulated]\nkind = 'simulated'\n")
    }

    /// A service with these settings.
    pub fn with(settings: &str) -> Self {
        let dir = TempDir::new().unwrap();
        let data = dir.path().join("data");
        let config = format!("listen = '127.0.0.1:0'\ndata_dir = '{}'\n{settings}", data.display());
        std::fs::write(dir.path().join("haulier.toml"), config).unwrap();
        let (running, url) = serve(&dir);
        let token = eventually(|| word_after(&running.stderr(), "HAULIER_TOKEN="));
        Self { cli: Cli { url, token }, running, dir }
    }

    /// A file that commands can read.
    pub fn file(&self, name: &str, text: &str) -> String {
        let path: PathBuf = self.dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// What the service printed.
    pub fn log(&self) -> String {
        self.running.stderr()
    }

    /// Ends the service politely and starts another on its data; the first one's exit code.
    pub fn restart(&mut self) -> Option<i32> {
        signal("TERM", self.running.id());
        let status = eventually(|| self.running.child.try_wait().unwrap());
        (self.running, self.cli.url) = serve(&self.dir);
        status.code()
    }
}

fn serve(dir: &TempDir) -> (Running, String) {
    let running = Running::start(haulier().arg("serve").arg("--config").arg(dir.path().join("haulier.toml")));
    let url = eventually(|| word_after(&running.stderr(), "listening on "));
    (running, url)
}

/// The word that follows, once the line is complete.
fn word_after(text: &str, before: &str) -> Option<String> {
    let (_, after) = text.split_once(before)?;
    let end = after.find(char::is_whitespace)?;
    Some(after[..end].to_owned())
}
