//! How often a workload's commands conflict.
//!
//! Two commands of different clients are drawn from the generators many times, and
//! their footprints compared as a replica would. No formula per workload, so a new one needs none.
//!
//! What that costs is [`panchayat::topology::contention`]'s to say.

use panchayat::StateMachine as _;
use panchayat::kv::KvStore;
use serde::Serialize;

use crate::workload::Workload;

/// Commands that are drawn.
const COMMANDS: u64 = 40_000;
/// Clients they are drawn from.
const CLIENTS: u64 = 64;

/// How often commands of a workload conflict.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Contention {
    /// The share of pairs that must be ordered.
    pub share: f64,
}

impl Contention {
    /// Of this workload, by drawing from it.
    pub fn of(workload: &Workload) -> Self {
        let draw = |client: u64| {
            let mut stream = workload.stream(client);
            let commands = (0..COMMANDS / CLIENTS).map(move |_| stream.command());
            commands.map(|command| KvStore::footprint(&command)).collect::<Vec<_>>()
        };
        let clients: Vec<_> = (0..CLIENTS).map(draw).collect();
        let (mut conflicts, mut pairs) = (0u64, 0u64);
        // Of the same step: clients of a rush are in step.
        for apart in 1..=4 {
            for (one, other) in clients.iter().zip(&clients[apart..]) {
                for (a, b) in one.iter().zip(other) {
                    pairs += 1;
                    conflicts += u64::from(a.conflicts(b));
                }
            }
        }
        Self { share: conflicts as f64 / pairs.max(1) as f64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::{Kind, Shape};

    #[test]
    fn shares_of_conflicting_pairs_are_those_of_the_law() {
        let share = |kind: Kind, shape: &Shape| {
            Contention::of(&Workload::of(kind, shape, 3).unwrap()).share
        };
        for percent in [0.0, 10.0, 50.0, 100.0] {
            let shape = Shape { conflict_percent: percent, ..Kind::Mix.shape() };
            let expected = (percent / 100.0f64).powi(2);
            let found = share(Kind::Mix, &shape);
            assert!((found - expected).abs() < 0.004 + expected * 0.02, "{percent}: {found}");
        }
        // 72 seats of the same train.
        let tatkal = share(Kind::Tatkal, &Kind::Tatkal.shape());
        assert!((0.5 / 72.0..1.5 / 72.0).contains(&tatkal), "{tatkal}");
        // Additions commute.
        let likes = share(Kind::Popularity, &Kind::Popularity.shape());
        let books = share(Kind::OrderBook, &Kind::OrderBook.shape());
        assert!(likes < 0.002 && books > 0.03, "{likes} {books}");
    }
}
