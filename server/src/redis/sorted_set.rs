//! What a sorted set is: members with scores, and their order.

use std::cmp::Ordering;

use bytes::Bytes;

use super::members::Members;
use super::sequence::Sequence;

/// A member in the order of scores; equal scores are in the order of names.
#[derive(Clone, Debug)]
pub(super) struct Ranked {
    pub(super) score: f64,
    pub(super) member: Bytes,
}

/// Members by name and by rank.
#[derive(Clone, Debug, Default)]
pub(super) struct SortedSet {
    scores: Members<f64>,
    order: Sequence<Ranked>,
}

impl Ranked {
    fn cmp(&self, score: f64, member: &[u8]) -> Ordering {
        // Scores are never NaN.
        let by_score = self.score.partial_cmp(&score).unwrap_or(Ordering::Equal);
        by_score.then_with(|| self.member[..].cmp(member))
    }
}

impl SortedSet {
    pub(super) fn len(&self) -> usize {
        self.scores.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.scores.is_empty()
    }

    pub(super) fn print(&self) -> u64 {
        self.scores.print()
    }

    pub(super) fn scores(&self) -> &Members<f64> {
        &self.scores
    }

    pub(super) fn score(&self, member: &[u8]) -> Option<f64> {
        self.scores.get(member).copied()
    }

    /// Gives `member` a score, and gives back the one it had.
    pub(super) fn insert(&mut self, member: &[u8], score: f64) -> Option<f64> {
        debug_assert!(!score.is_nan());
        let old = self.scores.insert(member, score);
        let name = match old {
            Some(old) => match self.order.remove(self.place(old, member)) {
                Some(ranked) => ranked.member,
                None => Bytes::copy_from_slice(member),
            },
            None => Bytes::copy_from_slice(member),
        };
        self.order.insert(self.place(score, member), Ranked { score, member: name });
        old
    }

    pub(super) fn remove(&mut self, member: &[u8]) -> Option<f64> {
        let score = self.scores.remove(member)?;
        self.order.remove(self.place(score, member));
        Some(score)
    }

    /// How many are before `member`.
    pub(super) fn rank(&self, member: &[u8]) -> Option<usize> {
        Some(self.place(self.score(member)?, member))
    }

    /// How many there are from the first on for which `before` is true, if it is false for all that
    /// follow.
    pub(super) fn count_before(&self, before: impl Fn(&Ranked) -> bool) -> usize {
        self.order.partition_point(before)
    }

    pub(super) fn at(&self, rank: usize) -> Option<&Ranked> {
        self.order.get(rank)
    }

    pub(super) fn iter_from(&self, rank: usize) -> impl Iterator<Item = &Ranked> {
        self.order.iter_from(rank)
    }

    pub(super) fn iter_back_from(&self, rank: usize) -> impl Iterator<Item = &Ranked> {
        self.order.iter_back_from(rank)
    }

    /// Puts back a row of a snapshot. False if it is there already, or makes no sense.
    pub(super) fn restored(&mut self, member: Bytes, score: f64, came: u64) -> bool {
        if score.is_nan() || !self.scores.restored(member.clone(), score, came) {
            return false;
        }
        self.order.insert(self.place(score, &member), Ranked { score, member });
        true
    }

    pub(super) fn set_came(&mut self, came: u64) -> bool {
        self.scores.set_came(came)
    }

    fn place(&self, score: f64, member: &[u8]) -> usize {
        self.order.partition_point(|ranked| ranked.cmp(score, member) == Ordering::Less)
    }
}
