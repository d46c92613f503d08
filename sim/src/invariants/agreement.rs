//! Invariant 1. Agreement: one (value, dependencies) per committed id, everywhere, across restarts.

use panchayat_consensus::InstanceId;
use panchayat_epaxos::Deps;
use rustc_hash::FxHashMap;

use crate::flaw::{Flaw, Invariant};
use crate::subject::Place;

/// What an instance was decided as. That a command is the submitted one is validity's business.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Nop, or the submitted command.
    pub nop: bool,
    /// The dependencies.
    pub deps: Deps,
}

/// Every decision seen, and where first.
#[derive(Clone, Debug, Default)]
pub struct Agreement {
    decided: FxHashMap<InstanceId, (Decision, Place)>,
}

impl Agreement {
    /// Notes that `at` holds `id` for decided; true if nobody did before.
    ///
    /// # Errors
    /// It was decided differently.
    pub fn decided(
        &mut self,
        at: Place,
        id: InstanceId,
        decision: &Decision,
    ) -> Result<bool, Flaw> {
        match self.decided.get(&id) {
            None => {
                self.decided.insert(id, (decision.clone(), at));
                Ok(true)
            }
            Some((known, _)) if known == decision => Ok(false),
            Some((known, by)) => {
                let text = format!(
                    "{} decides {decision:?}, {} had decided {known:?}",
                    at.replica, by.replica
                );
                Err(Flaw::of(Invariant::Agreement, id, text))
            }
        }
    }

    /// What `id` was decided as.
    pub fn get(&self, id: InstanceId) -> Option<&Decision> {
        self.decided.get(&id).map(|(decision, _)| decision)
    }

    /// How many instances are decided.
    pub fn len(&self) -> usize {
        self.decided.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.decided.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use panchayat_consensus::ReplicaId;

    #[test]
    fn a_second_decision_must_be_the_first_one_again() {
        let mut check = Agreement::default();
        let at = |replica| Place { replica: ReplicaId(replica), incarnation: 1 };
        let id = InstanceId::new(ReplicaId(0), 1);
        let decision = |nop, last| Decision { nop, deps: [0, last, 0].into_iter().collect() };
        assert_eq!(check.decided(at(0), id, &decision(false, 3)), Ok(true));
        assert_eq!(check.decided(at(1), id, &decision(false, 3)), Ok(false));
        for other in [decision(true, 3), decision(false, 4)] {
            let flaw = check.decided(at(2), id, &other).unwrap_err();
            assert_eq!((flaw.invariant, flaw.instance), (Invariant::Agreement, Some(id)));
        }
    }
}
