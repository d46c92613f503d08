//! Quorum sizes, computed and checked.

use thiserror::Error;

use crate::ids::REPLICAS_MAX;

/// The thresholds of EPaxos*: n replicas of which at most f crash; the fast path works while at
/// most e are unreachable.
///
/// Source: Ryabinin, Gotsman, Sutra, *Making Democracy Work* (OPODIS 2025): n ≥ max(2e+f−1, 2f+1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Quorums {
    n: usize,
    f: usize,
    e: usize,
}

/// Why thresholds were refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum QuorumError {
    /// Fewer than three replicas tolerate no crash; more than the limit do not fit the formats.
    #[error("{0} replicas: a group has 3 to {REPLICAS_MAX}")]
    ReplicaCount(usize),
    /// e must lie in 1..=f.
    #[error("e = {e} with f = {f}: 1 ≤ e ≤ f is needed")]
    FastFailures {
        /// The failures to tolerate.
        f: usize,
        /// The failures the fast path was to tolerate.
        e: usize,
    },
    /// n ≥ max(2e+f−1, 2f+1) does not hold.
    #[error("n = {n} is too few for f = {f}, e = {e}: at least {needed} are needed")]
    TooFewReplicas {
        /// The replicas there are.
        n: usize,
        /// The failures to tolerate.
        f: usize,
        /// The failures the fast path was to tolerate.
        e: usize,
        /// max(2e+f−1, 2f+1).
        needed: usize,
    },
}

impl Quorums {
    /// The best thresholds for `n` replicas: the largest f, then the largest e.
    ///
    /// # Errors
    /// [`QuorumError::ReplicaCount`].
    pub fn for_replicas(n: usize) -> Result<Self, QuorumError> {
        if !(3..=REPLICAS_MAX).contains(&n) {
            return Err(QuorumError::ReplicaCount(n));
        }
        let f = (n - 1) / 2;
        let e = ((n + 1 - f) / 2).clamp(1, f);
        Self::new(n, f, e)
    }

    /// Thresholds of the caller's choice.
    ///
    /// # Errors
    /// A [`QuorumError`] that names the rule broken.
    pub fn new(n: usize, f: usize, e: usize) -> Result<Self, QuorumError> {
        if !(3..=REPLICAS_MAX).contains(&n) {
            return Err(QuorumError::ReplicaCount(n));
        }
        if e < 1 || e > f {
            return Err(QuorumError::FastFailures { f, e });
        }
        let needed = (2 * e + f - 1).max(2 * f + 1);
        if n < needed {
            return Err(QuorumError::TooFewReplicas { n, f, e, needed });
        }
        Ok(Self { n, f, e })
    }

    /// How many replicas there are.
    pub const fn n(self) -> usize {
        self.n
    }

    /// How many may crash.
    pub const fn f(self) -> usize {
        self.f
    }

    /// How many may be unreachable while the fast path still works.
    pub const fn e(self) -> usize {
        self.e
    }

    /// n−f, the coordinator included.
    pub const fn slow(self) -> usize {
        self.n - self.f
    }

    /// n−e, the coordinator included.
    pub const fn fast(self) -> usize {
        self.n - self.e
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_thresholds() {
        for (n, f, e, slow, fast) in
            [(3, 1, 1, 2, 2), (4, 1, 1, 3, 3), (5, 2, 2, 3, 3), (7, 3, 2, 4, 5), (9, 4, 3, 5, 6)]
        {
            let q = Quorums::for_replicas(n).unwrap();
            assert_eq!((q.f(), q.e(), q.slow(), q.fast()), (f, e, slow, fast), "n = {n}");
        }
    }

    #[test]
    fn every_default_satisfies_the_rule_and_no_larger_e_does() {
        for n in 3..=REPLICAS_MAX {
            let q = Quorums::for_replicas(n).unwrap();
            assert!(q.e() == q.f() || Quorums::new(n, q.f(), q.e() + 1).is_err(), "n = {n}");
        }
    }

    #[test]
    fn wrong_thresholds_are_refused() {
        assert_eq!(Quorums::for_replicas(2), Err(QuorumError::ReplicaCount(2)));
        assert_eq!(Quorums::new(5, 2, 0), Err(QuorumError::FastFailures { f: 2, e: 0 }));
        assert_eq!(Quorums::new(5, 1, 2), Err(QuorumError::FastFailures { f: 1, e: 2 }));
        assert_eq!(
            Quorums::new(7, 3, 3),
            Err(QuorumError::TooFewReplicas { n: 7, f: 3, e: 3, needed: 8 })
        );
    }
}
