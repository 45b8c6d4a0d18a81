//! `haulier serve` as a process of its own, to be killed and started again on its data.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

/// The token of who may do everything there.
pub const TOKEN: &str = "a-token-for-tests-of-the-binary";

/// A service that listens; killed when it is dropped.
#[derive(Debug)]
pub struct Served {
    child: Child,
    /// Where it listens.
    pub url: String,
}

impl Served {
    /// Starts the service that `haulier`, a call of the binary without arguments, makes of the data and of the
    /// `haulier.toml` in this directory.
    pub fn start(mut haulier: Command, dir: &Path, fail_points: &str) -> Self {
        haulier.args(["serve", "--listen", "127.0.0.1:0", "--data-dir"]).arg(dir);
        haulier.env("HAULIER_CONFIG", dir.join("haulier.toml")).env("HAULIER_ADMIN_TOKEN", TOKEN);
        haulier.env("FAILPOINTS", fail_points).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = haulier.spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let url = lines.by_ref().find_map(|line| {
            let (_, url) = line.split_once("listening on ")?;
            Some(url.split_whitespace().next()?.to_owned())
        });
        // Somebody must read on, else the service stops when the pipe is full.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, url: url.expect("the service says where it listens") }
    }

    /// Ends it without a word.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Whether it has ended by itself.
    #[allow(dead_code, reason = "not every test binary waits for it")]
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
