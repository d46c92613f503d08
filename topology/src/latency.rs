//! Commit latency in closed form: what a client in one city sees at best.
//!
//! Times run from the moment the origin, the client's own replica, has the command, to the moment
//! it knows the command is committed. Messages take half a round trip; computing, syncing to disk
//! and queueing take nothing; nothing is lost. Measurements are compared with these numbers, and
//! the simulator must meet them to the microsecond.
//!
//! Every function gives microseconds, or `None` if the question has no answer: an index outside
//! the table, or a quorum that is empty or larger than the table. Quorum sizes count the origin
//! (or the leader) itself.
//!
//! Nothing here assumes the triangle inequality, which real routes violate. Applied to
//! [`Topology::fibre_matrix`](crate::Topology::fibre_matrix), the same formulas give the bound that
//! light in fibre sets.

use crate::matrix::Matrix;

/// One round trip from the origin to the farthest member of its nearest quorum: the bound for any
/// protocol whose replicas talk directly and whose decision needs `quorum` votes.
///
/// The origin's own vote is free, each of the others is worth one round trip, and the quorum is
/// full when the (quorum−1)-th nearest has answered.
pub fn direct_path(matrix: &Matrix, origin: usize, quorum: usize) -> Option<u64> {
    let n = matrix.len();
    if origin >= n || !(1..=n).contains(&quorum) {
        return None;
    }
    let others = (0..n).filter(|&x| x != origin);
    nth_smallest(others.map(|x| matrix.rtt_us(origin, x)), quorum - 1)
}

/// EPaxos without conflict: PreAccept to a fast quorum and back. Meets [`direct_path`].
pub fn epaxos_fast(matrix: &Matrix, origin: usize, fast_quorum: usize) -> Option<u64> {
    direct_path(matrix, origin, fast_quorum)
}

/// EPaxos with a conflict: the PreAccept round ends at a slow quorum of replies that disagree,
/// then an Accept round needs a slow quorum again. Twice [`direct_path`] of the slow quorum.
///
/// This is the case in which every reply names a conflict the origin does not know. If only
/// farther replicas know it, the origin may wait a little longer for a fast quorum first.
pub fn epaxos_slow(matrix: &Matrix, origin: usize, slow_quorum: usize) -> Option<u64> {
    direct_path(matrix, origin, slow_quorum).map(|round| 2 * round)
}

/// Fast Paxos without collision: the origin sends to all acceptors and counts their votes itself.
/// [`direct_path`] of its larger fast quorum.
pub fn fast_paxos(matrix: &Matrix, origin: usize, fast_quorum: usize) -> Option<u64> {
    direct_path(matrix, origin, fast_quorum)
}

/// Multi-Paxos where acceptors send their vote to the command's origin too, which counts them.
///
/// The command goes o→L, the leader's Accept L→x, the vote of x x→o. An Accept, or any vote at
/// the leader's ballot, proves the leader's own vote, so the origin needs the votes of
/// `accept_quorum`−1 others: the (q2−1)-th smallest of oL + Lx + xo over x ≠ L. The origin
/// is among these x: its own vote is there when the Accept arrives, after a full round trip. With
/// q2 = 1 it still waits for the first proof of the leader's vote.
///
/// At the leader (o = L) this is a round trip to its quorum. At n = 3, q2 = 2 it is
/// min(oL + Lo, oL + La + ao) over the third replica a; where the triangle inequality holds that is
/// one round trip to the leader, and no city waits for more than its direct line.
pub fn multipaxos_origin_learns(
    matrix: &Matrix,
    leader: usize,
    origin: usize,
    accept_quorum: usize,
) -> Option<u64> {
    let n = matrix.len();
    if origin >= n || leader >= n || !(1..=n).contains(&accept_quorum) {
        return None;
    }
    if origin == leader {
        return direct_path(matrix, leader, accept_quorum);
    }
    let vote = |x| {
        matrix.one_way_us(origin, leader)
            + matrix.one_way_us(leader, x)
            + matrix.one_way_us(x, origin)
    };
    let votes = (accept_quorum - 1).max(1);
    nth_smallest((0..n).filter(|&x| x != leader).map(vote), votes)
}

/// Multi-Paxos as it is often built: the leader counts the votes, then tells the origin. A round
/// trip to the leader plus the leader's own round trip to its quorum.
pub fn multipaxos_leader_tells(
    matrix: &Matrix,
    leader: usize,
    origin: usize,
    accept_quorum: usize,
) -> Option<u64> {
    let decided = direct_path(matrix, leader, accept_quorum)?;
    (origin < matrix.len()).then(|| matrix.rtt_us(origin, leader) + decided)
}

/// The mean of `latencies_us` where origin i counts `weights[i]` times, in microseconds: what an
/// average client sees if clients are spread like the weights.
///
/// `None` if the lengths differ or no weight is positive.
pub fn weighted_mean_us(latencies_us: &[u64], weights: &[u32]) -> Option<f64> {
    let (sum, total) = weighted_sum(latencies_us, weights)?;
    Some(sum as f64 / total as f64)
}

/// The weighted sum and the sum of weights, exactly.
pub(crate) fn weighted_sum(latencies_us: &[u64], weights: &[u32]) -> Option<(u128, u128)> {
    let total: u128 = weights.iter().map(|&w| u128::from(w)).sum();
    if latencies_us.len() != weights.len() || total == 0 {
        return None;
    }
    let products = latencies_us.iter().zip(weights).map(|(&l, &w)| u128::from(l) * u128::from(w));
    Some((products.sum(), total))
}

/// The `nth` smallest, counting from 1; the zeroth is no wait at all.
fn nth_smallest(times_us: impl Iterator<Item = u64>, nth: usize) -> Option<u64> {
    let Some(index) = nth.checked_sub(1) else { return Some(0) };
    let mut sorted: Vec<u64> = times_us.collect();
    sorted.sort_unstable();
    sorted.get(index).copied()
}
