//! Every answer of a run with its time, for runs in which latencies change: a histogram over the
//! whole of it would hide when.
//!
//! Eight bytes an answer. The runs that are traced are short, so there is no other bound.

use std::ops::Range;
use std::time::{Duration, Instant};

use crate::load::Window;

/// The answers that clients of one city got since the measured window began.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    answers: Vec<Answer>,
}

#[derive(Clone, Copy, Debug)]
struct Answer {
    /// Microseconds since the window began.
    at_us: u32,
    latency_us: u32,
}

impl Answer {
    /// When the command was proposed; negative during the warm-up.
    fn began_us(self) -> i64 {
        i64::from(self.at_us) - i64::from(self.latency_us)
    }
}

/// Some of the latencies of a trace.
#[derive(Clone, Debug, Default)]
pub struct Slice {
    sorted_us: Vec<u32>,
}

impl Trace {
    /// Notes a command that began and was answered at these moments. What was answered before the
    /// window is left out.
    pub fn record(&mut self, window: &Window, began: Instant, answered: Instant) {
        if answered >= window.begin {
            let at_us = micros(answered - window.begin);
            let latency_us = micros(answered.saturating_duration_since(began));
            self.answers.push(Answer { at_us, latency_us });
        }
    }

    /// What was answered within `from..to`, times since the window began.
    pub fn answered(&self, from: Duration, to: Duration) -> Slice {
        let span = micros(from)..micros(to);
        let within = self.answers.iter().filter(|answer| span.contains(&answer.at_us));
        Slice::of(within.map(|answer| answer.latency_us).collect())
    }

    /// The longest span of `from..to` in which nothing was answered.
    pub fn longest_silence(&self, from: Duration, to: Duration) -> Range<Duration> {
        let (from, to) = (micros(from), micros(to));
        let within =
            self.answers.iter().map(|answer| answer.at_us).filter(|at| (from..to).contains(at));
        let mut moments: Vec<_> = within.chain([from, to]).collect();
        moments.sort_unstable();
        let gaps = moments.windows(2).map(|ends| ends[0]..ends[1]);
        let longest = gaps.max_by_key(|gap| gap.end - gap.start).unwrap_or(from..to);
        let at = |us| Duration::from_micros(u64::from(us));
        at(longest.start)..at(longest.end)
    }

    /// What was answered in each span of length `width`, from the window's beginning to `end`.
    pub fn buckets(&self, width: Duration, end: Duration) -> Vec<Slice> {
        let width_us = micros(width).max(1);
        let mut buckets = vec![Vec::new(); micros(end).div_ceil(width_us) as usize];
        for answer in self.answers.iter().filter(|answer| answer.at_us < micros(end)) {
            buckets[(answer.at_us / width_us) as usize].push(answer.latency_us);
        }
        buckets.into_iter().map(Slice::of).collect()
    }

    /// What waited at some moment of `from..to`: begun before its end and answered after its
    /// beginning.
    pub fn waiting(&self, from: Duration, to: Duration) -> Slice {
        let (from, to) = (micros(from), i64::from(micros(to)));
        let within = |answer: &&Answer| answer.at_us >= from && answer.began_us() < to;
        Slice::of(self.answers.iter().filter(within).map(|answer| answer.latency_us).collect())
    }
}

impl Slice {
    fn of(mut latencies_us: Vec<u32>) -> Self {
        latencies_us.sort_unstable();
        Self { sorted_us: latencies_us }
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.sorted_us.len() as u64
    }

    /// Their mean in milliseconds; `None` if there are none.
    pub fn mean_ms(&self) -> Option<f64> {
        let sum: u64 = self.sorted_us.iter().map(|us| u64::from(*us)).sum();
        (!self.sorted_us.is_empty()).then(|| sum as f64 / self.sorted_us.len() as f64 / 1e3)
    }

    /// The latency that a share `quantile` (0 to 1) does not exceed, in milliseconds; `None` if
    /// there are none.
    pub fn ms_at(&self, quantile: f64) -> Option<f64> {
        let last = self.sorted_us.len().checked_sub(1)?;
        let rank = (quantile * self.sorted_us.len() as f64).ceil() as usize;
        Some(f64::from(self.sorted_us[rank.saturating_sub(1).min(last)]) / 1e3)
    }
}

/// More than an hour counts as that.
fn micros(duration: Duration) -> u32 {
    u32::try_from(duration.as_micros()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    #[test]
    fn answers_are_found_by_when_they_began_and_by_when_they_came() {
        let warm_up = Duration::from_secs(1);
        let window = Window::after(warm_up, Duration::from_secs(1));
        let start = window.begin - warm_up;
        let mut trace = Trace::default();
        // Milliseconds since the window began, which is 1000.
        for (began, answered) in [(900, 990), (950, 1050), (1050, 1090), (1060, 1350), (1900, 2100)]
        {
            trace.record(&window, start + MS(began), start + MS(answered));
        }
        let all = |slice: Slice| slice.sorted_us.iter().map(|us| us / 1000).collect::<Vec<_>>();
        assert_eq!(all(trace.answered(MS(0), MS(1000))), [40, 100, 290]);
        assert_eq!(all(trace.waiting(MS(0), MS(60))), [40, 100]);
        assert_eq!(all(trace.waiting(MS(100), MS(900))), [290]);
        assert_eq!(all(trace.waiting(MS(950), MS(960))), [200]);
        let counts: Vec<_> = trace.buckets(MS(100), MS(1000)).iter().map(Slice::count).collect();
        assert_eq!(counts, [2, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
        assert_eq!(trace.buckets(MS(100), MS(250)).len(), 3);
    }

    #[test]
    fn quantiles_are_latencies_that_occurred() {
        let slice = Slice::of((1..=200).rev().map(|ms| ms * 1000).collect());
        for (quantile, expected) in [(0.0, 1.0), (0.5, 100.0), (0.99, 198.0), (1.0, 200.0)] {
            assert_eq!(slice.ms_at(quantile), Some(expected), "{quantile}");
        }
        assert_eq!((slice.mean_ms(), Slice::default().mean_ms()), (Some(100.5), None));
        assert_eq!(Slice::default().ms_at(0.5), None);
    }
}
