//! Which value a coordinator may propose in a slot, by the votes of a quorum.
//!
//! Lamport's rule O4 with quorums of free sizes: look at the highest round k in which anybody heard
//! voted. Was it classic, its value; was it fast, the value that may have been chosen there, which
//! at most one can; failing that, any. How many votes make a value one that may have been chosen
//! depends on how many were heard: everyone who was not may have voted for it.

use crate::entry::Name;
use crate::quorums::FastQuorums;
use crate::round::Round;

/// What the votes say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Pick {
    /// This value and no other.
    Only(Name),
    /// Any. These got votes in the highest round, the most wanted first.
    Any(Vec<Name>),
}

/// Looks at `votes`, at most one of each of the `heard` members that answered, those that did not
/// vote included.
pub(crate) fn pick(
    heard: usize,
    votes: &[(Round, Name)],
    may_be_chosen: impl Fn(usize) -> usize,
) -> Pick {
    let Some(highest) = votes.iter().map(|(round, _)| *round).max() else {
        return Pick::Any(Vec::new());
    };
    let at_highest = votes.iter().filter(|(round, _)| *round == highest).map(|(_, name)| *name);
    let counted = count(at_highest);
    match counted.first() {
        Some((name, _)) if highest.classic => Pick::Only(*name),
        Some((name, votes)) if *votes >= may_be_chosen(heard) => Pick::Only(*name),
        _ => Pick::Any(counted.into_iter().map(|(name, _)| name).collect()),
    }
}

/// Whether no value can reach a fast quorum any more when so many have still to vote.
pub(crate) fn is_collision(
    quorums: FastQuorums,
    votes: impl Iterator<Item = Name>,
    outstanding: usize,
) -> bool {
    let best = count(votes).first().map_or(0, |(_, votes)| *votes);
    best + outstanding < quorums.fast()
}

/// Names with their votes, the most wanted first and then in order of names.
fn count(names: impl Iterator<Item = Name>) -> Vec<(Name, usize)> {
    let mut counted: Vec<(Name, usize)> = Vec::new();
    for name in names {
        match counted.iter_mut().find(|(known, _)| *known == name) {
            Some((_, votes)) => *votes += 1,
            None => counted.push((name, 1)),
        }
    }
    counted.sort_unstable_by_key(|(name, votes)| (std::cmp::Reverse(*votes), *name));
    counted
}

#[cfg(test)]
mod tests {
    use panchayat_consensus::{Ballot, ReplicaId};

    use super::*;

    fn name(number: u64) -> Name {
        Name::Command { origin: ReplicaId(0), number }
    }

    fn rounds() -> (Round, Round, Round) {
        let first = Ballot::INITIAL.next_for(ReplicaId(0));
        (Round::fast(first), Round::classic(first), Round::fast(first.next_for(ReplicaId(1))))
    }

    fn check(n: usize, heard: usize, votes: &[(Round, u64)], expected: Pick) {
        let quorums = FastQuorums::for_replicas(n).unwrap();
        let votes: Vec<_> = votes.iter().map(|(round, number)| (*round, name(*number))).collect();
        let found = pick(heard, &votes, |heard| quorums.may_be_chosen(heard));
        assert_eq!(found, expected, "n = {n}, {heard} heard, {votes:?}");
    }

    #[test]
    fn the_threshold_moves_with_how_many_were_heard() {
        let (k, ..) = rounds();
        let only = |number| Pick::Only(name(number));
        let any = |numbers: &[u64]| Pick::Any(numbers.iter().map(|n| name(*n)).collect());
        // n = 5, fast quorum 4: two of three, three of four, four of five.
        check(5, 3, &[(k, 7), (k, 7), (k, 1)], only(7));
        check(5, 3, &[(k, 7), (k, 7)], only(7));
        check(5, 3, &[(k, 7)], any(&[7]));
        check(5, 4, &[(k, 7), (k, 7), (k, 1), (k, 1)], any(&[1, 7]));
        check(5, 4, &[(k, 7), (k, 7), (k, 7), (k, 1)], only(7));
        check(5, 5, &[(k, 7), (k, 7), (k, 7), (k, 1), (k, 1)], any(&[7, 1]));
        // n = 4, fast quorum 3.
        check(4, 3, &[(k, 7), (k, 7), (k, 1)], only(7));
        check(4, 4, &[(k, 7), (k, 7), (k, 1), (k, 1)], any(&[1, 7]));
        // n = 3, all three: whoever differs rules a value out.
        check(3, 2, &[(k, 7), (k, 7)], only(7));
        check(3, 2, &[(k, 7), (k, 1)], any(&[1, 7]));
        check(3, 2, &[(k, 7)], any(&[7]));
        check(3, 2, &[], any(&[]));
    }

    #[test]
    fn only_the_highest_round_counts() {
        let (fast, classic, later) = rounds();
        check(5, 3, &[(fast, 7), (fast, 7), (classic, 1)], Pick::Only(name(1)));
        check(5, 3, &[(fast, 7), (fast, 7), (later, 1)], Pick::Any(vec![name(1)]));
        check(5, 3, &[(classic, 7), (later, 1), (later, 1)], Pick::Only(name(1)));
    }

    /// Every way in which n acceptors can have voted for two values or not at all, and every set
    /// of at least q1 of them: what was chosen is always found.
    #[test]
    fn what_was_chosen_is_picked_whoever_is_heard() {
        let (k, ..) = rounds();
        for n in 3..=6 {
            let quorums = FastQuorums::for_replicas(n).unwrap();
            for cast in 0..3u32.pow(n as u32) {
                let vote = |acceptor: usize| cast / 3u32.pow(acceptor as u32) % 3;
                let votes = |value| (0..n).filter(|a| vote(*a) == value).count();
                let Some(chosen) = [1, 2].into_iter().find(|v| votes(*v) >= quorums.fast()) else {
                    continue;
                };
                for set in 0u32..1 << n {
                    let heard: Vec<_> = (0..n).filter(|a| set & (1 << a) != 0).collect();
                    if heard.len() < quorums.q1() {
                        continue;
                    }
                    let cast = heard.iter().map(|a| vote(*a)).filter(|vote| *vote > 0);
                    let cast: Vec<_> = cast.map(|vote| (k, name(vote.into()))).collect();
                    let found = pick(heard.len(), &cast, |heard| quorums.may_be_chosen(heard));
                    assert_eq!(found, Pick::Only(name(chosen.into())), "n = {n}");
                }
            }
        }
    }

    #[test]
    fn a_collision_is_seen_as_soon_as_it_is_certain() {
        let three = FastQuorums::for_replicas(3).unwrap();
        assert!(is_collision(three, [name(1), name(2)].into_iter(), 1));
        assert!(!is_collision(three, [name(1), name(1)].into_iter(), 1));
        let five = FastQuorums::for_replicas(5).unwrap();
        assert!(!is_collision(five, [1, 1, 2].map(name).into_iter(), 2));
        assert!(is_collision(five, [1, 1, 2].map(name).into_iter(), 1), "one is gone");
        assert!(is_collision(five, [1, 1, 2, 2].map(name).into_iter(), 1));
    }
}
