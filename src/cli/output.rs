//! The one place that prints: data on stdout, all else on stderr.

use std::{
    env, fmt,
    io::{self, IsTerminal, Write},
};

use clap::ValueEnum;
use comfy_table::{Cell, Color, ContentArrangement, Table, presets::NOTHING};
use serde::Serialize;

use crate::domain::RunState;

/// How data is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Format {
    /// Tables and pages for people
    #[default]
    Table,
    /// The service's JSON, for programs
    Json,
}

/// Prints.
#[derive(Debug, Clone, Copy)]
pub struct Output {
    /// How data is printed.
    pub format: Format,
    quiet: bool,
    colours: bool,
}

impl Output {
    /// Prints in this format; `quiet` leaves out notes.
    #[must_use]
    pub fn new(format: Format, quiet: bool) -> Self {
        let unwanted = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = env::var_os("TERM").is_some_and(|value| value == "dumb");
        Self { format, quiet, colours: io::stdout().is_terminal() && !unwanted && !dumb }
    }

    /// Whether programs read it.
    #[must_use]
    pub fn is_json(self) -> bool {
        self.format == Format::Json
    }

    /// Data, on stdout.
    ///
    /// # Errors
    /// stdout is closed.
    pub fn data(self, text: impl fmt::Display) -> io::Result<()> {
        let mut out = io::stdout().lock();
        writeln!(out, "{text}")?;
        out.flush()
    }

    /// Data without an end of line of its own.
    ///
    /// # Errors
    /// stdout is closed.
    pub fn raw(self, bytes: &[u8]) -> io::Result<()> {
        let mut out = io::stdout().lock();
        out.write_all(bytes)?;
        out.flush()
    }

    /// A value as JSON, on stdout.
    ///
    /// # Errors
    /// stdout is closed.
    pub fn json(self, value: &impl Serialize) -> io::Result<()> {
        self.data(serde_json::to_string_pretty(value)?)
    }

    /// A value as one line of JSON, on stdout.
    ///
    /// # Errors
    /// stdout is closed.
    pub fn json_line(self, value: &impl Serialize) -> io::Result<()> {
        self.data(serde_json::to_string(value)?)
    }

    /// One thing: its JSON, or the page for people.
    ///
    /// # Errors
    /// stdout is closed.
    pub fn one<T: Serialize, D: fmt::Display>(self, value: &T, page: impl FnOnce(&T) -> D) -> io::Result<()> {
        if self.is_json() { self.json(value) } else { self.data(page(value)) }
    }

    /// Several things: a JSON array, or a table with a row for each. No things, no table: a note says so.
    ///
    /// # Errors
    /// stdout is closed.
    pub fn list<T: Serialize>(
        self,
        what: &str,
        items: &[T],
        head: &[&str],
        row: impl Fn(&T) -> Vec<Cell>,
    ) -> io::Result<()> {
        if self.is_json() {
            return self.json(&items);
        }
        if items.is_empty() {
            self.note(format_args!("there are no {what}"));
            return Ok(());
        }
        self.data(self.table(head, items.iter().map(row)))
    }

    /// A table without borders.
    #[must_use]
    pub fn table(self, head: &[&str], rows: impl Iterator<Item = Vec<Cell>>) -> String {
        let mut table = Table::new();
        table.load_style(NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
        if !head.is_empty() {
            table.set_header(head.iter().copied());
        }
        table.add_rows(rows);
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        table.trim_fmt()
    }

    /// A run's state, in its colour on a terminal.
    #[must_use]
    pub fn state(self, state: RunState) -> Cell {
        let cell = Cell::new(state.as_str());
        match state {
            _ if !self.colours => cell,
            RunState::Succeeded => cell.fg(Color::Green),
            RunState::Failed | RunState::TimedOut => cell.fg(Color::Red),
            RunState::Cancelling | RunState::Cancelled => cell.fg(Color::Yellow),
            RunState::Starting | RunState::Running => cell.fg(Color::Cyan),
            RunState::Queued => cell,
        }
    }

    /// Whether something is well, in its colour on a terminal.
    #[must_use]
    pub fn verdict(self, word: &str, colour: Color) -> Cell {
        let cell = Cell::new(word);
        if self.colours { cell.fg(colour) } else { cell }
    }

    /// A note on stderr, for people who watch.
    pub fn note(self, text: impl fmt::Display) {
        if !self.quiet {
            tell(text);
        }
    }

    /// Something that must be seen, on stderr.
    pub fn important(text: impl fmt::Display) {
        tell(text);
    }

    /// An error, on stderr.
    pub fn error(text: &str) {
        tell(format_args!("error: {text}"));
    }

    /// A question on stderr; the answer comes from elsewhere.
    pub fn question(text: &str) {
        let mut err = io::stderr().lock();
        let _ = write!(err, "{text}").and_then(|()| err.flush());
    }
}

/// Nobody can be told that stderr is closed.
fn tell(text: impl fmt::Display) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}
