//! A dockerd of the test's own, in a network and under a name of its own: it can die, and nobody else's containers
//! suffer.

use std::{
    env,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use haulier::engines::contract::eventually;

/// A network and mounts of the test's own, under a host name of its own, while this lives.
struct World(Child);

impl World {
    fn make(host_name: &str) -> Result<Self, String> {
        let script = "ip link set lo up && hostname $0 && echo made && exec sleep infinity";
        let mut world = Command::new("unshare")
            .args(["--net", "--mount", "--uts", "sh", "-c", script, host_name])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map(Self)
            .map_err(|error| format!("no network of its own can be made: {error}"))?;
        let mut told = String::new();
        let output = world.0.stdout.take().expect("it is piped");
        match BufReader::new(output).read_line(&mut told) {
            Ok(_) if told == "made\n" => Ok(world),
            _ => Err("no network of its own can be made: this needs root".to_owned()),
        }
    }

    /// Something executed in there.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        let process = self.0.id().to_string();
        command.args(["--target", &process, "--net", "--mount", "--uts", program]).stdin(Stdio::null());
        command
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A running dockerd. `HAULIER_TEST_DOCKERD` names the program, if it is not to be the machine's.
pub struct Daemon {
    process: Child,
    options: Vec<String>,
    directory: tempfile::TempDir,
    // The last to go.
    world: World,
}

impl Daemon {
    pub fn start(host_name: &str, options: &[&str]) -> Result<Self, String> {
        let world = World::make(host_name)?;
        let directory = tempfile::tempdir().map_err(|error| error.to_string())?;
        let options: Vec<_> = options.iter().map(|option| (*option).to_owned()).collect();
        let process = spawn(&world, directory.path(), &options)?;
        Ok(Self { process, options, directory, world })
    }

    pub fn host(&self) -> String {
        format!("unix://{}/docker.sock", self.directory().display())
    }

    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Something executed in the daemon's network.
    #[allow(dead_code, reason = "each test binary has its own use for it")]
    pub fn beside(&self, program: &str) -> Command {
        self.world.command(program)
    }

    /// Joins the networks of two daemons, each with one address in it.
    #[allow(dead_code, reason = "each test binary has its own use for it")]
    pub fn link(&self, address: &str, other: &Self, other_address: &str) -> Result<(), String> {
        let (here, there) = (self.world.0.id().to_string(), other.world.0.id().to_string());
        let mut pair = Command::new("ip");
        pair.args(["link", "add", "pair", "netns", &here, "type", "veth", "peer", "name", "pair", "netns", &there]);
        success(&mut pair)?;
        for (daemon, address) in [(self, address), (other, other_address)] {
            success(daemon.beside("ip").args(["address", "add", &format!("{address}/24"), "dev", "pair"]))?;
            success(daemon.beside("ip").args(["link", "set", "pair", "up"]))?;
        }
        Ok(())
    }

    /// What its command line prints.
    pub fn docker(&self, arguments: &[&str]) -> Result<String, String> {
        success(Command::new("docker").args(["--host", &self.host()]).args(arguments))
    }

    /// Waits until it answers.
    pub async fn up(&self) -> Result<(), String> {
        for _ in 0..300 {
            if self.docker(&["version"]).is_ok() {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let log = std::fs::read_to_string(self.directory().join("log")).unwrap_or_default();
        Err(format!("a dockerd of its own does not come up: {}", log.lines().last().unwrap_or("no log")))
    }

    /// Copies an image from another daemon.
    pub fn load(&self, image: &str, from: &str) -> Result<(), String> {
        let copy = format!("docker -H {from} save {image} | docker -H {} load", self.host());
        success(Command::new("sh").args(["-c", &copy])).map(|_| ())
    }

    /// As by a power cut.
    pub async fn kill(&mut self) {
        let containerd = self.directory().join("exec/containerd/containerd.pid");
        let containerd = std::fs::read_to_string(containerd).expect("its containerd runs");
        self.process.kill().expect("it can be killed");
        self.process.wait().expect("it ends");
        // It dies with the daemon, a little later, and the next daemon would still try to use it.
        let process = Path::new("/proc").join(containerd.trim());
        eventually("its containerd has ended", || async { (!process.exists()).then_some(()) }).await;
        let _ = std::fs::remove_file(self.directory().join("pid"));
    }

    pub fn start_again(&mut self) {
        self.process = spawn(&self.world, self.directory(), &self.options).expect("it has been started before");
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // TERM, so that it ends its containerd as well.
        let _ = Command::new("kill").arg(self.process.id().to_string()).status();
        let _ = self.process.wait();
        // What the killed daemon has left behind: everything that was started with this very directory.
        let directory = self.directory.path().display().to_string();
        let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        for process in processes {
            let command = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
            if String::from_utf8_lossy(&command).contains(&directory) {
                let _ = Command::new("kill").arg("-9").arg(process.file_name()).status();
            }
        }
    }
}

fn spawn(world: &World, directory: &Path, options: &[String]) -> Result<Child, String> {
    // What was in /run is gone, as after a start of the machine.
    let script = "program=$1 directory=$2; shift 2; mount -t tmpfs tmpfs /run && exec $program --data-root $directory/data \
        --exec-root $directory/exec --pidfile $directory/pid --host unix://$directory/docker.sock \"$@\" \
        >>$directory/log 2>&1";
    let program = env::var("HAULIER_TEST_DOCKERD").unwrap_or_else(|_| "dockerd".to_owned());
    let mut command = world.command("sh");
    command.args(["-c", script, "sh", &program]).arg(directory).args(options);
    command.spawn().map_err(|error| format!("a dockerd of its own cannot be started: {error}"))
}

/// What a command prints that must succeed.
fn success(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim()))
}
