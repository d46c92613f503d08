//! Closed-loop clients: each sends its next command when the last one was answered.
//!
//! A client belongs to a city and proposes at the replica there. Latency runs from just before the
//! proposal; what a command waits for in the replica's own queue is part of it. Commands that
//! began in the measured window count, whenever they are answered: leaving out those that the end
//! of the window finds unanswered would leave out the slowest.

use std::sync::Arc;
use std::time::{Duration, Instant};

use panchayat::kv::KvStore;
use panchayat::{Applied, Path, ProposeError, Replica};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::histogram::Latencies;
use crate::trace::Trace;
use crate::workload::Stream;

/// How long a client that was told `Overloaded` waits before it goes on.
const OVERLOADED_PAUSE: Duration = Duration::from_millis(5);

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

    pub(crate) fn record<O>(
        &mut self,
        window: &Window,
        began: Instant,
        result: &Result<Applied<O>, ProposeError>,
    ) {
        match result {
            Ok(applied) => {
                self.answered_in_window += u64::from(window.contains(applied.executed_at));
                if let Some(trace) = &mut self.trace {
                    trace.record(window, began, applied.executed_at);
                }
                if window.contains(began) {
                    self.commit.record(applied.committed_at.saturating_duration_since(began));
                    self.execute.record(applied.executed_at.saturating_duration_since(began));
                    self.fast += u64::from(applied.path == Path::Fast);
                }
            }
            Err(ProposeError::Overloaded) => self.failures.overloaded += 1,
            Err(error) if error.is_certain() => self.failures.not_applied += 1,
            Err(_) => self.failures.unknown += 1,
        }
    }
}

/// One client at `replica`, until the window ends or the replica stops.
pub async fn closed_loop(
    replica: Replica<KvStore>,
    mut stream: Stream,
    window: Window,
    samples: Shared,
) {
    while Instant::now() < window.end {
        let command = stream.command();
        let began = Instant::now();
        let result = replica.propose_traced(&command).await;
        samples.lock().record(&window, began, &result);
        match result {
            Ok(_) => {}
            Err(ProposeError::Overloaded) => tokio::time::sleep(OVERLOADED_PAUSE).await,
            Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use panchayat::{InstanceId, ReplicaId};

    #[test]
    fn what_begins_in_the_window_counts_even_if_it_ends_after_it() {
        let window = Window::after(Duration::from_secs(1), Duration::from_secs(1));
        let at = |ms| window.begin - Duration::from_secs(1) + Duration::from_millis(ms);
        let mut samples = Samples::default();
        for (began, committed, executed, path) in [
            (500, 700, 900, Path::Fast),
            (900, 950, 1100, Path::Fast),
            (1100, 1150, 1200, Path::Slow),
            (1900, 2100, 2300, Path::Fast),
        ] {
            let id = InstanceId::new(ReplicaId(0), 1);
            let (committed_at, executed_at) = (at(committed), at(executed));
            let applied = Applied { output: (), id, path, committed_at, executed_at };
            samples.record(&window, at(began), &Ok(applied));
        }
        assert_eq!((samples.commands(), samples.fast, samples.answered_in_window), (2, 1, 2));
        assert!((samples.commit.ms_at(1.0) - 200.0).abs() < 1.0);
        assert!((samples.execute.ms_at(1.0) - 400.0).abs() < 1.0);
    }

    #[test]
    fn failures_are_told_apart() {
        let window = Window::after(Duration::ZERO, Duration::from_secs(1));
        let mut samples = Samples::default();
        for error in [ProposeError::Overloaded, ProposeError::Shutdown, ProposeError::Unknown] {
            samples.record::<()>(&window, window.begin, &Err(error));
        }
        let expected = Failures { overloaded: 1, not_applied: 1, unknown: 1 };
        assert_eq!((samples.failures, samples.commands()), (expected, 0));
    }
}
