//! Quorums of Fast Paxos, and the vote count that makes a value the only possible one.
//!
//! Source: Lamport, *Fast Paxos* (2006), with sizes freed as in flexible Paxos: a quorum of phase
//! one must meet every classic quorum, and must meet any two fast quorums in a common replica.

use thiserror::Error;

/// How many replicas must promise (`q1`), accept in a fast round, and accept in a classic one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FastQuorums {
    n: usize,
    q1: usize,
    fast: usize,
    classic: usize,
}

/// Why quorum sizes were refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum QuorumError {
    /// A quorum is empty or larger than the group.
    #[error("{name} = {size} of n = {n}: it must be 1 to n")]
    Size {
        /// Which quorum.
        name: &'static str,
        /// Its size.
        size: usize,
        /// The replicas there are.
        n: usize,
    },
    /// Recovery could miss a value chosen in a classic round.
    #[error("q1 = {q1} and q2classic = {classic} of n = {n}: q1 + q2classic > n is needed")]
    Classic {
        /// The replicas there are.
        n: usize,
        /// The first phase's quorum.
        q1: usize,
        /// The classic quorum.
        classic: usize,
    },
    /// Recovery could find two values that may both have been chosen in a fast round.
    #[error("q1 = {q1} and q2fast = {fast} of n = {n}: q1 + 2 q2fast > 2 n is needed")]
    Fast {
        /// The replicas there are.
        n: usize,
        /// The first phase's quorum.
        q1: usize,
        /// The fast quorum.
        fast: usize,
    },
}

impl FastQuorums {
    /// Majorities for phase one and classic rounds, ⌈3n/4⌉ for fast ones.
    ///
    /// # Errors
    /// [`QuorumError::Size`] if `n` is 0.
    pub fn for_replicas(n: usize) -> Result<Self, QuorumError> {
        Self::new(n, n / 2 + 1, (3 * n).div_ceil(4), n / 2 + 1)
    }

    /// Sizes of the caller's choice.
    ///
    /// # Errors
    /// A [`QuorumError`] that names the rule broken.
    pub fn new(n: usize, q1: usize, fast: usize, classic: usize) -> Result<Self, QuorumError> {
        for (name, size) in [("q1", q1), ("q2fast", fast), ("q2classic", classic)] {
            if !(1..=n).contains(&size) {
                return Err(QuorumError::Size { name, size, n });
            }
        }
        if q1 + classic <= n {
            return Err(QuorumError::Classic { n, q1, classic });
        }
        if q1 + 2 * fast <= 2 * n {
            return Err(QuorumError::Fast { n, q1, fast });
        }
        Ok(Self { n, q1, fast, classic })
    }

    /// How many replicas there are.
    pub const fn n(self) -> usize {
        self.n
    }

    /// How many must promise.
    pub const fn q1(self) -> usize {
        self.q1
    }

    /// How many must accept in a fast round.
    pub const fn fast(self) -> usize {
        self.fast
    }

    /// How many must accept in a classic round.
    pub const fn classic(self) -> usize {
        self.classic
    }

    /// How many of `heard` replicas must have voted for a value in a fast round before it may have
    /// been chosen there. It moves with how many were heard: a fixed threshold is wrong.
    pub const fn may_be_chosen(self, heard: usize) -> usize {
        (heard + self.fast).saturating_sub(self.n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sets(n: usize, size: usize) -> Vec<u32> {
        (0u32..1 << n).filter(|set| set.count_ones() as usize == size).collect()
    }

    /// Whether every phase-one quorum meets every classic quorum, and every two fast quorums in a
    /// replica common to all three.
    fn meet(n: usize, q1: usize, fast: usize, classic: usize) -> bool {
        let fast = sets(n, fast);
        sets(n, q1).iter().all(|a| {
            sets(n, classic).iter().all(|b| a & b != 0)
                && fast.iter().all(|b| fast.iter().all(|c| a & b & c != 0))
        })
    }

    #[test]
    fn exactly_the_meeting_quorums_are_accepted() {
        for n in 1..=5 {
            for q1 in 1..=n {
                for fast in 1..=n {
                    for classic in 1..=n {
                        let accepted = FastQuorums::new(n, q1, fast, classic).is_ok();
                        assert_eq!(
                            accepted,
                            meet(n, q1, fast, classic),
                            "{n} {q1} {fast} {classic}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn the_defaults_meet_up_to_seven() {
        for (n, fast) in [(3, 3), (4, 3), (5, 4), (6, 5), (7, 6)] {
            let q = FastQuorums::for_replicas(n).unwrap();
            assert_eq!(q.fast(), fast);
            assert!(meet(n, q.q1(), q.fast(), q.classic()), "n = {n}");
        }
    }

    #[test]
    fn at_most_one_value_reaches_the_threshold() {
        for n in 3..=7 {
            let q = FastQuorums::for_replicas(n).unwrap();
            for heard in q.q1()..=n {
                assert!(2 * q.may_be_chosen(heard) > heard, "n = {n}, heard {heard}");
            }
        }
    }
}
