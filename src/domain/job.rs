//! A job's specification: what people write, what is stored, what is wrong with it.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::{
    JobId, Name, NotifySpec, Problems, ProjectId, RetryPolicy, ScheduleSpec, Timestamp,
    validate::{FieldError, check_env, check_labels, check_range, check_variable_name, step},
};

/// A registered job: its identity, and which revision holds now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Its id.
    pub id: JobId,
    /// The project that owns it.
    pub project: ProjectId,
    /// Its name, unique among the project's jobs that are not archived.
    pub name: Name,
    /// The number of the revision that new runs are pinned to.
    pub revision: u32,
    /// When it was registered.
    pub created_at: Timestamp,
    /// When its present revision was made.
    pub updated_at: Timestamp,
    /// When it was archived. An archived job starts no runs; its history stays.
    pub archived_at: Option<Timestamp>,
}

/// One immutable numbered version of a job's specification.
#[derive(Debug, Clone, PartialEq)]
pub struct Revision {
    /// The job.
    pub job: JobId,
    /// From 1.
    pub number: u32,
    /// Everything but the configuration, which is stored sealed.
    pub spec: JobSpec,
    /// When it was made.
    pub created_at: Timestamp,
    /// Who made it: the token's name.
    pub created_by: String,
}

/// What a job is: the document that people write, apply and read back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = JobSpec)]
pub struct JobSpec {
    /// Unique in the project.
    pub name: Name,
    /// Image reference, as the engine pulls it.
    #[schema(example = "registry.example.com/data/load-orders:1.4")]
    pub image: String,
    /// Whether to keep the digest that the image's tag means when this is applied, instead of the tag: then all runs of
    /// a revision use the same image.
    #[serde(default)]
    pub pin: bool,
    /// Replaces the image's entry point.
    #[serde(default)]
    pub command: Option<Vec<String>>,
    /// Arguments.
    #[serde(default)]
    pub args: Vec<String>,
    /// Environment. Sealed at rest.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Secrets by name. Sealed at rest; their values never come back.
    #[serde(default)]
    pub secrets: BTreeMap<String, SecretSpec>,
    /// Files by absolute path. Sealed at rest.
    #[serde(default)]
    pub files: BTreeMap<String, FileSpec>,
    /// Any JSON object, given to the script as `HAULIER_CONFIG`. Sealed at rest.
    #[serde(default)]
    pub config: Option<Map<String, Value>>,
    /// Limits on what one container may use.
    #[serde(default)]
    pub resources: Resources,
    /// The engine's name; the service's default engine when left out.
    #[serde(default)]
    pub engine: Option<Name>,
    /// How many runs may be active at once; no bound when left out.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 10000)]
    pub max_parallel: Option<u32>,
    /// What happens to a new run when `max_parallel` are active.
    #[serde(default)]
    pub when_full: WhenFull,
    /// Named limits shared with other jobs.
    #[serde(default)]
    pub limits: Vec<LimitUse>,
    /// The longest a run's attempt may run, in seconds.
    #[serde(default = "defaults::timeout")]
    #[schema(minimum = 1, maximum = 2592000)]
    pub timeout_seconds: u32,
    /// The longest from admission until the container runs (image pull, scheduling), in seconds.
    #[serde(default = "defaults::start_timeout")]
    #[schema(minimum = 1, maximum = 86400)]
    pub start_timeout_seconds: u32,
    /// The longest a run may wait in the queue, in seconds; no bound when left out.
    #[serde(default)]
    pub queue_timeout_seconds: Option<u32>,
    /// When failed attempts are made again.
    #[serde(default)]
    pub retry: RetryPolicy,
    /// Time between TERM and KILL, in seconds.
    #[serde(default = "defaults::kill_grace")]
    #[schema(minimum = 0, maximum = 3600)]
    pub kill_grace_seconds: u32,
    /// How many slices one run may have (see the report outcome `continue`).
    #[serde(default = "defaults::max_slices")]
    #[schema(minimum = 1, maximum = 10000)]
    pub max_slices: u32,
    /// When it starts by itself; only when it is triggered, when left out.
    #[serde(default)]
    pub schedule: Option<ScheduleSpec>,
    /// What is told of its runs, and to whom.
    #[serde(default)]
    pub notify: NotifySpec,
    /// For people and filters.
    #[serde(default)]
    #[schema(value_type = BTreeMap<String, String>)]
    pub labels: IndexMap<String, String>,
    /// The project's registry whose login is used; by default the one whose server the image names.
    #[serde(default)]
    pub registry: Option<Name>,
    /// How long logs are kept, in days.
    #[serde(default = "defaults::log_retention")]
    #[schema(minimum = 1, maximum = 3650)]
    pub log_retention_days: u32,
    /// Whether new runs may be started.
    #[serde(default = "defaults::enabled")]
    pub enabled: bool,
}

mod defaults {
    pub const fn timeout() -> u32 {
        3600
    }
    pub const fn start_timeout() -> u32 {
        600
    }
    pub const fn kill_grace() -> u32 {
        10
    }
    pub const fn max_slices() -> u32 {
        100
    }
    pub const fn log_retention() -> u32 {
        30
    }
    pub const fn enabled() -> bool {
        true
    }
}

/// What one container may use. What is left out is not limited.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Resources {
    /// Processors, like 0.5.
    pub cpu: Option<f64>,
    /// Memory, in MiB. Going over it ends the run with `out_of_memory`.
    pub memory_mb: Option<u32>,
    /// Processes and threads.
    pub pids: Option<u32>,
}

/// What happens to a new run when the job's `max_parallel` runs are active.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum WhenFull {
    /// It waits its turn.
    #[default]
    Queue,
    /// It is refused (409).
    Reject,
    /// The oldest active run is cancelled for it.
    Replace,
    /// It waits, and takes the place of any other that waits.
    KeepNewest,
}

/// A named limit that each run of the job holds a part of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LimitUse {
    /// The limit's name.
    pub name: Name,
    /// How much of its capacity one run holds.
    #[serde(default = "LimitUse::one")]
    #[schema(minimum = 1, maximum = 10000)]
    pub weight: u32,
}

impl LimitUse {
    const fn one() -> u32 {
        1
    }
}

/// A secret of a job. Give either its value, or the name of one of the project's secrets; with neither, the value that
/// the job already has is kept.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SecretSpec {
    /// The value. Written, never read back: always null in answers.
    #[schema(write_only)]
    pub value: Option<String>,
    /// The name of a secret of the project.
    pub from: Option<Name>,
    /// How the script gets it.
    #[serde(rename = "as")]
    pub delivery: SecretDelivery,
}

impl std::fmt::Debug for SecretSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SecretSpec")
            .field("value", &self.value.as_ref().map(|_| "***"))
            .field("from", &self.from)
            .field("delivery", &self.delivery)
            .finish()
    }
}

/// How a script gets a secret.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum SecretDelivery {
    /// As an environment variable of the secret's name.
    #[default]
    Env,
    /// As the file `/run/secrets/NAME`, mode 0400, invisible to whoever may only inspect the container.
    File,
}

/// A file placed in the container before its start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FileSpec {
    /// The text.
    pub content: String,
    /// Permission bits in octal, like `0644`.
    #[serde(default = "FileSpec::default_mode")]
    pub mode: String,
}

impl FileSpec {
    fn default_mode() -> String {
        "0644".to_owned()
    }

    /// The permission bits; `None` when they are not 3 or 4 octal digits.
    #[must_use]
    pub fn mode_bits(&self) -> Option<u32> {
        let good = (3..=4).contains(&self.mode.len());
        u32::from_str_radix(&self.mode, 8).ok().filter(|bits| good && *bits <= 0o777)
    }
}

/// The part of a specification that is stored sealed.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct JobConfig {
    /// Environment.
    pub env: BTreeMap<String, String>,
    /// Secrets.
    pub secrets: BTreeMap<String, SecretSpec>,
    /// Files.
    pub files: BTreeMap<String, FileSpec>,
    /// For `HAULIER_CONFIG`.
    pub config: Option<Map<String, Value>>,
}

impl std::fmt::Debug for JobConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JobConfig")
            .field("env", &self.env.keys())
            .field("secrets", &self.secrets.keys())
            .field("files", &self.files.keys())
            .finish_non_exhaustive()
    }
}

impl JobConfig {
    /// The same without the values of secrets, as it may be shown.
    #[must_use]
    pub fn without_secrets(mut self) -> Self {
        self.secrets.values_mut().for_each(|secret| secret.value = None);
        self
    }

    /// Takes over from `earlier` the values of secrets that were left out.
    pub fn keep_values_of(&mut self, earlier: &Self) {
        for (name, secret) in &mut self.secrets {
            if secret.value.is_none()
                && secret.from.is_none()
                && let Some(kept) = earlier.secrets.get(name)
            {
                secret.value.clone_from(&kept.value);
                secret.from.clone_from(&kept.from);
            }
        }
    }

    /// Secrets that have neither a value nor a name to take it from.
    #[must_use]
    pub fn check_complete(&self) -> Vec<FieldError> {
        let missing = self.secrets.iter().filter(|(_, secret)| secret.value.is_none() && secret.from.is_none());
        missing
            .map(|(name, _)| FieldError {
                pointer: format!("/secrets/{}", step(name)),
                detail: "this secret has no value yet: give 'value', or in 'from' the name of a project secret"
                    .to_owned(),
            })
            .collect()
    }
}

impl JobSpec {
    /// Takes the configuration out, to be sealed apart.
    #[must_use]
    pub fn split(mut self) -> (Self, JobConfig) {
        let config = JobConfig {
            env: std::mem::take(&mut self.env),
            secrets: std::mem::take(&mut self.secrets),
            files: std::mem::take(&mut self.files),
            config: self.config.take(),
        };
        (self, config)
    }

    /// Puts the configuration back.
    #[must_use]
    pub fn join(mut self, config: JobConfig) -> Self {
        self.env = config.env;
        self.secrets = config.secrets;
        self.files = config.files;
        self.config = config.config;
        self
    }

    /// Everything that is wrong with the document by itself.
    ///
    /// # Errors
    /// What is wrong, with pointers.
    pub fn check(&self) -> Result<(), Vec<FieldError>> {
        let mut problems = Problems::default();
        let p = &mut problems;
        check_image(&self.image, p);
        for (field, words) in [("command", self.command.as_deref().unwrap_or_default()), ("args", &self.args)] {
            p.require(words.len() <= 256, format!("/{field}"), "at most 256 words");
            for (index, word) in words.iter().enumerate() {
                p.require(word.len() <= 32 * 1024, format!("/{field}/{index}"), "a word has at most 32 KiB");
                p.require(!word.contains('\0'), format!("/{field}/{index}"), "a word has no NUL");
            }
        }
        let empty_command = self.command.as_ref().is_some_and(|words| words.first().is_none_or(String::is_empty));
        p.require(!empty_command, "/command", "name a program, or leave the command out");
        check_env("/env", self.env.iter(), p);
        self.check_secrets(p);
        self.check_files(p);
        check_labels("/labels", self.labels.iter(), p);
        check_range("/resources/cpu", self.resources.cpu, 0.01, 1024.0, p);
        check_range("/resources/memory_mb", self.resources.memory_mb, 6, 16 * 1024 * 1024, p);
        check_range("/resources/pids", self.resources.pids, 1, 4_000_000, p);
        check_range("/max_parallel", self.max_parallel, 1, 10_000, p);
        p.require(
            self.when_full == WhenFull::Queue || self.max_parallel.is_some(),
            "/when_full",
            "needs max_parallel: without it the job is never full",
        );
        p.require(self.limits.len() <= 16, "/limits", "at most 16 limits");
        for (index, limit) in self.limits.iter().enumerate() {
            check_range(&format!("/limits/{index}/weight"), Some(limit.weight), 1, 10_000, p);
            let twice = self.limits[..index].iter().any(|other| other.name == limit.name);
            p.require(!twice, format!("/limits/{index}/name"), "this limit stands here twice");
        }
        check_range("/timeout_seconds", Some(self.timeout_seconds), 1, 2_592_000, p);
        check_range("/start_timeout_seconds", Some(self.start_timeout_seconds), 1, 86_400, p);
        check_range("/queue_timeout_seconds", self.queue_timeout_seconds, 1, 2_592_000, p);
        check_range("/kill_grace_seconds", Some(self.kill_grace_seconds), 0, 3600, p);
        check_range("/max_slices", Some(self.max_slices), 1, 10_000, p);
        check_range("/log_retention_days", Some(self.log_retention_days), 1, 3650, p);
        self.retry.check(p);
        self.notify.check(p);
        if let Some(schedule) = &self.schedule {
            schedule.check(p);
        }
        problems.into_result()
    }

    fn check_secrets(&self, p: &mut Problems) {
        p.require(self.secrets.len() <= 128, "/secrets", "at most 128 secrets");
        for (name, secret) in &self.secrets {
            let at = format!("/secrets/{}", step(name));
            check_variable_name(&at, name, p);
            p.require(!self.env.contains_key(name), &*at, "stands in env too: choose one");
            p.require(secret.value.is_none() || secret.from.is_none(), &*at, "give 'value' or 'from', not both");
            if let Some(value) = &secret.value {
                p.require((1..=64 * 1024).contains(&value.len()), format!("{at}/value"), "from 1 byte to 64 KiB");
                p.require(!value.contains('\0'), format!("{at}/value"), "a value has no NUL");
            }
        }
    }

    fn check_files(&self, p: &mut Problems) {
        p.require(self.files.len() <= 64, "/files", "at most 64 files");
        for (path, file) in &self.files {
            let at = format!("/files/{}", step(path));
            let plain = path.len() <= 512
                && path.strip_prefix('/').is_some_and(|rest| {
                    rest.split('/').all(|part| !part.is_empty() && part != "." && part != ".." && !part.contains('\0'))
                });
            p.require(plain, &*at, "an absolute path without '.', '..' or empty parts");
            let reserved = ["/proc/", "/sys/", "/dev/", "/run/secrets/"].iter().any(|dir| path.starts_with(dir));
            p.require(!reserved, &*at, "not below /proc, /sys, /dev or /run/secrets");
            p.require(file.content.len() <= 256 * 1024, format!("{at}/content"), "at most 256 KiB");
            p.require(file.mode_bits().is_some(), format!("{at}/mode"), "3 or 4 octal digits up to 0777, like 0644");
        }
    }
}

fn check_image(image: &str, p: &mut Problems) {
    let good = (1..=512).contains(&image.len())
        && image.starts_with(|c: char| c.is_ascii_alphanumeric())
        && image.bytes().all(|c| c.is_ascii_alphanumeric() || b"._-/:@".contains(&c))
        && !image.contains("..")
        && !image.contains("//")
        && !image.ends_with(['/', ':', '@']);
    p.require(good, "/image", "an image reference like registry.example.com/team/load-orders:1.4");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(json: &str) -> JobSpec {
        serde_json::from_str(json).unwrap()
    }

    fn pointers(json: &str) -> Vec<String> {
        spec(json).check().err().unwrap_or_default().into_iter().map(|error| error.pointer).collect()
    }

    #[test]
    fn a_name_and_an_image_suffice() {
        assert_eq!(spec(r#"{"name": "a", "image": "busybox"}"#).check(), Ok(()));
    }

    #[test]
    fn everything_wrong_is_told_with_its_pointer() {
        let found = pointers(
            r#"{"name": "a", "image": "../etc", "command": [""], "env": {"HAULIER_X": "1", "9": "", "A": ""},
                "secrets": {"A": {"value": "x"}, "B": {"value": "x", "from": "y"}},
                "files": {"/a/../b": {"content": ""}, "relative": {"content": "", "mode": "9"}},
                "resources": {"cpu": 0, "memory_mb": 1}, "max_parallel": 0,
                "limits": [{"name": "x"}, {"name": "x", "weight": 0}], "timeout_seconds": 0,
                "retry": {"max_attempts": 0, "on": ["cancelled"], "backoff": {"factor": 0}}}"#,
        );
        for pointer in [
            "/image",
            "/command",
            "/env/HAULIER_X",
            "/env/9",
            "/secrets/A",
            "/secrets/B",
            "/files/~1a~1..~1b",
            "/files/relative",
            "/files/relative/mode",
            "/resources/cpu",
            "/resources/memory_mb",
            "/max_parallel",
            "/limits/1/weight",
            "/limits/1/name",
            "/timeout_seconds",
            "/retry/max_attempts",
            "/retry/on/0",
            "/retry/backoff/factor",
        ] {
            assert!(found.iter().any(|p| p == pointer), "{pointer} is not among {found:?}");
        }
    }

    #[test]
    fn when_full_needs_a_bound() {
        assert_eq!(pointers(r#"{"name": "a", "image": "b", "when_full": "reject"}"#), ["/when_full"]);
    }

    #[test]
    fn secrets_left_out_keep_their_value_and_are_never_shown() {
        let (_, earlier) = spec(r#"{"name": "a", "image": "b", "secrets": {"K": {"value": "old"}}}"#).split();
        let (_, mut next) = spec(r#"{"name": "a", "image": "b", "secrets": {"K": {}, "L": {}}}"#).split();
        next.keep_values_of(&earlier);
        assert_eq!(next.secrets["K"].value.as_deref(), Some("old"));
        assert_eq!(next.check_complete().len(), 1);
        assert!(!format!("{next:?} {:?}", next.secrets["K"]).contains("old"));
        assert_eq!(next.without_secrets().secrets["K"].value, None);
    }
}
