//! A ballot serves one attempt of one run of its owner: after a restart a replica never goes on at
//! a ballot that it used before, ballot zero of its own lane included.

use panchayat_consensus::{Ballot, InstanceId};
use rustc_hash::FxHashMap;

use crate::flaw::{Flaw, Invariant};
use crate::subject::Place;

/// Which run of its owner used each ballot.
#[derive(Clone, Debug, Default)]
pub struct BallotReuse {
    users: FxHashMap<(InstanceId, Ballot), Place>,
}

impl BallotReuse {
    /// Notes that `at` leads an attempt for `id` at `ballot`: it asks others for votes or reports.
    ///
    /// # Errors
    /// The ballot is another's, or an earlier run used it.
    pub fn leads(&mut self, at: Place, id: InstanceId, ballot: Ballot) -> Result<(), Flaw> {
        let owner = ballot.owner().unwrap_or(id.replica);
        if owner != at.replica {
            let text = format!("{} leads at {ballot:?}, which belongs to {owner}", at.replica);
            return Err(Flaw::of(Invariant::BallotReuse, id, text));
        }
        let user = *self.users.entry((id, ballot)).or_insert(at);
        if user == at {
            return Ok(());
        }
        let text = format!(
            "{} goes on at {ballot:?} in its run {}, which its run {} used",
            at.replica, at.incarnation, user.incarnation
        );
        Err(Flaw::of(Invariant::BallotReuse, id, text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use panchayat_consensus::ReplicaId;

    #[test]
    fn neither_another_run_nor_another_replica_may_use_a_ballot() {
        let run = |replica, incarnation| Place { replica: ReplicaId(replica), incarnation };
        let id = InstanceId::new(ReplicaId(0), 4);
        let mut check = BallotReuse::default();
        check.leads(run(0, 1), id, Ballot::INITIAL).unwrap();
        check.leads(run(0, 1), id, Ballot::INITIAL).unwrap();
        assert!(check.leads(run(0, 2), id, Ballot::INITIAL).is_err());
        assert!(check.leads(run(1, 1), id, Ballot::INITIAL).is_err());
        let ballot = Ballot::INITIAL.next_for(ReplicaId(1));
        check.leads(run(1, 1), id, ballot).unwrap();
        assert!(check.leads(run(1, 2), id, ballot).is_err());
        check.leads(run(1, 2), id, ballot.next_for(ReplicaId(1))).unwrap();
    }
}
