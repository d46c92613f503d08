//! From quantities to places in a plot, evenly or by their logarithm, with round numbers to mark.

/// A scale.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
    logarithmic: bool,
}

impl Scale {
    /// From zero (or what is smallest, if that is less) to `high`, a little beyond, over `from..to`.
    pub(super) fn linear(low: f64, high: f64, from: f64, to: f64) -> Self {
        let high = if high > low { high } else { low + 1.0 };
        Self { low, high, from, to, logarithmic: false }
    }

    /// Over the decades of what is positive.
    pub(super) fn logarithmic(low: f64, high: f64, from: f64, to: f64) -> Self {
        let low = if low > 0.0 { low } else { 0.1 };
        let high = if high > low * 1.5 { high } else { low * 2.0 };
        Self { low, high, from, to, logarithmic: true }
    }

    /// Whole steps that hold `high`, for a scale from zero.
    pub(super) fn round_up(high: f64) -> f64 {
        if high <= 0.0 {
            return 1.0;
        }
        let step = step(high / 5.0);
        (high / step).ceil() * step
    }

    pub(super) fn low(&self) -> f64 {
        self.low
    }

    pub(super) fn high(&self) -> f64 {
        self.high
    }

    /// The place of `value`; what lies outside is drawn at the edge.
    pub(super) fn at(&self, value: f64) -> f64 {
        let value = value.clamp(self.low, self.high);
        let share = if self.logarithmic {
            (value / self.low).ln() / (self.high / self.low).ln()
        } else {
            (value - self.low) / (self.high - self.low)
        };
        self.from + share * (self.to - self.from)
    }

    /// The numbers to mark.
    pub(super) fn ticks(&self) -> Vec<f64> {
        if !self.logarithmic {
            let step = step((self.high - self.low) / 5.0);
            let first = (self.low / step).ceil();
            let all = (0..=20).map(|more| (first + f64::from(more)) * step);
            return all.take_while(|tick| *tick <= self.high * (1.0 + 1e-9)).collect();
        }
        let decades = self.low.log10().floor() as i32..=self.high.log10().ceil() as i32;
        let wide = self.high / self.low > 100.0;
        let within: &[f64] = if wide { &[1.0] } else { &[1.0, 2.0, 5.0] };
        let all = decades.flat_map(|decade| within.iter().map(move |x| x * 10f64.powi(decade)));
        all.filter(|tick| (self.low..=self.high).contains(tick)).collect()
    }
}

/// The smallest of 1, 2, 5 × 10^n that is not below `rough`.
fn step(rough: f64) -> f64 {
    let decade = 10f64.powf(rough.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * decade);
    *steps.iter().find(|step| **step >= rough * (1.0 - 1e-9)).unwrap_or(&(10.0 * decade))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_round_and_inside() {
        assert_eq!(Scale::linear(0.0, 50.0, 0.0, 1.0).ticks(), [0.0, 10.0, 20.0, 30.0, 40.0, 50.0]);
        assert_eq!(Scale::logarithmic(10.0, 70.0, 0.0, 1.0).ticks(), [10.0, 20.0, 50.0]);
        assert_eq!(Scale::logarithmic(1.0, 1_000.0, 0.0, 1.0).ticks(), [1.0, 10.0, 100.0, 1_000.0]);
        assert_eq!((Scale::round_up(37.0), Scale::round_up(0.0)), (40.0, 1.0));
    }

    #[test]
    fn places_run_from_end_to_end() {
        let up = Scale::linear(0.0, 10.0, 300.0, 20.0);
        assert_eq!((up.at(0.0), up.at(5.0), up.at(10.0), up.at(99.0)), (300.0, 160.0, 20.0, 20.0));
        let decades = Scale::logarithmic(1.0, 100.0, 0.0, 2.0);
        assert!((decades.at(10.0) - 1.0).abs() < 1e-9 && decades.at(0.0) == 0.0);
    }
}
