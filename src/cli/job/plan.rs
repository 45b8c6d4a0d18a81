//! What applying files would change.

use anyhow::Context as _;
use serde_json::{Value, json};

use super::apply::SET;
use crate::{
    api::types::JobView,
    cli::{exit::Usage, output::Output, pages},
    client::{Client, ClientError},
    domain::{JobSpec, Name},
};

/// Everything that is to be done.
#[derive(Debug)]
pub(super) struct Plan {
    /// The files' jobs, in their order.
    pub(super) steps: Vec<Step>,
    /// Jobs that are to be archived.
    pub(super) gone: Vec<JobView>,
}

/// One job.
#[derive(Debug)]
pub(super) struct Step {
    file: String,
    /// What is to hold.
    pub(super) spec: JobSpec,
    /// What that changes.
    pub(super) change: Change,
}

/// What becomes of a job.
#[derive(Debug)]
pub(super) enum Change {
    /// There is none of this name.
    New,
    /// There is one; `fields` may be empty, for what only the service sees: the values of secrets.
    Changed {
        /// The present revision.
        before: u32,
        /// What differs.
        fields: Vec<Field>,
    },
    /// It is so already.
    Unchanged(u32),
}

/// One field that differs.
#[derive(Debug, PartialEq)]
pub(super) struct Field {
    /// Like `/env/MODE`.
    pointer: String,
    before: Option<Value>,
    after: Option<Value>,
}

impl Step {
    /// What to call it in messages.
    pub(super) fn told(&self) -> String {
        format!("{}: job {}", self.file, self.spec.name)
    }
}

impl Plan {
    /// Lets the service check everything; changes nothing.
    pub(super) async fn make(
        client: &Client,
        specs: Vec<(String, JobSpec)>,
        set: Option<&Name>,
        prune: bool,
    ) -> anyhow::Result<Self> {
        let mut steps = Vec::with_capacity(specs.len());
        for (file, spec) in specs {
            let told = || format!("{file}: job {}", spec.name);
            let present = match client.job(&spec.name).await {
                Ok(job) => Some(job),
                Err(ClientError::Problem(problem)) if problem.status == 404 => None,
                Err(error) => return Err(anyhow::Error::from(error).context(told())),
            };
            if let (Some(set), Some(job)) = (set, &present)
                && let Some(other) = job.spec.labels.get(SET).filter(|other| other.as_str() != set.as_str())
            {
                let name = &spec.name;
                let told =
                    format!("{file}: job {name} belongs to the set {other}: apply it there, or rename one of them");
                return Err(Usage(told).into());
            }
            let after = client.dry_run(&spec).await.with_context(told)?;
            let change = match present {
                None => Change::New,
                Some(job) if job.revision == after.revision => Change::Unchanged(job.revision),
                Some(job) => {
                    Change::Changed { before: job.revision, fields: difference(&json!(job.spec), &json!(after.spec)) }
                }
            };
            steps.push(Step { file, spec, change });
        }
        let gone = match set.filter(|_| prune) {
            Some(set) => gone(client, set, &steps).await?,
            None => Vec::new(),
        };
        Ok(Self { steps, gone })
    }

    /// Prints it.
    pub(super) fn show(&self, out: Output) -> anyhow::Result<()> {
        if out.is_json() {
            return Ok(out.json(&self.as_json())?);
        }
        for step in &self.steps {
            let name = &step.spec.name;
            match &step.change {
                Change::New => out.data(format_args!("+ {name} (new)"))?,
                Change::Unchanged(revision) => out.data(format_args!("= {name} (revision {revision})"))?,
                Change::Changed { before, fields } => {
                    out.data(format_args!("~ {name} (revision {before} → {})", before + 1))?;
                    for field in fields {
                        out.data(format_args!(
                            "    {}: {} → {}",
                            field.pointer,
                            side(&field.before),
                            side(&field.after)
                        ))?;
                    }
                    if fields.is_empty() {
                        out.data("    /secrets: a value (never shown)")?;
                    }
                }
            }
        }
        for job in &self.gone {
            out.data(format_args!("- {} (archived)", job.spec.name))?;
        }
        Ok(())
    }

    fn as_json(&self) -> Value {
        let steps = self.steps.iter().map(|step| {
            let (change, fields) = match &step.change {
                Change::New => ("new", [].as_slice()),
                Change::Unchanged(_) => ("unchanged", [].as_slice()),
                Change::Changed { fields, .. } => ("changed", fields.as_slice()),
            };
            let fields = fields
                .iter()
                .map(|field| json!({"pointer": field.pointer, "before": field.before, "after": field.after}));
            json!({"job": step.spec.name, "change": change, "fields": fields.collect::<Vec<_>>()})
        });
        let gone = self.gone.iter().map(|job| json!({"job": job.spec.name, "change": "archived", "fields": []}));
        steps.chain(gone).collect()
    }
}

/// More of a value than fits a line is not shown, in characters.
const LINE: usize = 120;

/// One side of a change.
fn side(value: &Option<Value>) -> String {
    let text = value.as_ref().map_or_else(|| "nothing".to_owned(), ToString::to_string);
    match text.char_indices().nth(LINE) {
        Some((end, _)) => format!("{}… ({} characters)", &text[..end], text.chars().count()),
        None => text,
    }
}

/// The set's jobs that no file has any more.
async fn gone(client: &Client, set: &Name, steps: &[Step]) -> anyhow::Result<Vec<JobView>> {
    let mut jobs = pages::all(async |cursor| client.jobs(false, cursor).await).await?;
    jobs.retain(|job| {
        let marked = job.spec.labels.get(SET).is_some_and(|of| of == set.as_str());
        marked && !steps.iter().any(|step| step.spec.name == job.spec.name)
    });
    Ok(jobs)
}

/// What differs, as deep as objects go. Values of secrets never come back from the service, so they are in neither.
fn difference(before: &Value, after: &Value) -> Vec<Field> {
    let mut fields = Vec::new();
    compare("", Some(before), Some(after), &mut fields);
    fields
}

fn compare(pointer: &str, before: Option<&Value>, after: Option<&Value>, fields: &mut Vec<Field>) {
    match (before, after) {
        (before, after) if before == after => {}
        (Some(Value::Object(old)), Some(Value::Object(new))) => {
            for key in old.keys().chain(new.keys().filter(|key| !old.contains_key(*key))) {
                let pointer = format!("{pointer}/{}", crate::domain::pointer_step(key));
                compare(&pointer, old.get(key), new.get(key), fields);
            }
        }
        (before, after) => {
            fields.push(Field { pointer: pointer.to_owned(), before: before.cloned(), after: after.cloned() });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_compared_as_deep_as_objects_go() {
        let before = json!({"image": "a", "env": {"A": "1", "B": "2"}, "args": ["x"], "retry": {"max_attempts": 1}});
        let after =
            json!({"image": "b", "env": {"A": "1", "C/D": "3"}, "args": ["x", "y"], "retry": {"max_attempts": 1}});
        let found = difference(&before, &after);
        let told: Vec<_> = found
            .iter()
            .map(|field| format!("{}: {} → {}", field.pointer, side(&field.before), side(&field.after)))
            .collect();
        let expected = [
            "/image: \"a\" → \"b\"",
            "/env/B: \"2\" → nothing",
            "/env/C~1D: nothing → \"3\"",
            "/args: [\"x\"] → [\"x\",\"y\"]",
        ];
        let mut sorted = told.clone();
        sorted.sort();
        let mut expected = expected.map(str::to_owned);
        expected.sort();
        assert_eq!(sorted, expected);
        assert!(difference(&before, &before).is_empty());
    }
}
