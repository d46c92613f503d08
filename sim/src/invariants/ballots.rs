//! Invariant 4. Ballots: accepted ≤ joined, both only grow, and committed is never left.
//!
//! A restart may forget what was not durable, so a replica is then measured against its durable
//! records; see [`Ballots::restart`].

use panchayat_consensus::{Ballot, InstanceId, ReplicaId};
use panchayat_epaxos::Phase;
use rustc_hash::FxHashMap;

use crate::flaw::{Flaw, Invariant};

/// How far a replica is with an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The highest ballot joined.
    pub ballot: Ballot,
    /// Where the value was accepted.
    pub accepted_ballot: Ballot,
    /// How far it has come.
    pub phase: Phase,
}

/// The last standing seen of every instance at every replica.
#[derive(Clone, Debug, Default)]
pub struct Ballots {
    seen: FxHashMap<(ReplicaId, InstanceId), Standing>,
}

impl Ballots {
    /// Notes how far `replica` is with `id` now.
    ///
    /// # Errors
    /// It went backwards.
    pub fn stands(
        &mut self,
        replica: ReplicaId,
        id: InstanceId,
        now: Standing,
    ) -> Result<(), Flaw> {
        let wrong = |why: &str, before: Option<&Standing>| {
            let text = format!("at {replica}: {why}: {now:?}, before {before:?}");
            Err(Flaw::of(Invariant::Ballots, id, text))
        };
        let before = self.seen.get(&(replica, id));
        if now.accepted_ballot > now.ballot {
            return wrong("accepted above what it joined", before);
        }
        if let Some(then) = before {
            if now.ballot < then.ballot || now.accepted_ballot < then.accepted_ballot {
                return wrong("a ballot shrank", before);
            }
            if then.phase == Phase::Committed && now.phase != Phase::Committed {
                return wrong("committed was left", before);
            }
            if then.phase == Phase::Accepted && now.phase < Phase::Accepted {
                return wrong("a vote was forgotten", before);
            }
        }
        self.seen.insert((replica, id), now);
        Ok(())
    }

    /// `replica` has taken over a state: what it still knows of before is looked at anew.
    pub fn taken_over(&mut self, replica: ReplicaId) {
        self.seen.retain(|(other, _), _| *other != replica);
    }

    /// `replica` starts again: what it must still know is `durable`.
    pub fn restart(
        &mut self,
        replica: ReplicaId,
        durable: impl IntoIterator<Item = (InstanceId, Standing)>,
    ) {
        self.seen.retain(|(other, _), _| *other != replica);
        self.seen.extend(durable.into_iter().map(|(id, standing)| ((replica, id), standing)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ballot(round: u64) -> Ballot {
        (0..round).fold(Ballot::INITIAL, |ballot, _| ballot.next_for(ReplicaId(1)))
    }

    fn standing(joined: u64, accepted: u64, phase: Phase) -> Standing {
        Standing { ballot: ballot(joined), accepted_ballot: ballot(accepted), phase }
    }

    #[test]
    fn every_step_back_is_found() {
        let (replica, id) = (ReplicaId(0), InstanceId::new(ReplicaId(2), 7));
        let start = standing(3, 2, Phase::Committed);
        for bad in [
            standing(2, 2, Phase::Committed),
            standing(3, 1, Phase::Committed),
            standing(3, 2, Phase::Accepted),
            standing(3, 4, Phase::Committed),
        ] {
            let mut check = Ballots::default();
            check.stands(replica, id, start).unwrap();
            assert!(check.stands(replica, id, bad).is_err(), "{bad:?}");
            assert!(check.stands(ReplicaId(1), id, standing(1, 1, Phase::Accepted)).is_ok());
        }
    }

    #[test]
    fn a_restart_forgets_only_what_was_not_durable() {
        let (replica, id) = (ReplicaId(0), InstanceId::new(ReplicaId(2), 7));
        let mut check = Ballots::default();
        check.stands(replica, id, standing(5, 2, Phase::Accepted)).unwrap();
        check.restart(replica, [(id, standing(3, 2, Phase::Accepted))]);
        assert!(check.stands(replica, id, standing(2, 2, Phase::Accepted)).is_err());
        check.stands(replica, id, standing(3, 2, Phase::Accepted)).unwrap();
    }
}
