//! Figures as they are printed, one column a state of the database.

use std::fmt;

/// All figures so far.
#[derive(Debug, Default)]
pub struct Table {
    columns: Vec<&'static str>,
    rows: Vec<(String, &'static str, Vec<Option<f64>>)>,
}

impl Table {
    /// What follows belongs to a new column.
    pub fn column(&mut self, title: &'static str) {
        self.columns.push(title);
    }

    /// Adds a figure to the present column, and prints it at once.
    pub fn add(&mut self, what: impl Into<String>, goal: &'static str, value: f64) {
        let what = what.into();
        println!("{what:<64} {}", number(value));
        let present = self.columns.len() - 1;
        let known = self.rows.iter().position(|(known, ..)| *known == what);
        let row = known.unwrap_or_else(|| {
            self.rows.push((what, goal, Vec::new()));
            self.rows.len() - 1
        });
        self.rows[row].2.resize(present + 1, None);
        self.rows[row].2[present] = Some(value);
    }
}

fn number(value: f64) -> String {
    if value >= 1000.0 { format!("{value:.0}") } else { format!("{value:.3}") }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<64} {:>10}", "", "goal")?;
        self.columns.iter().try_for_each(|title| write!(f, " {title:>14}"))?;
        writeln!(f, " {:>8}", "ratio")?;
        for (what, goal, values) in &self.rows {
            write!(f, "{what:<64} {goal:>10}")?;
            for column in 0..self.columns.len() {
                let value = values.get(column).copied().flatten();
                write!(f, " {:>14}", value.map_or_else(|| "-".to_owned(), number))?;
            }
            match values.as_slice() {
                [Some(short), Some(long)] => writeln!(f, " {:>8}", format!("{:.2}", long / short))?,
                _ => writeln!(f)?,
            }
        }
        Ok(())
    }
}

/// The value below which this part of all lies.
pub fn quantile(values: &[f64], part: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index into a short list")]
    let index = ((sorted.len() as f64 * part).ceil() as usize).clamp(1, sorted.len()) - 1;
    sorted[index]
}

/// The middle value.
pub fn median(values: &[f64]) -> f64 {
    quantile(values, 0.5)
}
