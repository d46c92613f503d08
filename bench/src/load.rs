//! Clients: in a closed loop, where each sends its next command when the last one was answered, in
//! an open one, where commands come as they come, or one that visits the cities in turn.
//!
//! In an open loop latency counts from the moment a command was *due*. Counting from the moment it
//! was sent would leave out what it waited for while the system was slow (coordinated omission).
//!
//! Whom clients talk to is a [`Target`]. A client belongs to a city and proposes at the replica there. Latency runs from just before the
//! proposal; what a command waits for in the replica's own queue is part of it. Commands that
//! began in the measured window count, whenever they are answered: leaving out those that the end
//! of the window finds unanswered would leave out the slowest.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use panchayat::ProposeError;
use parking_lot::Mutex;
use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{RngCore, SeedableRng};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use crate::histogram::Latencies;
use crate::target::{Answered, Target};
use crate::trace::Trace;
use crate::workload::Stream;

/// How long a client that was told `Overloaded`, or could not be served, waits before it goes on.
const PAUSE: Duration = Duration::from_millis(5);

/// Most commands of one city's open loop without an answer; above, they count as overload.
const OUTSTANDING_MAX: usize = 1 << 16;

/// The measured part of a run.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    /// Where it begins: the end of the warm-up.
    pub begin: Instant,
    /// Where it ends; clients begin nothing after it.
    pub end: Instant,
}

/// Proposals that had no result, by what is known of their outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failures {
    /// Refused at a limit; not applied.
    pub overloaded: u64,
    /// Not applied for another reason.
    pub not_applied: u64,
    /// Possibly applied.
    pub unknown: u64,
}

/// What the clients of one city saw in the window.
#[derive(Clone, Debug, Default)]
pub struct Samples {
    /// From the proposal to the durable decision.
    pub commit: Latencies,
    /// From the proposal to the execution.
    pub execute: Latencies,
    /// Commands decided in one round trip.
    pub fast: u64,
    /// Commands answered within the window, whenever they began.
    pub answered_in_window: u64,
    /// Commands without a result.
    pub failures: Failures,
    /// Every answer with its time, where one was asked for.
    pub trace: Option<Trace>,
}

/// How commands come.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum LoadModel {
    /// So many clients in each city, each with one command at a time.
    Closed(u32),
    /// Poisson arrivals, so many a second over all cities; latency counts from when a command was
    /// due, whether or not it could be sent then.
    Open(f64),
    /// One client in all, that visits the cities in turn and lets everything come to rest between.
    Solo,
}

impl fmt::Display for LoadModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed(clients) => write!(f, "closed loop, {clients} clients in each city"),
            Self::Open(rate) => write!(f, "open loop, Poisson, {rate} commands/s over all cities"),
            Self::Solo => f.write_str("one client in all, visiting the cities in turn"),
        }
    }
}

/// When the commands of an open loop are due: Poisson arrivals.
#[derive(Clone, Debug)]
pub struct Arrivals {
    rate: f64,
    rng: Xoshiro256PlusPlus,
}

impl Arrivals {
    /// So many a second.
    pub fn new(rate: f64, seed: u64) -> Self {
        Self { rate, rng: Xoshiro256PlusPlus::seed_from_u64(seed) }
    }

    /// How long after the last one the next one is due: exponential.
    pub fn gap(&mut self) -> Duration {
        let unit = ((self.rng.next_u64() >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
        Duration::from_secs_f64(-unit.ln() / self.rate.max(1e-6))
    }
}

/// The samples of one city, shared by its clients.
pub type Shared = Arc<Mutex<Samples>>;

impl Failures {
    /// Both together.
    pub fn plus(self, other: Self) -> Self {
        Self {
            overloaded: self.overloaded + other.overloaded,
            not_applied: self.not_applied + other.not_applied,
            unknown: self.unknown + other.unknown,
        }
    }

    /// What was added since `earlier`.
    pub fn since(self, earlier: Self) -> Self {
        Self {
            overloaded: self.overloaded.saturating_sub(earlier.overloaded),
            not_applied: self.not_applied.saturating_sub(earlier.not_applied),
            unknown: self.unknown.saturating_sub(earlier.unknown),
        }
    }
}

impl Window {
    /// The window of `length` that opens `warm_up` from now.
    pub fn after(warm_up: Duration, length: Duration) -> Self {
        let begin = Instant::now() + warm_up;
        Self { begin, end: begin + length }
    }

    /// Whether `moment` lies in it.
    pub fn contains(&self, moment: Instant) -> bool {
        (self.begin..self.end).contains(&moment)
    }
}

impl Samples {
    /// Commands that began in the window and were answered.
    pub fn commands(&self) -> u64 {
        self.execute.count()
    }

    pub(crate) fn record(
        &mut self,
        window: &Window,
        began: Instant,
        result: &Result<Answered, ProposeError>,
    ) {
        match result {
            Ok(answered) => {
                let Answered { committed_at, executed_at, fast } = *answered;
                self.answered_in_window += u64::from(window.contains(executed_at));
                if let Some(trace) = &mut self.trace {
                    trace.record(window, began, executed_at);
                }
                if window.contains(began) {
                    if let Some(at) = committed_at {
                        self.commit.record(at.saturating_duration_since(began));
                    }
                    self.execute.record(executed_at.saturating_duration_since(began));
                    self.fast += u64::from(fast);
                }
            }
            Err(ProposeError::Overloaded) => self.failures.overloaded += 1,
            Err(error) if error.is_certain() => self.failures.not_applied += 1,
            Err(_) => self.failures.unknown += 1,
        }
    }
}

/// One client at `target`, until the window ends or that is gone.
pub async fn closed_loop(target: impl Target, mut stream: Stream, window: Window, samples: Shared) {
    while Instant::now() < window.end {
        let command = stream.command();
        let began = Instant::now();
        let result = target.propose(&command).await;
        samples.lock().record(&window, began, &result);
        match result {
            Ok(_) => {}
            Err(error) if target.goes_on(&error) => tokio::time::sleep(PAUSE).await,
            Err(_) => return,
        }
    }
}

/// Commands at `target` when they are due, until the window ends; then waits for their answers.
pub async fn open_loop(
    target: impl Target,
    mut stream: Stream,
    mut arrivals: Arrivals,
    window: Window,
    samples: Shared,
) {
    let outstanding = Arc::new(Semaphore::new(OUTSTANDING_MAX));
    let mut due = Instant::now();
    loop {
        due += arrivals.gap();
        if due >= window.end {
            break;
        }
        tokio::time::sleep_until(due.into()).await;
        let Ok(permit) = outstanding.clone().try_acquire_owned() else {
            samples.lock().failures.overloaded += 1;
            continue;
        };
        let (target, samples, command) = (target.clone(), samples.clone(), stream.command());
        tokio::spawn(async move {
            let result = target.propose(&command).await;
            samples.lock().record(&window, due, &result);
            drop(permit);
        });
    }
    let _ = outstanding.acquire_many(OUTSTANDING_MAX as u32).await;
}

/// One client that visits the cities in turn and rests for `rest` between two, until the window ends.
pub async fn visits(
    targets: Vec<impl Target>,
    rest: Duration,
    mut stream: Stream,
    window: Window,
    samples: Vec<Shared>,
) {
    for (target, samples) in targets.iter().zip(&samples).cycle() {
        let (began, command) = (Instant::now(), stream.command());
        if began >= window.end {
            return;
        }
        let result = target.propose(&command).await;
        samples.lock().record(&window, began, &result);
        tokio::time::sleep(rest).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_begins_in_the_window_counts_even_if_it_ends_after_it() {
        let window = Window::after(Duration::from_secs(1), Duration::from_secs(1));
        let at = |ms| window.begin - Duration::from_secs(1) + Duration::from_millis(ms);
        let mut samples = Samples::default();
        for (began, committed, executed, fast) in [
            (500, 700, 900, true),
            (900, 950, 1100, true),
            (1100, 1150, 1200, false),
            (1900, 2100, 2300, true),
        ] {
            let (committed_at, executed_at) = (Some(at(committed)), at(executed));
            let answered = Answered { committed_at, executed_at, fast };
            samples.record(&window, at(began), &Ok(answered));
        }
        assert_eq!((samples.commands(), samples.fast, samples.answered_in_window), (2, 1, 2));
        assert!((samples.commit.ms_at(1.0) - 200.0).abs() < 1.0);
        assert!((samples.execute.ms_at(1.0) - 400.0).abs() < 1.0);
    }

    #[test]
    fn arrivals_are_as_frequent_as_asked_and_as_irregular_as_chance() {
        let mut arrivals = Arrivals::new(500.0, 3);
        let gaps: Vec<f64> = (0..20_000).map(|_| arrivals.gap().as_secs_f64()).collect();
        let mean = gaps.iter().sum::<f64>() / 20_000.0;
        assert!((mean - 0.002).abs() < 0.000_1, "{mean}");
        // Exponential: the share above the mean is 1/e.
        let above = gaps.iter().filter(|gap| **gap > 0.002).count();
        assert!((7_100..7_600).contains(&above), "{above}");
    }

    #[test]
    fn failures_are_told_apart() {
        let window = Window::after(Duration::ZERO, Duration::from_secs(1));
        let mut samples = Samples::default();
        for error in [ProposeError::Overloaded, ProposeError::Shutdown, ProposeError::Unknown] {
            samples.record(&window, window.begin, &Err(error));
        }
        let expected = Failures { overloaded: 1, not_applied: 1, unknown: 1 };
        assert_eq!((samples.failures, samples.commands()), (expected, 0));
    }
}
