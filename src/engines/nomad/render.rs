//! From a launch to Nomad's job. Pure.

use std::collections::BTreeMap;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use secrecy::ExposeSecret;
use serde_json::{Map, Value, json};

use super::NomadConfig;
use crate::{
    domain::Resources,
    engines::{LaunchFile, LaunchSpec, LaunchVariable, PullPolicy},
};

/// The one task group of a job.
pub(super) const GROUP: &str = "run";
/// Its one task.
pub(super) const TASK: &str = "main";
/// For how many seconds a script is to stay before its end, so that the end of its output is kept: Nomad's Docker
/// driver reads no more once the container has ended.
const LINGER: &str = "0.5";
/// The meta key of a job with secrets in a variable.
pub(super) const SECRETS: &str = "haulier.secrets";
/// The meta key that holds a dollar sign: see [`in_env`].
const DOLLAR: &str = "haulier_dollar";

/// The variable's item with the secrets of the environment.
const ENV: &str = "env";

/// The job of this launch. Secrets are not in it: see [`secrets`].
pub(super) fn render(spec: &LaunchSpec, config: &NomadConfig) -> Value {
    let LaunchSpec {
        owner: _,
        attempt: _,
        job: _,
        project: _,
        image,
        pull,
        credentials,
        command,
        args,
        env,
        files,
        resources: Resources { cpu, memory_mb, pids },
        kill_grace,
        deadline: _,
    } = spec;
    let name = spec.name().to_string();
    let mut driver = json!({
        "image": image,
        "force_pull": *pull == PullPolicy::Always,
        "pids_limit": pids.unwrap_or(config.default_pids),
        "security_opt": ["no-new-privileges"],
        // As much as Nomad itself keeps: it has Docker turn its log over after 2 MB, wherever it has got to in it.
        "logging": [{"type": "json-file", "config": [{
            "max-size": format!("{}m", config.log_file_mb.max(1)), "max-file": config.log_files.max(2).to_string(),
        }]}],
    });
    let mut set = |key: &str, value: Value| _ = driver.as_object_mut().map(|map| map.insert(key.to_owned(), value));
    if config.init {
        // Passes TERM on, which a script as process 1 would ignore, and reaps what it leaves behind.
        set("init", json!(true));
    }
    if let Some(command) = command {
        set("entrypoint", command.iter().map(|part| in_driver(part)).collect());
    }
    if !args.is_empty() {
        set("args", args.iter().map(|argument| in_driver(argument)).collect());
    }
    if let Some(network) = &config.network {
        set("network_mode", json!(network));
    }
    if let Some(login) = credentials {
        let (username, password) = (&login.username, login.password.expose_secret());
        let auth =
            json!({"username": in_driver(username), "password": in_driver(password), "server_address": login.server});
        set("auth", json!([auth]));
    }
    if !files.is_empty() {
        let mounts = files.iter().enumerate().map(|(index, file)| format!("{}:{}:ro", place(index, file), file.path));
        set("volumes", mounts.collect());
    }
    let mut megahertz = config.default_cpu_mhz;
    if let (Some(cpu), Some(processor)) = (cpu, config.cpu_mhz) {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a number of processors is small")]
        let wanted = (cpu * f64::from(processor)).ceil() as u64;
        megahertz = wanted.max(1);
        set("cpu_hard_limit", json!(true));
    }
    let mut meta: Map<_, _> = spec.labels().into_iter().map(|(name, value)| (name.to_owned(), json!(value))).collect();
    meta.insert(DOLLAR.to_owned(), json!("$"));
    let (secret_env, plain_env): (Vec<_>, Vec<_>) = env.iter().partition(|variable| is_kept(variable, config));
    if !secret_env.is_empty() || files.iter().any(|file| file.secret) {
        meta.insert(SECRETS.to_owned(), json!("true"));
    }
    let mut env: Map<_, _> = plain_env
        .into_iter()
        .map(|variable| (variable.name.clone(), json!(in_env(variable.value.expose_secret()))))
        .collect();
    env.insert("HAULIER_LINGER".to_owned(), json!(LINGER));
    let templates = files.iter().enumerate().map(|(index, file)| template(&name, index, file));
    let templates: Vec<_> = templates.chain((!secret_env.is_empty()).then(|| env_template(&name))).collect();
    let grace = u64::try_from(kill_grace.as_nanos()).unwrap_or(u64::MAX);
    // Once, whatever happens: trying again is for the service alone.
    let restart = json!({"Attempts": 0, "Mode": "fail", "Interval": 60_000_000_000_u64, "Delay": 1_000_000_000});
    let mut job = json!({
        "ID": name,
        "Name": name,
        "Type": "batch",
        "Datacenters": config.datacenters,
        "Priority": config.priority,
        "Meta": meta,
        "TaskGroups": [{
            "Name": GROUP,
            "Count": 1,
            "RestartPolicy": restart,
            "ReschedulePolicy": {"Attempts": 0, "Unlimited": false, "Interval": 60_000_000_000_u64,
                "Delay": 5_000_000_000_u64, "DelayFunction": "constant"},
            // Servers before 1.8 do not know it, and ignore it.
            "Disconnect": {"LostAfter": u64::from(config.node_lost_seconds) * 1_000_000_000, "Replace": false,
                "Reconcile": "keep_original"},
            "EphemeralDisk": {"SizeMB": (config.log_file_mb * config.log_files + 64).max(128)},
            "Tasks": [{
                "Name": TASK,
                "Driver": "docker",
                "Config": driver,
                "Env": env,
                "Templates": templates,
                "Resources": {"CPU": megahertz, "MemoryMB": memory_mb.unwrap_or(config.default_memory_mb)},
                "RestartPolicy": restart,
                "LogConfig": {"MaxFiles": config.log_files.max(1), "MaxFileSizeMB": config.log_file_mb.max(1)},
                "KillTimeout": grace,
                "KillSignal": "SIGTERM",
            }],
        }],
    });
    for (key, value) in [("Namespace", &config.namespace), ("Region", &config.region)] {
        if let Some(value) = value {
            job[key] = json!(value);
        }
    }
    job
}

/// What holds the launch's secrets, by item; empty when there are none.
pub(super) fn secrets(spec: &LaunchSpec, config: &NomadConfig) -> BTreeMap<String, String> {
    let files = spec.files.iter().enumerate().filter(|(_, file)| file.secret);
    let files = files.map(|(index, file)| (format!("f{index}"), BASE64_STANDARD.encode(file.content.expose_secret())));
    let env: String = spec.env.iter().filter(|variable| is_kept(variable, config)).map(line).collect();
    files.chain((!env.is_empty()).then(|| (ENV.to_owned(), env))).collect()
}

/// Whether this is kept with the secrets: where there is no place for them, it stands in the job.
const fn is_kept(variable: &LaunchVariable, config: &NomadConfig) -> bool {
    variable.secret && config.variables
}

/// The variable as Nomad reads it from a file: between quotes it takes JSON's escapes, and nothing else for special.
fn line(LaunchVariable { name, value, secret: _ }: &LaunchVariable) -> String {
    format!("{name}={}\n", json!(value.expose_secret()))
}

/// Where the secrets of this job are kept: its own task may read them, and no other job.
pub(super) fn variable_path(job: &str) -> String {
    format!("nomad/jobs/{job}")
}

/// Where the file lies in the task's directory.
fn place(index: usize, file: &LaunchFile) -> String {
    // The former is in memory, and never leaves the node.
    format!("{}/haulier-f{index}", if file.secret { "secrets" } else { "local" })
}

fn template(job: &str, index: usize, file: &LaunchFile) -> Value {
    let LaunchFile { path: _, content, mode, secret } = file;
    let text = if *secret {
        of_variable(job, &format!(".f{index}.Value | base64Decode"))
    } else {
        format!("{{{{ \"{}\" | base64Decode }}}}", BASE64_STANDARD.encode(content.expose_secret()))
    };
    // Nomad does not know which user an image runs as: what its owner may read, everybody in the container may.
    let read = mode & 0o400;
    let mode = mode | read >> 3 | read >> 6;
    json!({"EmbeddedTmpl": text, "DestPath": place(index, file), "ChangeMode": "noop", "Perms": format!("{mode:04o}")})
}

/// Nomad reads the task's environment from it, over what the job has.
fn env_template(job: &str) -> Value {
    let text = of_variable(job, &format!(".{ENV}.Value"));
    json!({"EmbeddedTmpl": text, "DestPath": "secrets/haulier-env", "ChangeMode": "noop", "Perms": "0400",
        "Envvars": true})
}

fn of_variable(job: &str, expression: &str) -> String {
    format!("{{{{ with nomadVar \"{}\" }}}}{{{{ {expression} }}}}{{{{ end }}}}", variable_path(job))
}

/// The text as it must stand in the driver's configuration, which is interpolated.
fn in_driver(text: &str) -> String {
    text.replace("${", "$${").replace("%{", "%%{")
}

/// The text as it must stand in the environment, where only known names are interpolated and nothing escapes them: the
/// dollar sign of such a name comes out of the interpolation itself.
fn in_env(text: &str) -> String {
    const KNOWN: [&str; 6] = ["NOMAD_", "node.", "attr.", "meta.", "env.", "device."];
    let mut parts = text.split("${");
    let mut value = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        if KNOWN.iter().any(|known| part.starts_with(known)) {
            value.push_str(&format!("${{NOMAD_META_{DOLLAR}}}{{"));
        } else {
            value.push_str("${");
        }
        value.push_str(part);
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> LaunchSpec {
        LaunchSpec {
            args: vec!["-m".to_owned(), "${load} 5%{x}".to_owned()],
            env: vec![
                LaunchVariable::plain("A", "${b} ${node.unique.id}"),
                LaunchVariable::secret("TOKEN", "line\n\"${node.unique.id}\" # \\ grüße"),
            ],
            ..LaunchSpec::example_with_login("pass${word}")
        }
    }

    #[test]
    fn everything_asked_for_is_in_the_job() {
        let spec = spec();
        let config = NomadConfig { cpu_mhz: Some(2000), network: Some("host".to_owned()), ..NomadConfig::default() };
        let config = NomadConfig { namespace: Some("jobs".to_owned()), ..config };
        let job = render(&spec, &config);
        let task = &job["TaskGroups"][0]["Tasks"][0];
        let expected = json!({
            "image": "registry.example.com/load:1",
            "force_pull": false,
            "pids_limit": 4096,
            "security_opt": ["no-new-privileges"],
            "logging": [{"type": "json-file", "config": [{"max-size": "64m", "max-file": "4"}]}],
            "init": true,
            "entrypoint": ["python"],
            "args": ["-m", "$${load} 5%%{x}"],
            "network_mode": "host",
            "auth": [{"username": "robot", "password": "pass$${word}", "server_address": "registry.example.com"}],
            "volumes": ["secrets/haulier-f0:/run/secrets/token:ro", "local/haulier-f1:/etc/app.json:ro"],
            "cpu_hard_limit": true,
        });
        assert_eq!(task["Config"], expected);
        assert_eq!(task["Resources"], json!({"CPU": 1000, "MemoryMB": 256}));
        assert_eq!(task["KillTimeout"], json!(10_000_000_000_u64));
        let env = json!({"A": "${b} ${NOMAD_META_haulier_dollar}{node.unique.id}", "HAULIER_LINGER": "0.5"});
        assert_eq!(task["Env"], env);
        let path = variable_path(spec.name().as_str());
        let texts: Vec<_> = task["Templates"].as_array().unwrap().iter().map(|it| it["EmbeddedTmpl"].clone()).collect();
        let expected = json!([
            format!("{{{{ with nomadVar \"{path}\" }}}}{{{{ .f0.Value | base64Decode }}}}{{{{ end }}}}"),
            "{{ \"ZmlsZS1jb250ZW50\" | base64Decode }}",
            format!("{{{{ with nomadVar \"{path}\" }}}}{{{{ .env.Value }}}}{{{{ end }}}}"),
        ]);
        assert_eq!(json!(texts), expected);
        assert_eq!(job["ID"], json!(spec.name().as_str()));
        assert_eq!((&job["Namespace"], job.get("Region")), (&json!("jobs"), None));
        assert_eq!(job["Meta"]["haulier.attempt"], json!("3"));
        assert_eq!(job["TaskGroups"][0]["RestartPolicy"]["Attempts"], json!(0));
        assert_eq!(job["TaskGroups"][0]["ReschedulePolicy"]["Unlimited"], json!(false));
        assert_eq!(task["RestartPolicy"]["Mode"], json!("fail"));
    }

    #[test]
    fn secrets_are_in_the_variable_and_not_in_the_job() {
        let mut spec = spec();
        spec.files.truncate(1);
        let config = NomadConfig::default();
        let content = BASE64_STANDARD.encode("file-content");
        let job = render(&spec, &config);
        assert!(!job.to_string().contains(&content) && !job.to_string().contains("grüße"));
        assert_eq!(job["Meta"][SECRETS], json!("true"));
        let kept = secrets(&spec, &config);
        let env = r#"TOKEN="line\n\"${node.unique.id}\" # \\ grüße""#.to_owned() + "\n";
        assert_eq!(kept, BTreeMap::from([("f0".to_owned(), content), ("env".to_owned(), env)]));
        spec.files.clear();
        spec.env.truncate(1);
        assert!(secrets(&spec, &config).is_empty());
        assert!(render(&spec, &config)["Meta"].get(SECRETS).is_none());
    }

    #[test]
    fn without_variables_a_secret_variable_stands_in_the_job() {
        let mut spec = spec();
        spec.files.clear();
        let config = NomadConfig { variables: false, ..NomadConfig::default() };
        let job = render(&spec, &config);
        let task = &job["TaskGroups"][0]["Tasks"][0];
        let value = "line\n\"${NOMAD_META_haulier_dollar}{node.unique.id}\" # \\ grüße";
        assert_eq!((&task["Env"]["TOKEN"], &task["Templates"]), (&json!(value), &json!([])));
        assert!(secrets(&spec, &config).is_empty() && job["Meta"].get(SECRETS).is_none());
    }

    #[test]
    fn what_is_not_asked_for_is_left_to_the_image() {
        let mut spec = spec();
        (spec.command, spec.args, spec.credentials) = (None, Vec::new(), None);
        let job = render(&spec, &NomadConfig::default());
        let driver = &job["TaskGroups"][0]["Tasks"][0]["Config"];
        for key in ["entrypoint", "args", "auth", "network_mode", "cpu_hard_limit"] {
            assert!(driver.get(key).is_none(), "{key}");
        }
    }
}
