//! What comes from files, stdin and prompts.

use std::io::{self, IsTerminal, Read};

use anyhow::Context as _;
use secrecy::{ExposeSecret, SecretString, zeroize::Zeroizing};

use super::{exit::Usage, output::Output};

/// More than any document may have, in bytes.
const LARGEST: u64 = 16 * 1024 * 1024;

/// A file's text; `-` is stdin.
pub(super) fn text(path: &str) -> anyhow::Result<String> {
    let read = |reader: &mut dyn Read| {
        let mut text = String::new();
        reader.take(LARGEST).read_to_string(&mut text).map(|_| text)
    };
    let text = if path == "-" {
        read(&mut io::stdin().lock())
    } else {
        std::fs::File::open(path).and_then(|mut file| read(&mut file))
    };
    text.map_err(|error| Usage(format!("{} cannot be read: {error}", name(path))).into())
}

/// What to call a file in messages.
pub(super) fn name(path: &str) -> &str {
    if path == "-" { "stdin" } else { path }
}

/// A secret: asked for on a terminal without showing it, else all of stdin without its last end of line.
pub(super) fn secret(prompt: &str) -> anyhow::Result<SecretString> {
    let value = if io::stdin().is_terminal() {
        SecretString::from(rpassword::prompt_password(prompt).context("the terminal cannot be read")?)
    } else {
        let mut text = Zeroizing::new(String::new());
        let mut stdin = io::stdin().lock().take(LARGEST);
        stdin.read_to_string(&mut text).map_err(|error| Usage(format!("stdin cannot be read: {error}")))?;
        let line = text.strip_suffix('\n').map_or(text.as_str(), |line| line.strip_suffix('\r').unwrap_or(line));
        SecretString::from(line)
    };
    if value.expose_secret().is_empty() {
        return Err(
            Usage("the value is empty: give it on stdin, like `printf %s \"$VALUE\" | haulier …`".into()).into()
        );
    }
    Ok(value)
}

/// Whether somebody sits at a terminal who can be asked.
pub(super) fn someone_is_there() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Whether the person at the terminal says yes.
pub(super) fn confirmed(question: &str) -> bool {
    Output::question(question);
    let mut line = String::new();
    let _ = io::stdin().read_line(&mut line);
    matches!(line.trim(), "y" | "Y" | "yes")
}
