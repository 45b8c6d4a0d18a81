//! How well notices tell trouble from noise: `cargo bench --bench notices`, with seeds as arguments if others are wanted.
//!
//! Histories of jobs of several shapes are made up, a year each, and judged run by run as the service does. In one year
//! nothing is wrong: every notice is a false one. In another, trouble is planted: precision is the share of notices
//! that tell planted trouble, recall the share of planted trouble that is told. Failures are left out: they need no
//! statistics.

#![allow(clippy::print_stdout, reason = "figures are what it is for")]

mod generate;
mod judge;

use std::collections::BTreeMap;

use generate::{Noise, Shape, year};
use haulier::domain::NoticeKind;
use judge::{Score, judge};

/// Seeds that no constant of the statistics was chosen with.
const SEEDS: std::ops::RangeInclusive<u64> = 201..=210;

fn main() {
    let given: Vec<u64> = std::env::args().filter_map(|word| word.parse().ok()).collect();
    let seeds = if given.is_empty() { SEEDS.collect() } else { given };
    let jobs = seeds.len() * Shape::ALL.len();
    println!("{} seeds, {} shapes: {jobs} jobs, a year each", seeds.len(), Shape::ALL.len());
    quiet(&seeds);
    planted(&seeds);
    for (noise, words) in
        [(Noise::HeavyTails, "exponential tails"), (Noise::AlikeInTurn, "each run like the one before")]
    {
        other_noise(&seeds, noise, words);
    }
}

/// The same jobs with other noise.
fn other_noise(seeds: &[u64], noise: Noise, words: &str) {
    let (mut falsely, mut total) = (0, Score::default());
    for (shape, seed) in Shape::ALL.iter().flat_map(|shape| seeds.iter().map(move |seed| (*shape, *seed))) {
        falsely += judge(&year(shape, noise, seed, false)).false_notices();
        total.add(judge(&year(shape, noise, seed + 1_000_000, true)));
    }
    let falsely = ratio(falsely, seeds.len() * Shape::ALL.len());
    let (precision, recall) = (total.precision(), total.recall());
    println!("\n{words}: {falsely:.2} false notices a job a year, precision {precision:.3}, recall {recall:.3}");
}

fn quiet(seeds: &[u64]) {
    println!("\na year of normal noise, false notices by shape (all seeds; the most for one job)");
    let mut all = 0;
    for shape in Shape::ALL {
        let scores: Vec<_> = seeds.iter().map(|seed| judge(&year(shape, Noise::Normal, *seed, false))).collect();
        let falsely: Vec<usize> = scores.iter().map(Score::false_notices).collect();
        let kinds = kinds(scores.iter().flat_map(|score| &score.falsely));
        let (sum, most) = (falsely.iter().sum::<usize>(), falsely.iter().max().copied().unwrap_or(0));
        println!("  {:<42} {sum:>4} {most:>4}  {kinds}", shape.words());
        all += sum;
    }
    println!("  {:.2} false notices a job a year", ratio(all, seeds.len() * Shape::ALL.len()));
}

fn planted(seeds: &[u64]) {
    println!("\na year with planted trouble, precision and recall by shape");
    let (mut total, mut by_kind) = (Score::default(), BTreeMap::<NoticeKind, (usize, usize)>::new());
    for shape in Shape::ALL {
        let mut score = Score::default();
        for seed in seeds {
            score.add(judge(&year(shape, Noise::Normal, *seed + 1_000_000, true)));
        }
        for (kind, (told, planted)) in &score.found {
            let entry = by_kind.entry(*kind).or_default();
            (entry.0, entry.1) = (entry.0 + told, entry.1 + planted);
        }
        println!(
            "  {:<42} {:.3} {:.3}  ({} planted)",
            shape.words(),
            score.precision(),
            score.recall(),
            score.planted()
        );
        total.add(score);
    }
    println!("  recall by kind:");
    for (kind, (told, planted)) in by_kind {
        println!("    {:<12} {:.3}  ({told} of {planted})", kind.as_str(), ratio(told, planted));
    }
    println!("  false notices: {}", kinds(total.falsely.iter()));
    println!("  precision {:.3}, recall {:.3}", total.precision(), total.recall());
}

fn kinds<'k>(kinds: impl Iterator<Item = &'k NoticeKind>) -> String {
    let mut counted = BTreeMap::<&str, usize>::new();
    kinds.for_each(|kind| *counted.entry(kind.as_str()).or_default() += 1);
    counted.iter().map(|(kind, count)| format!("{kind} {count}")).collect::<Vec<_>>().join(", ")
}

#[expect(clippy::cast_precision_loss, reason = "small")]
fn ratio(part: usize, whole: usize) -> f64 {
    if whole == 0 { 1.0 } else { part as f64 / whole as f64 }
}
