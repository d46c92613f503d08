//! Invariant 6. A commit has the quorum it claims.
//!
//! A fast commit of (c, D) needs n−e durable pre-accepts whose dependencies are exactly those the
//! coordinator sent, and from then on every Accept and Commit of that id carries (c, D). Any other
//! commit needs n−f durable accepts of its value at its ballot.

use panchayat_consensus::{Ballot, InstanceId, Quorums, ReplicaId, ReplicaSet};
use panchayat_epaxos::Deps;
use rustc_hash::FxHashMap;

use super::Decision;
use crate::flaw::{Flaw, Invariant};
use crate::subject::Place;

#[derive(Clone, Debug, Default)]
struct Votes {
    /// Who durably pre-accepted with the coordinator's dependencies unchanged, and which.
    unchanged: Vec<(Deps, ReplicaSet)>,
    /// Who durably accepted at which ballot.
    accepted: Vec<(Ballot, Decision, ReplicaSet)>,
    /// Values proposed above ballot zero.
    proposed: Vec<(Ballot, Decision)>,
    fast: Option<Decision>,
    committed: bool,
}

/// The durable votes of every instance.
#[derive(Clone, Debug)]
pub struct CommitEvidence {
    quorums: Quorums,
    votes: FxHashMap<InstanceId, Votes>,
    fast: u64,
    slow: u64,
}

impl CommitEvidence {
    /// No votes yet.
    pub fn new(quorums: Quorums) -> Self {
        Self { quorums, votes: FxHashMap::default(), fast: 0, slow: 0 }
    }

    /// `replica` durably pre-accepted `id`.
    pub fn pre_accepted(&mut self, replica: ReplicaId, id: InstanceId, init: &Deps, deps: &Deps) {
        if init != deps {
            return;
        }
        let unchanged = &mut self.votes.entry(id).or_default().unchanged;
        match unchanged.iter_mut().find(|(known, _)| known == deps) {
            Some((_, who)) => _ = who.insert(replica),
            None => unchanged.push((deps.clone(), ReplicaSet::only(replica))),
        }
    }

    /// `replica` durably accepted `value` for `id` at `ballot`.
    pub fn accepted(
        &mut self,
        replica: ReplicaId,
        id: InstanceId,
        ballot: Ballot,
        value: &Decision,
    ) {
        let accepted = &mut self.votes.entry(id).or_default().accepted;
        match accepted.iter_mut().find(|(b, v, _)| *b == ballot && v == value) {
            Some((_, _, who)) => _ = who.insert(replica),
            None => accepted.push((ballot, value.clone(), ReplicaSet::only(replica))),
        }
    }

    /// Someone proposes or votes for `value` at `ballot`.
    ///
    /// # Errors
    /// The instance was committed on the fast path as something else.
    pub fn proposed(
        &mut self,
        at: Place,
        id: InstanceId,
        ballot: Ballot,
        value: &Decision,
    ) -> Result<(), Flaw> {
        let votes = self.votes.entry(id).or_default();
        if let Some(fast) = &votes.fast
            && fast != value
        {
            let text = format!(
                "{} accepts {value:?} at {ballot:?} after a fast commit of {fast:?}",
                at.replica
            );
            return Err(Flaw::of(Invariant::CommitEvidence, id, text));
        }
        if !votes.proposed.iter().any(|(b, v)| *b == ballot && v == value) {
            votes.proposed.push((ballot, value.clone()));
        }
        Ok(())
    }

    /// `at` commits `value` for `id` at `ballot`. Until a commit is durable it must show its quorum;
    /// later ones are bound by agreement. A fast commit binds others only once it is `durable`:
    /// before, a crash of its coordinator may take it back, and nobody has heard of it.
    ///
    /// # Errors
    /// There is no such quorum, or a fast commit contradicts what was proposed.
    pub fn committed(
        &mut self,
        at: Place,
        id: InstanceId,
        ballot: Ballot,
        value: &Decision,
        durable: bool,
    ) -> Result<(), Flaw> {
        let votes = self.votes.entry(id).or_default();
        if votes.committed {
            return Ok(());
        }
        let voters = votes
            .accepted
            .iter()
            .filter(|(b, v, _)| *b == ballot && v == value)
            .map(|(_, _, who)| who.len())
            .max()
            .unwrap_or(0);
        if voters >= self.quorums.slow() {
            votes.committed |= durable;
            self.slow += u64::from(durable);
            return Ok(());
        }
        let unchanged = votes
            .unchanged
            .iter()
            .filter(|(deps, _)| *deps == value.deps)
            .map(|(_, who)| who.len())
            .max()
            .unwrap_or(0);
        let own_lane = at.replica == id.replica && ballot.is_initial() && !value.nop;
        if !own_lane || unchanged < self.quorums.fast() {
            let text = format!(
                "{} commits {value:?} at {ballot:?} with {voters} durable accepts (needs {}) and \
                 {unchanged} unchanged durable pre-accepts (needs {} and ballot zero)",
                at.replica,
                self.quorums.slow(),
                self.quorums.fast()
            );
            return Err(Flaw::of(Invariant::CommitEvidence, id, text));
        }
        if durable {
            votes.committed = true;
            votes.fast = Some(value.clone());
            self.fast += 1;
        }
        match votes.proposed.iter().find(|(_, proposed)| proposed != value) {
            None => Ok(()),
            Some((b, proposed)) => {
                let text = format!(
                    "{} commits {value:?} on the fast path though {proposed:?} was proposed at \
                     {b:?}",
                    at.replica
                );
                Err(Flaw::of(Invariant::CommitEvidence, id, text))
            }
        }
    }

    /// Instances first committed on the fast path, and by accepts.
    pub fn counts(&self) -> (u64, u64) {
        (self.fast, self.slow)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LANE: ReplicaId = ReplicaId(0);

    fn id() -> InstanceId {
        InstanceId::new(LANE, 1)
    }

    fn at(replica: u8) -> Place {
        Place { replica: ReplicaId(replica), incarnation: 1 }
    }

    fn deps(last: u64) -> Deps {
        [0, last, 0, 0, 0].into_iter().collect()
    }

    fn value(last: u64) -> Decision {
        Decision { nop: false, deps: deps(last) }
    }

    fn check() -> CommitEvidence {
        CommitEvidence::new(Quorums::for_replicas(5).unwrap())
    }

    fn pre_accepts(check: &mut CommitEvidence, replicas: u8) {
        (0..replicas).for_each(|r| check.pre_accepted(ReplicaId(r), id(), &deps(1), &deps(1)));
    }

    #[test]
    fn a_fast_commit_needs_its_quorum_of_unchanged_votes() {
        let mut few = check();
        pre_accepts(&mut few, 2);
        few.pre_accepted(ReplicaId(3), id(), &deps(1), &deps(2));
        assert!(few.clone().committed(at(0), id(), Ballot::INITIAL, &value(1), true).is_err());
        pre_accepts(&mut few, 3);
        assert!(few.clone().committed(at(1), id(), Ballot::INITIAL, &value(1), true).is_err());
        assert!(few.clone().committed(at(0), id(), Ballot::INITIAL, &value(2), true).is_err());
        few.committed(at(0), id(), Ballot::INITIAL, &value(1), true).unwrap();
    }

    #[test]
    fn nothing_else_may_be_proposed_after_or_before_a_fast_commit() {
        let ballot = Ballot::INITIAL.next_for(ReplicaId(2));
        let nop = Decision { nop: true, deps: deps(0) };
        let mut after = check();
        pre_accepts(&mut after, 3);
        let mut before = after.clone();
        after.committed(at(0), id(), Ballot::INITIAL, &value(1), true).unwrap();
        after.proposed(at(2), id(), ballot, &value(1)).unwrap();
        assert!(after.proposed(at(2), id(), ballot, &nop).is_err());
        let mut forgotten = before.clone();
        forgotten.committed(at(0), id(), Ballot::INITIAL, &value(1), false).unwrap();
        forgotten.proposed(at(2), id(), ballot, &nop).unwrap();
        before.proposed(at(2), id(), ballot, &nop).unwrap();
        assert!(before.committed(at(0), id(), Ballot::INITIAL, &value(1), true).is_err());
    }

    #[test]
    fn a_slow_commit_needs_its_quorum_at_its_ballot() {
        let (first, second) = (Ballot::INITIAL, Ballot::INITIAL.next_for(ReplicaId(2)));
        let mut check = check();
        check.accepted(ReplicaId(0), id(), first, &value(1));
        check.accepted(ReplicaId(1), id(), first, &value(1));
        check.accepted(ReplicaId(1), id(), second, &value(1));
        check.accepted(ReplicaId(2), id(), second, &value(1));
        assert!(check.clone().committed(at(2), id(), second, &value(1), true).is_err());
        check.accepted(ReplicaId(3), id(), second, &value(1));
        assert!(check.clone().committed(at(2), id(), second, &value(2), true).is_err());
        check.committed(at(2), id(), second, &value(1), true).unwrap();
        assert_eq!(check.counts(), (0, 1));
    }
}
