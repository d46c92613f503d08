//! Invariant 12 for a log. A slot is collected once every member durably knows its outcome, or when
//! so many are kept that a member which lacks it is better served by a state.

use panchayat_consensus::{ReplicaId, Slot};
use rustc_hash::FxHashMap;

use super::log_promises::LogPromises;
use crate::flaw::{Flaw, Invariant};
use crate::log::instance;
use crate::subject::Place;

/// What each replica has collected.
#[derive(Clone, Debug)]
pub struct LogCollection {
    n: usize,
    retained_max: u64,
    collected: FxHashMap<ReplicaId, Slot>,
    for_room: u64,
}

impl LogCollection {
    /// Nothing collected among `n`, who keep so many executed slots.
    pub fn new(n: usize, retained_max: u64) -> Self {
        Self { n, retained_max, collected: FxHashMap::default(), for_room: 0 }
    }

    /// `at` has executed everything up to `executed` and collected everything up to `upto`.
    ///
    /// # Errors
    /// A member lacks something of it that there was room for.
    pub fn collected(
        &mut self,
        at: Place,
        executed: Slot,
        upto: Slot,
        promises: &LogPromises,
    ) -> Result<(), Flaw> {
        let before = self.collected.insert(at.replica, upto).unwrap_or(0);
        for slot in before + 1..=upto {
            let members = (0..self.n).map(|seat| ReplicaId(seat as u8));
            let lacks = |seat: &ReplicaId| {
                let own = *seat == at.replica && promises.settled(*seat) >= slot;
                !own && promises.kept(*seat) < slot
            };
            let Some(lacking) = members.into_iter().find(lacks) else { continue };
            if executed < slot + self.retained_max {
                let text = format!(
                    "{} collects it having executed upto {executed}, and {lacking} does not \
                     durably know its outcome",
                    at.replica
                );
                return Err(Flaw::of(Invariant::Collection, instance(slot), text));
            }
            self.for_room += 1;
        }
        Ok(())
    }

    /// `replica` goes on from what it held earlier, or from what another held.
    pub fn begin_at(&mut self, replica: ReplicaId, upto: Slot) {
        self.collected.insert(replica, upto);
    }

    /// How many slots were collected though a member lacked them.
    pub fn for_room(&self) -> u64 {
        self.for_room
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invariants::Value;
    use crate::log::Fact;

    #[test]
    fn what_a_member_lacks_goes_only_when_there_are_too_many() {
        let at = Place { replica: ReplicaId(0), incarnation: 1 };
        let mut promises = LogPromises::default();
        let value = Value { print: 1, command: None };
        let learned = Fact::Learned { values: (1..=3).map(|slot| (slot, value)).collect() };
        promises.durable(ReplicaId(0), &learned);
        promises.durable(ReplicaId(1), &learned);
        let mut check = LogCollection::new(3, 2);
        check.clone().collected(at, 2, 1, &promises).unwrap_err();
        check.clone().collected(at, 3, 1, &promises).unwrap();
        check.clone().collected(at, 3, 2, &promises).unwrap_err();
        promises.durable(ReplicaId(2), &learned);
        check.collected(at, 3, 3, &promises).unwrap();
    }
}
