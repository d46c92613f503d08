//! Where a Multi-Paxos leader should sit.
//!
//! The best leader is the one with the smallest mean commit latency over the origins, each origin
//! counted by how many clients are there.

use crate::latency::{multipaxos_leader_tells, multipaxos_origin_learns, weighted_sum};
use crate::matrix::Matrix;

/// Who counts the votes of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Learning {
    /// The command's origin, from votes sent to it directly: what Panchayat does.
    OriginLearns,
    /// The leader, which then tells the origin: the usual baseline.
    LeaderTells,
}

/// What a leader at one site would mean for every origin.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct LeaderForecast {
    /// The leader's index in the table.
    pub leader: usize,
    /// Commit latency seen from each site, in table order.
    pub per_origin_us: Vec<u64>,
    /// Their weighted mean.
    pub mean_us: f64,
}

/// A forecast for every possible leader, the best first; on a tie the earlier site.
///
/// `weights[i]` says how many clients site i has. `None` if there is not one weight per site, no
/// weight is positive, or the quorum does not fit the table.
pub fn rank_leaders(
    matrix: &Matrix,
    accept_quorum: usize,
    learning: Learning,
    weights: &[u32],
) -> Option<Vec<LeaderForecast>> {
    let formula = match learning {
        Learning::OriginLearns => multipaxos_origin_learns,
        Learning::LeaderTells => multipaxos_leader_tells,
    };
    let mut ranked = Vec::with_capacity(matrix.len());
    for leader in 0..matrix.len() {
        let per_origin_us: Vec<u64> = (0..matrix.len())
            .map(|origin| formula(matrix, leader, origin, accept_quorum))
            .collect::<Option<_>>()?;
        let (sum, total) = weighted_sum(&per_origin_us, weights)?;
        let mean_us = sum as f64 / total as f64;
        // Ranked by the exact sum: the same weights divide them all.
        ranked.push((sum, LeaderForecast { leader, per_origin_us, mean_us }));
    }
    ranked.sort_by_key(|(sum, forecast)| (*sum, forecast.leader));
    Some(ranked.into_iter().map(|(_, forecast)| forecast).collect())
}

/// The best of [`rank_leaders`].
pub fn best_leader(
    matrix: &Matrix,
    accept_quorum: usize,
    learning: Learning,
    weights: &[u32],
) -> Option<LeaderForecast> {
    rank_leaders(matrix, accept_quorum, learning, weights)?.into_iter().next()
}
