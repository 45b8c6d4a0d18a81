//! Specifications as files: read from YAML and JSON, and written back.

mod places;

use indexmap::IndexMap;
use serde_json::Value;

use crate::{
    cli::{exit::Usage, input},
    domain::{FieldError, JobSpec},
};

use places::Places;

/// The jobs of a document, in their order. What is wrong is told with its line and column, and all of it at once.
pub(super) fn read(path: &str, text: &str) -> Result<Vec<JobSpec>, Usage> {
    let json = text.trim_start().starts_with('{');
    let specs = if json { read_json(text) } else { read_yaml(text) };
    let name = input::name(path);
    let specs = specs.map_err(|problem| Usage(format!("{name}{problem}")))?;
    if specs.is_empty() {
        return Err(Usage(format!("{name}: there is no job in it")));
    }
    let wrong: Vec<_> = specs.iter().map(|spec| spec.check().err().unwrap_or_default()).collect();
    if wrong.iter().all(Vec::is_empty) {
        return Ok(specs);
    }
    let places: Vec<Places> = serde_saphyr::from_multiple(text).unwrap_or_default();
    let told = wrong.iter().enumerate().flat_map(|(index, wrong)| {
        let places = places.get(index);
        wrong.iter().map(move |error| told(name, error, places))
    });
    Err(Usage(told.collect::<Vec<_>>().join("\n")))
}

/// A field that cannot be taken, and where it stands.
fn told(name: &str, FieldError { pointer, detail }: &FieldError, places: Option<&Places>) -> String {
    match places.map(|places| places.of(pointer)) {
        Some((line, column)) => format!("{name}, line {line}, column {column}: {pointer}: {detail}"),
        None => format!("{name}: {pointer}: {detail}"),
    }
}

fn read_json(text: &str) -> Result<Vec<JobSpec>, String> {
    serde_json::Deserializer::from_str(text).into_iter().collect::<Result<_, _>>().map_err(|error| {
        let said = error.to_string();
        let problem = said.rsplit_once(" at line ").map_or(said.as_str(), |(problem, _)| problem);
        format!(", line {}, column {}: {}", error.line(), error.column(), crate::domain::without_value(problem))
    })
}

fn read_yaml(text: &str) -> Result<Vec<JobSpec>, String> {
    let options = serde_saphyr::options! { with_snippet: false };
    serde_saphyr::from_multiple_with_options(text, options).map_err(|error| {
        let place = error.location().map(|at| format!(", line {}, column {}", at.line(), at.column()));
        let said = error.without_snippet().to_string();
        format!("{}: {}", place.unwrap_or_default(), plain(&said))
    })
}

/// The message without the place, which stands before it already, and without advice for programmers.
fn plain(said: &str) -> &str {
    let line = said.lines().next().unwrap_or_default();
    [" at line ", ", set ", "; use "].iter().fold(line, |line, end| line.split(end).next().unwrap_or_default())
}

/// Parts of a specification whose own fields may say nothing. What is in `config` is the script's affair.
const PARTS: [&str; 4] = ["notify", "resources", "retry", "secrets"];

/// A specification as YAML, in the order of its documentation, without what says nothing.
pub(super) fn write(spec: &JobSpec) -> String {
    let json = serde_json::to_string(spec).unwrap_or_default();
    let mut fields: IndexMap<String, Value> = serde_json::from_str(&json).unwrap_or_default();
    for part in PARTS {
        if let Some(part) = fields.get_mut(part) {
            prune(part);
        }
    }
    fields.retain(|_, value| !says_nothing(value));
    serde_saphyr::to_string(&fields).unwrap_or_default().trim_end().to_owned()
}

fn prune(value: &mut Value) {
    if let Value::Object(fields) = value {
        fields.values_mut().for_each(prune);
        fields.retain(|_, value| !says_nothing(value));
    }
}

fn says_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(text: &str) -> String {
        read("a.yaml", text).unwrap_err().to_string()
    }

    #[test]
    fn several_jobs_in_one_file() {
        let yaml = read("-", "name: a\nimage: b\nenv: {PORT: '1'}\n---\nname: c\nimage: d\n").unwrap();
        let json = read(
            "-",
            "\n{\"name\": \"a\",\n\t\"image\": \"b\", \"env\": {\"PORT\": \"1\"}}\n{\"name\": \"c\", \"image\": \"d\"}",
        );
        assert_eq!(yaml, json.unwrap());
        assert_eq!(yaml.len(), 2);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        for (text, told) in [
            ("name: a\nimage: b\nimagee: c\n", ", line 3, column 1: unknown field `imagee`, expected one of name"),
            ("name: a\nimage: [b\n", ", line 2, column 8: "),
            ("name: A_B\nimage: b\n", ", line 1, column 7: a name has 1 to 63 characters"),
            ("name: a\nimage: b\nmax_parallel: many\n", ", line 3, column 15: invalid u32"),
            ("name: a\nname: b\nimage: c\n", ", line 2, column 1: duplicate mapping key: name"),
            ("name: a\nimage: b\n---\nname: b\nimages: c\n", ", line 5, column 1: unknown field `images`"),
            ("{\"name\": \"a\",\n \"image\" 1}", ", line 2, column 10: expected `:`"),
            ("{\"name\": \"a\",\n \"imagee\": 1}", ", line 2, column 9: unknown field `imagee`"),
            ("# nothing\n", ": there is no job in it"),
            ("name: a\nimage: b\nmax_parallel: 0\n", ", line 3, column 15: /max_parallel: from 1 to 10000"),
            ("name: a\nimage: b\n---\nname: b\nimage: b\nenv:\n  X: y\n  9: z\n", ", line 8, column 6: /env/9: "),
            (
                "name: a\nimage: b\nlimits:\n- name: x\n- {name: y, weight: 0}\n",
                ", line 5, column 21: /limits/1/weight",
            ),
            ("name: a\nimage: b\nwhen_full: reject\n", ", line 3, column 12: /when_full: needs max_parallel"),
            ("{\"name\": \"a\",\n \"image\": \"b\", \"timeout_seconds\": 0}", ", line 2, column 35: /timeout_seconds"),
        ] {
            let problem = problem(text);
            assert!(problem.starts_with(&format!("a.yaml{told}")), "{problem}");
            assert!(!problem.contains("Options") && !problem.contains(" at line "), "{problem}");
        }
    }

    #[test]
    fn all_that_is_wrong_is_told_at_once() {
        let problem = problem("name: a\nimage: b\nmax_parallel: 0\n---\nname: b\nimage: b\ntimeout_seconds: 0\n");
        assert_eq!(problem.lines().count(), 2, "{problem}");
        assert!(problem.lines().all(|line| line.starts_with("a.yaml, line ")), "{problem}");
    }

    #[test]
    fn a_secret_in_the_wrong_place_is_not_told() {
        for text in [
            "{\"name\": \"a\", \"image\": \"b\", \"secrets\": {\"K\": \"hunter2\"}}",
            "{\"name\": \"a\", \"image\": \"b\", \"secrets\": \"hunter2\"}",
            "name: a\nimage: b\nsecrets: {K: hunter2}\n",
            "name: a\nimage: b\nsecrets: {K: {value: [hunter2]}}\n",
        ] {
            let problem = problem(text);
            assert!(problem.contains(", line ") && !problem.contains("hunter2"), "{problem}");
        }
    }

    #[test]
    fn what_is_written_reads_back() {
        let text = "name: a\nimage: b\nargs: ['1', 'yes', \"a\\nb\"]\nresources: {cpu: 0.5}\nsecrets: {KEY: {}}\n";
        let spec = &read("-", text).unwrap()[0];
        assert_eq!(&read("-", &write(spec)).unwrap()[0], spec);
    }
}
