//! Flexible quorums: those of the two phases must meet, those of one phase need not.
//!
//! Source: Howard, Malkhi, Spiegelman, *Flexible Paxos: Quorum Intersection Revisited* (2016).

use thiserror::Error;

/// How many replicas must promise (`q1`) and how many must accept (`q2`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FlexibleQuorums {
    n: usize,
    q1: usize,
    q2: usize,
}

/// Why quorum sizes were refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum QuorumError {
    /// A quorum is empty or larger than the group.
    #[error("q1 = {q1}, q2 = {q2} of n = {n}: each must be 1 to n")]
    Size {
        /// The replicas there are.
        n: usize,
        /// The first phase's quorum.
        q1: usize,
        /// The second phase's quorum.
        q2: usize,
    },
    /// A new leader could miss what was accepted.
    #[error("q1 = {q1} and q2 = {q2} need not meet among n = {n}: q1 + q2 > n is needed")]
    Disjoint {
        /// The replicas there are.
        n: usize,
        /// The first phase's quorum.
        q1: usize,
        /// The second phase's quorum.
        q2: usize,
    },
}

impl FlexibleQuorums {
    /// A majority for both phases.
    ///
    /// # Errors
    /// [`QuorumError::Size`] if `n` is 0.
    pub fn majorities(n: usize) -> Result<Self, QuorumError> {
        Self::new(n, n / 2 + 1, n / 2 + 1)
    }

    /// Sizes of the caller's choice.
    ///
    /// # Errors
    /// [`QuorumError`] unless q1 + q2 > n.
    pub fn new(n: usize, q1: usize, q2: usize) -> Result<Self, QuorumError> {
        if !(1..=n).contains(&q1) || !(1..=n).contains(&q2) {
            return Err(QuorumError::Size { n, q1, q2 });
        }
        if q1 + q2 <= n {
            return Err(QuorumError::Disjoint { n, q1, q2 });
        }
        Ok(Self { n, q1, q2 })
    }

    /// How many replicas there are.
    pub const fn n(self) -> usize {
        self.n
    }

    /// How many must promise before a leader may propose.
    pub const fn q1(self) -> usize {
        self.q1
    }

    /// How many must accept before a value is chosen.
    pub const fn q2(self) -> usize {
        self.q2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_the_meeting_quorums_are_accepted() {
        for n in 1..=7usize {
            for q1 in 1..=n {
                for q2 in 1..=n {
                    let sets = |size: usize| {
                        (0u32..1 << n).filter(move |set| set.count_ones() as usize == size)
                    };
                    let meet = sets(q1).all(|a| sets(q2).all(|b| a & b != 0));
                    assert_eq!(FlexibleQuorums::new(n, q1, q2).is_ok(), meet, "{n} {q1} {q2}");
                }
            }
        }
    }

    #[test]
    fn sizes_outside_the_group_are_refused() {
        assert_eq!(FlexibleQuorums::new(3, 0, 3), Err(QuorumError::Size { n: 3, q1: 0, q2: 3 }));
        assert_eq!(FlexibleQuorums::new(3, 4, 1), Err(QuorumError::Size { n: 3, q1: 4, q2: 1 }));
        assert!(FlexibleQuorums::majorities(0).is_err());
        assert_eq!(FlexibleQuorums::majorities(5).map(|q| (q.q1(), q.q2())), Ok((3, 3)));
    }
}
