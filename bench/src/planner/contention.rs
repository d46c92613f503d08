//! How often a workload's commands conflict, and what conflicts cost EPaxos.
//!
//! **How often**: two commands of different clients are drawn from the generators many times, and
//! their footprints compared as a replica would. No formula per workload, so a new one needs none.
//!
//! **A second round**: with commands arriving at random, one from city r spoils the fast path of one
//! from city o if o did not know of it when it proposed, but the voter x did when o's pre-accept
//! came: if it was proposed within a span of (o→x) − (r→x) + (r→o). With κ the share of pairs that
//! conflict and λ the rate of a city, that happens to a share 1 − exp(−κ Σ λ · span).
//!
//! **Waiting to execute**: a command waits for one it depends on until the word of its commit has
//! come, which is at most its own commit latency and the way from its city later. To first order in κλ
//! the wait adds κ λ L² / 2 for each other city, L the span of proposal times that leads to a wait.
//!
//! Both are for light contention: they leave out chains of conflicts, which make things worse.

use panchayat::StateMachine as _;
use panchayat::kv::KvStore;
use panchayat::topology::Matrix;
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

/// EPaxos under a load, in one city.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Loaded {
    /// Share of commands that take a second round.
    pub slow_share: f64,
    /// Mean commit latency.
    pub commit_ms: f64,
    /// Mean execution latency.
    pub execute_ms: f64,
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

    /// What it does to EPaxos in the city `origin` of `matrix`, with `rate_per_s` commands a second
    /// in each city and fast quorums of `fast`.
    pub fn epaxos(
        &self,
        matrix: &Matrix,
        origin: usize,
        fast: usize,
        rate_per_s: f64,
    ) -> Option<Loaded> {
        let n = matrix.len();
        if origin >= n || !(2..=n).contains(&fast) {
            return None;
        }
        let mut voters: Vec<usize> = (0..n).filter(|x| *x != origin).collect();
        voters.sort_by_key(|x| matrix.rtt_us(origin, *x));
        voters.truncate(fast - 1);
        let round_us = matrix.rtt_us(origin, *voters.last()?) as f64;
        let way = |a: usize, b: usize| matrix.one_way_us(a, b) as f64;
        // Conflicting commands per microsecond from another city.
        let rate = self.share * rate_per_s / 1e6;
        let others = || (0..n).filter(|r| *r != origin);
        let latest = |r: usize| {
            let reached = voters.iter().map(|x| way(origin, *x) - way(r, *x));
            reached.fold(f64::NEG_INFINITY, f64::max)
        };
        let spans: f64 = others().map(|r| (latest(r) + way(r, origin)).max(0.0)).sum();
        let slow_share = 1.0 - (-rate * spans).exp();
        let commit_us = round_us * (1.0 + slow_share);
        // The other city's own latency to its quorum, slow or fast as often.
        let theirs = |r: usize| {
            let mut trips: Vec<u64> =
                (0..n).filter(|x| *x != r).map(|x| matrix.rtt_us(r, x)).collect();
            trips.sort_unstable();
            trips.get(fast - 2).map_or(0.0, |us| *us as f64) * (1.0 + slow_share)
        };
        let wait: f64 = others()
            .map(|r| {
                let late = (latest(r) + theirs(r) + way(r, origin) - commit_us).max(0.0);
                rate * late * late / 2.0
            })
            .sum();
        Some(Loaded {
            slow_share,
            commit_ms: commit_us / 1e3,
            execute_ms: (commit_us + wait) / 1e3,
        })
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
