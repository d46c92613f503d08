//! What conflicts and collisions cost: first-order estimates, not closed forms.
//!
//! Commands arrive at random (Poisson), so many a second from each site, and two of them conflict with a
//! probability κ, the *conflict share*.
//!
//! **A second round of EPaxos**: a command from site r spoils the fast path of one from site o if o did not
//! know of it when it proposed, but a voter x did when o's pre-accept came: if it was proposed within a span
//! of (o→x) − (r→x) + (r→o). With λ the rate of r, that happens to a share 1 − exp(−κ Σ λ · span).
//!
//! **Waiting to execute**: a command waits for one it depends on until the word of its commit has come, which
//! is at most its own commit latency and the way from its site later. Let L be the span of proposal times
//! that leads to a wait; the latest of the commands in it decides, so the mean wait is
//! L − (1 − exp(−κλL)) / κλ, which is κλL²/2 where conflicts are rare and L where they are not.
//!
//! **Fast Paxos** is the same with κ = 1: whatever is under way at the same time races for a place, and what
//! collides is settled by the coordinator, in a classic round.
//!
//! Chains of conflicts are left out: under heavy contention leaderless protocols do worse than this says.

use crate::latency::direct_path;
use crate::matrix::Matrix;

/// A protocol without a leader under a load, as clients of one site see it. In microseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Loaded {
    /// Share of commands that a conflict or a collision sends through a second round.
    pub slow_share: f64,
    /// Mean time until the origin knows that the command is decided.
    pub commit_us: f64,
    /// Mean time until it has executed it.
    pub execute_us: f64,
}

/// EPaxos at `origin`, with fast quorums of `fast` and slow ones of `slow`, while `rates_per_s[i]` commands
/// a second come from site i and a share `conflict_share` of pairs conflict.
///
/// Where there are fewer sites than a fast quorum, every command takes two rounds. `None` if the question
/// has no answer: see [`latency`](crate::latency).
pub fn epaxos_loaded(
    matrix: &Matrix,
    origin: usize,
    (fast, slow): (usize, usize),
    rates_per_s: &[f64],
    conflict_share: f64,
) -> Option<Loaded> {
    let second = direct_path(matrix, origin, slow)? as f64;
    let Some(first) = direct_path(matrix, origin, fast) else {
        let race = Race::at(matrix, origin, slow, rates_per_s, conflict_share)?;
        return Some(race.ends(1.0, 2.0 * second, |r| {
            direct_path(matrix, r, slow).map(|round| 2.0 * round as f64)
        }));
    };
    let race = Race::at(matrix, origin, fast, rates_per_s, conflict_share)?;
    let slow_share = race.lost();
    let commit_us = first as f64 + slow_share * second;
    // Another site's own latency to its quorum, slow or fast as often.
    let theirs = |r: usize| Some(direct_path(matrix, r, fast)? as f64 * (1.0 + slow_share));
    Some(race.ends(slow_share, commit_us, theirs))
}

/// Fast Paxos at `origin`, with fast quorums of `fast` and classic ones of `classic`, its coordinator at
/// `coordinator`. `collisions` is the share of commands that collide, where it is known.
///
/// `None` if the question has no answer: see [`latency`](crate::latency).
pub fn fast_paxos_loaded(
    matrix: &Matrix,
    origin: usize,
    (fast, classic): (usize, usize),
    coordinator: usize,
    rates_per_s: &[f64],
    collisions: Option<f64>,
) -> Option<Loaded> {
    let settled = direct_path(matrix, coordinator, classic)? as f64;
    let way_back = |to| matrix.one_way_us(coordinator, to) as f64;
    let race = Race::at(matrix, origin, fast, rates_per_s, 1.0)?;
    let slow_share = collisions.unwrap_or_else(|| race.lost()).clamp(0.0, 1.0);
    let commit = |o: usize| {
        let first = direct_path(matrix, o, fast)? as f64;
        Some(first + slow_share * (settled + way_back(o)))
    };
    Some(race.ends(slow_share, commit(origin)?, commit))
}

/// One site's commands against those of all others.
struct Race<'a> {
    matrix: &'a Matrix,
    origin: usize,
    /// Commands of each site that matter to a given one, per microsecond.
    rates: Vec<f64>,
    /// By site: how much later than its proposal at the origin's time a command may reach a voter, and spoil.
    reach: Vec<f64>,
}

impl<'a> Race<'a> {
    fn at(
        matrix: &'a Matrix,
        origin: usize,
        quorum: usize,
        rates_per_s: &[f64],
        share: f64,
    ) -> Option<Self> {
        let n = matrix.len();
        if origin >= n || !(2..=n).contains(&quorum) || rates_per_s.len() != n {
            return None;
        }
        let mut voters: Vec<usize> = (0..n).filter(|x| *x != origin).collect();
        voters.sort_by_key(|x| matrix.rtt_us(origin, *x));
        voters.truncate(quorum - 1);
        let way = |a: usize, b: usize| matrix.one_way_us(a, b) as f64;
        let latest = |r: usize| {
            let ahead = voters.iter().map(|x| way(origin, *x) - way(r, *x));
            ahead.fold(f64::NEG_INFINITY, f64::max)
        };
        let rates = rates_per_s.iter().map(|rate| share * rate.max(0.0) / 1e6).collect();
        Some(Self { matrix, origin, rates, reach: (0..n).map(latest).collect() })
    }

    fn others(&self) -> impl Iterator<Item = usize> {
        let origin = self.origin;
        (0..self.matrix.len()).filter(move |r| *r != origin)
    }

    fn way(&self, from: usize, to: usize) -> f64 {
        self.matrix.one_way_us(from, to) as f64
    }

    /// The share of commands that some other one spoils.
    fn lost(&self) -> f64 {
        let expected = self.others().map(|r| {
            let span = self.reach[r] + self.way(r, self.origin);
            self.rates[r] * span.max(0.0)
        });
        1.0 - (-expected.sum::<f64>()).exp()
    }

    /// What is seen when `theirs` is how long other sites take to decide.
    fn ends(
        &self,
        slow_share: f64,
        commit_us: f64,
        theirs: impl Fn(usize) -> Option<f64>,
    ) -> Loaded {
        let wait = self.others().map(|r| {
            let Some(theirs) = theirs(r) else { return 0.0 };
            let span = self.reach[r] + theirs + self.way(r, self.origin) - commit_us;
            mean_wait(self.rates[r], span.max(0.0))
        });
        let execute_us = commit_us + wait.sum::<f64>();
        Loaded { slow_share, commit_us, execute_us }
    }
}

/// How long one waits for the latest of the arrivals, `rate` per microsecond, in a span at whose beginning
/// one would wait for nothing and at whose end for all of it.
fn mean_wait(rate: f64, span: f64) -> f64 {
    let expected = rate * span;
    match expected < 1e-6 {
        // The difference below loses all its digits.
        true => expected * span / 2.0,
        false => span - (1.0 - (-expected).exp()) / rate,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Topology;
    use crate::latency::{epaxos_fast, fast_paxos};

    const IDLE: [f64; 3] = [0.0; 3];

    #[test]
    fn without_conflicts_the_closed_forms_are_left() {
        let matrix = Topology::builtin().matrix("india3").unwrap();
        for origin in 0..3 {
            let fast = epaxos_fast(&matrix, origin, 2).unwrap() as f64;
            let loaded = epaxos_loaded(&matrix, origin, (2, 2), &[500.0; 3], 0.0).unwrap();
            assert_eq!((loaded.slow_share, loaded.execute_us), (0.0, fast));
            let all = fast_paxos(&matrix, origin, 3).unwrap() as f64;
            let loaded = fast_paxos_loaded(&matrix, origin, (3, 2), 0, &IDLE, None).unwrap();
            assert_eq!((loaded.slow_share, loaded.execute_us), (0.0, all));
        }
    }

    #[test]
    fn more_conflicts_cost_more_and_never_more_than_the_last_of_them() {
        let matrix = Topology::builtin().matrix("india3").unwrap();
        let at = |rate: f64| epaxos_loaded(&matrix, 0, (2, 2), &[rate; 3], 1.0).unwrap();
        let costs = [0.1, 1.0, 10.0, 100.0, 1e4, 1e9].map(|rate| at(rate).execute_us);
        assert!(costs.is_sorted_by(|a, b| a < b), "{costs:?}");
        let commit = 2.0 * epaxos_fast(&matrix, 0, 2).unwrap() as f64;
        let slowest = 2.0 * 40_000.0;
        assert!(costs[5] < commit + 2.0 * (slowest + 40_000.0), "{costs:?}");
    }

    #[test]
    fn a_wait_is_half_a_span_per_arrival_at_first_and_all_of_it_at_last() {
        let near = |a: f64, b: f64| assert!((a - b).abs() <= b * 1e-3, "{a} {b}");
        near(mean_wait(1e-9, 1e4), 1e-9 * 1e4 * 1e4 / 2.0);
        near(mean_wait(1e-12, 1e4), 1e-12 * 1e4 * 1e4 / 2.0);
        near(mean_wait(1.0, 1e4), 1e4);
        assert_eq!(mean_wait(0.0, 1e4), 0.0);
    }

    #[test]
    fn two_rounds_where_a_fast_quorum_is_out_of_reach() {
        let matrix = Topology::builtin().matrix("india3").unwrap().without(2);
        let loaded = epaxos_loaded(&matrix, 0, (3, 2), &[0.0; 2], 0.0).unwrap();
        assert_eq!(loaded.slow_share, 1.0);
        assert_eq!(loaded.commit_us, 2.0 * matrix.rtt_us(0, 1) as f64);
        assert_eq!(fast_paxos_loaded(&matrix, 0, (3, 2), 0, &[0.0; 2], None), None);
    }
}
