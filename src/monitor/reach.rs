//! How far from what was expected a value may lie and still be normal: pure statistics, on logarithms.
//!
//! What is expected of a value is the level of those before it. How far each value of the history lay from what would
//! have been expected of it says how far the next one may: noise, a level that drifts, and values that resemble their
//! neighbours are all in it, as the next one will meet them.
//!
//! Real noise has heavier tails than normal noise, and each job its own. A distance that is exceeded as seldom as `z` is
//! by normal noise is therefore taken for `scale · z^tail`, where both are read off the history's quantiles: `tail` is 1
//! for normal noise, about 1.4 for exponential tails.

use super::baseline::median;

/// How many of the last values say where the level is.
pub(super) const LEVEL: usize = 30;
/// How many values are to stand before the first of which something is expected.
const FIRST: usize = 10;
/// Noise is at least this much, about 8 %: no script is a clock.
const QUIETEST: f64 = 0.08;
/// How far beyond the largest of a year's normal values the limits lie, in standard deviations.
const MORE: f64 = 0.4;
/// The share of normal noise within one standard deviation.
const WITHIN_ONE: f64 = 0.6827;
/// The half and nearly all of one side, and the `z` of normal noise there.
const HALF: (f64, f64) = (0.5, 0.6745);
const NEARLY_ALL: (f64, f64) = (0.95, 1.96);
/// The heaviest tail that is believed.
const HEAVIEST: f64 = 2.5;
/// A tail counts for half when so many values of its side are known: few say little of it.
const HALF_BELIEVED: f64 = 20.0;

/// How far below and above the level a value may lie, for a job with so many runs a year. The values are the history's,
/// the oldest first, and more than [`FIRST`].
pub(super) fn reach(values: &[f64], level: f64, per_year: f64) -> (f64, f64) {
    let apart: Vec<f64> =
        (FIRST..values.len()).map(|n| values[n] - median(&mut values[n.saturating_sub(LEVEL)..n].to_vec())).collect();
    let noise = quantile(apart.iter().map(|apart| apart.abs()).collect(), WITHIN_ONE).max(QUIETEST);
    // The largest of so many normal values lies about there.
    let z = (2.0 * per_year.ln()).sqrt() + MORE;
    // A short history knows its noise badly.
    let unsure = 1.0 + 8.0 / count(values.len());
    let side = |sign: f64| {
        let normal = noise * z.powf(tail(apart.iter().map(|apart| sign * apart))) * unsure;
        let mut beyond: Vec<_> = values.iter().map(|value| sign * (value - level)).filter(|by| *by > normal).collect();
        // What comes again and again is normal too: a script that often finds nothing to do is soon done.
        let often = beyond.len() >= 2 + values.len() / 25;
        beyond.sort_by(f64::total_cmp);
        if often { beyond.last().map_or(normal, |most| most + noise) } else { normal }
    };
    (side(-1.0), side(1.0))
}

/// How heavy the tail of the positive distances is.
fn tail(apart: impl Iterator<Item = f64>) -> f64 {
    let side: Vec<_> = apart.filter(|apart| *apart > 0.0).collect();
    let believed = count(side.len()) / (count(side.len()) + HALF_BELIEVED);
    let (half, nearly_all) = (quantile(side.clone(), HALF.0), quantile(side, NEARLY_ALL.0));
    if half <= 0.0 {
        return 1.0;
    }
    let tail = (nearly_all / half).ln() / (NEARLY_ALL.1 / HALF.1).ln();
    1.0 + (tail.clamp(1.0, HEAVIEST) - 1.0) * believed
}

/// The value that this share of the values does not exceed; 0 of nothing.
fn quantile(mut values: Vec<f64>, share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let at = share * (count(values.len()) - 1.0).max(0.0);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index, not negative")]
    let below = at as usize;
    let Some(low) = values.get(below) else { return 0.0 };
    let high = values.get(below + 1).unwrap_or(low);
    low + (high - low) * at.fract()
}

fn count(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

    use super::*;

    const HOURLY: f64 = 8760.0;

    fn values(count: usize, next: impl Fn(&mut StdRng) -> f64) -> Vec<f64> {
        let mut rng = StdRng::seed_from_u64(7);
        (0..count).map(|_| next(&mut rng)).collect()
    }

    fn normal(rng: &mut StdRng) -> f64 {
        let (a, b): (f64, f64) = (rng.random_range(f64::MIN_POSITIVE..1.0), rng.random());
        (-2.0 * a.ln()).sqrt() * (std::f64::consts::TAU * b).cos()
    }

    /// Of the same variance as normal noise.
    fn exponential(rng: &mut StdRng) -> f64 {
        let far = -rng.random_range(f64::MIN_POSITIVE..1.0).ln() / std::f64::consts::SQRT_2;
        if rng.random() { far } else { -far }
    }

    #[test]
    fn quantiles_lie_between_their_neighbours() {
        assert_eq!(quantile(Vec::new(), 0.5), 0.0);
        assert_eq!(quantile(vec![3.0], 0.95), 3.0);
        assert_eq!(quantile(vec![4.0, 1.0, 2.0, 3.0], 0.5), 2.5);
    }

    #[test]
    fn normal_noise_reaches_a_little_beyond_a_years_largest() {
        let (below, above) = reach(&values(500, |rng| 0.3 * normal(rng)), 0.0, HOURLY);
        let expected = 0.3 * (2.0 * HOURLY.ln()).sqrt();
        assert!(below > expected && below < 1.5 * expected, "{below} {expected}");
        assert!(above > expected && above < 1.5 * expected, "{above} {expected}");
    }

    #[test]
    fn heavier_tails_reach_further() {
        let (_, normal) = reach(&values(500, normal), 0.0, HOURLY);
        let (below, above) = reach(&values(500, exponential), 0.0, HOURLY);
        // The largest of so many: ln 8760 / √2.
        assert!(above > 1.15 * normal && below > 1.15 * normal && above < 9.0, "{below} {above} {normal}");
    }

    #[test]
    fn one_side_does_not_widen_the_other() {
        let lopsided = values(500, |rng| {
            let noise = normal(rng);
            if noise > 1.0 { noise.powi(3) } else { noise }
        });
        let (below, above) = reach(&lopsided, 0.0, HOURLY);
        assert!(above > 2.0 * below, "{below} {above}");
    }

    #[test]
    fn what_resembles_its_neighbours_is_not_taken_for_quiet() {
        let mut last = 0.0;
        let alike: Vec<_> = values(500, normal)
            .into_iter()
            .map(|noise| {
                last = 0.9 * last + 0.19_f64.sqrt() * noise;
                last
            })
            .collect();
        let (below, above) = reach(&alike, 0.0, HOURLY);
        assert!(below > 3.0 && above > 3.0, "{below} {above}");
    }

    #[test]
    fn a_few_bad_values_change_little() {
        let mut some = values(500, normal);
        let before = reach(&some, 0.0, HOURLY);
        (0..5).for_each(|n| some[100 + 70 * n] = 12.0);
        let after = reach(&some, 0.0, HOURLY);
        assert!(after.0 / before.0 < 1.1 && after.1 / before.1 < 1.15, "{before:?} {after:?}");
    }
}
