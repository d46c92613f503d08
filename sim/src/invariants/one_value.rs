//! Invariant 5. At most one value per (id, ballot) in Accept, on the wire and in journals.

use panchayat_consensus::{Ballot, InstanceId};
use rustc_hash::FxHashMap;

use super::Decision;
use crate::flaw::{Flaw, Invariant};
use crate::subject::Place;

/// What each ballot was used for.
#[derive(Clone, Debug, Default)]
pub struct OneValue {
    used: FxHashMap<(InstanceId, Ballot), (Decision, Place)>,
}

impl OneValue {
    /// Notes that `at` proposes or votes for `value` at `ballot`.
    ///
    /// # Errors
    /// The ballot was used for another value.
    pub fn accept(
        &mut self,
        at: Place,
        id: InstanceId,
        ballot: Ballot,
        value: &Decision,
    ) -> Result<(), Flaw> {
        let (known, by) = self.used.entry((id, ballot)).or_insert_with(|| (value.clone(), at));
        if known == value {
            return Ok(());
        }
        let text = format!(
            "{} accepts {value:?} at {ballot:?}, {} accepted {known:?} there",
            at.replica, by.replica
        );
        Err(Flaw::of(Invariant::OneValue, id, text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use panchayat_consensus::ReplicaId;

    #[test]
    fn a_ballot_serves_one_value() {
        let mut check = OneValue::default();
        let at = Place { replica: ReplicaId(0), incarnation: 1 };
        let id = InstanceId::new(ReplicaId(0), 1);
        let first = Ballot::INITIAL.next_for(ReplicaId(1));
        let value = |nop| Decision { nop, deps: [1, 0, 0].into_iter().collect() };
        check.accept(at, id, first, &value(false)).unwrap();
        check.accept(at, id, first, &value(false)).unwrap();
        check.accept(at, id, first.next_for(ReplicaId(1)), &value(true)).unwrap();
        assert!(check.accept(at, id, first, &value(true)).is_err());
    }
}
