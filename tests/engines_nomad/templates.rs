//! What a node makes of a task's templates: the forms of them that Haulier writes, and no others.

use std::{collections::HashMap, fs, os::unix::fs::PermissionsExt, path::Path};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::Value;

/// Fills them in below the task's directory. What they bring into its environment.
pub fn place(
    task: &Value,
    directory: &Path,
    variables: &HashMap<String, Value>,
) -> Result<HashMap<String, String>, String> {
    let mut env = HashMap::new();
    for template in task["Templates"].as_array().into_iter().flatten() {
        let content = content(template["EmbeddedTmpl"].as_str().unwrap_or_default(), variables)?;
        if template["Envvars"] == Value::Bool(true) {
            env.extend(read_env(&content)?);
        }
        let path = directory.join(template["DestPath"].as_str().unwrap_or_default());
        let mode = u32::from_str_radix(template["Perms"].as_str().unwrap_or("0644"), 8).unwrap_or(0o644);
        fs::create_dir_all(path.parent().ok_or("no place")?).map_err(|error| error.to_string())?;
        fs::write(&path, content).map_err(|error| error.to_string())?;
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).map_err(|error| error.to_string())?;
    }
    Ok(env)
}

/// Content that stands in the template, or in an item of a variable.
fn content(text: &str, variables: &HashMap<String, Value>) -> Result<Vec<u8>, String> {
    let encoded = if let Some(rest) = text.strip_prefix("{{ with nomadVar \"") {
        let (path, rest) = rest.split_once("\" }}{{ .").ok_or("bad template")?;
        let rest = rest.strip_suffix(" }}{{ end }}").ok_or("bad template")?;
        let (item, encoded) = rest.strip_suffix(" | base64Decode").map_or((rest, false), |item| (item, true));
        let item = item.strip_suffix(".Value");
        let item = item.ok_or("wrong type for value; expected string; got dependency.NomadVarItem")?;
        let variable = variables.get(path).ok_or("no such variable")?;
        let value = variable["Items"][item].as_str().ok_or("no such item")?;
        if !encoded {
            return Ok(value.into());
        }
        value
    } else {
        let encoded = text.strip_prefix("{{ \"").and_then(|text| text.strip_suffix("\" | base64Decode }}"));
        encoded.ok_or("bad template")?
    };
    BASE64_STANDARD.decode(encoded).map_err(|error| error.to_string())
}

/// Reads an environment as a real node does where a value is in double quotes: it takes JSON's escapes, and control
/// characters are an error.
fn read_env(content: &[u8]) -> Result<HashMap<String, String>, String> {
    let text = std::str::from_utf8(content).map_err(|error| error.to_string())?;
    text.lines()
        .map(|line| {
            let (name, value) = line.split_once('=').ok_or("missing =")?;
            let value = serde_json::from_str(value).map_err(|error| error.to_string())?;
            Ok((name.to_owned(), value))
        })
        .collect()
}
