//! Invariants 8, 9 and 10 for a log. Commands execute in the order of slots, none is left out and
//! none executes twice, whatever slots it won.
//!
//! Which of two slots with the same command counts is worked out here again, from the chosen values
//! alone.

use panchayat_consensus::{Command, ReplicaId, Slot};
use rustc_hash::{FxHashMap, FxHashSet};

use super::log_names::body;
use super::log_values::LogValues;
use crate::flaw::{Flaw, Invariant};
use crate::log::instance;
use crate::subject::Place;

/// What should execute, and how far each replica is.
#[derive(Clone, Debug, Default)]
pub struct LogOrder {
    /// Whether the command of slot i+1 executes.
    fresh: Vec<bool>,
    applied: FxHashSet<(ReplicaId, u64)>,
    floors: FxHashMap<ReplicaId, u64>,
    last: FxHashMap<ReplicaId, Slot>,
    duplicates: u64,
}

impl LogOrder {
    /// Looks at what was chosen since.
    fn follow(&mut self, values: &LogValues) {
        while (self.fresh.len() as Slot) < values.chosen_upto() {
            let value = values.chosen(self.fresh.len() as Slot + 1);
            let fresh = value.and_then(|value| value.command).is_some_and(|(name, _)| {
                let floor = self.floors.entry(name.origin).or_default();
                let settled = name.number <= *floor;
                *floor = name.floor.max(*floor);
                let first = self.applied.insert((name.origin, name.number)) && !settled;
                self.duplicates += u64::from(!first);
                first
            });
            self.fresh.push(fresh);
        }
    }

    fn is_fresh(&self, slot: Slot) -> Option<bool> {
        self.fresh.get(slot.checked_sub(1)? as usize).copied()
    }

    /// `at` executes the command of `slot` now.
    ///
    /// # Errors
    /// It is not the next one, or not what was chosen.
    pub fn executing(
        &mut self,
        at: Place,
        slot: Slot,
        command: &Command,
        values: &LogValues,
    ) -> Result<(), Flaw> {
        self.follow(values);
        values.decided_upto(at, slot)?;
        let last = self.last.insert(at.replica, slot).unwrap_or(0);
        let wrong = |invariant, text: String| {
            Err(Flaw::of(invariant, instance(slot), format!("{} {text}", at.replica)))
        };
        if slot <= last {
            return wrong(Invariant::ExecutionOrder, format!("executes it after slot {last}"));
        }
        if let Some(skipped) = (last + 1..slot).find(|slot| self.is_fresh(*slot) == Some(true)) {
            return wrong(
                Invariant::ClosedDependencies,
                format!("executes it before slot {skipped}"),
            );
        }
        if self.is_fresh(slot) != Some(true) {
            return wrong(Invariant::AppliedOnce, "executes it, which is a duplicate".into());
        }
        let chosen = values.chosen(slot).and_then(|value| value.command);
        if chosen.is_none_or(|(_, chosen)| chosen != body(command)) {
            return wrong(
                Invariant::Agreement,
                format!("executes {command:?}, chosen was {chosen:?}"),
            );
        }
        Ok(())
    }

    /// The last slot that the state of `replica` contains.
    pub fn last(&self, replica: ReplicaId) -> Slot {
        self.last.get(&replica).copied().unwrap_or(0)
    }

    /// `at` goes on from a state that contains everything up to `last`, and counts everything up
    /// to `upto` as executed.
    ///
    /// # Errors
    /// Something between the two is not executed.
    pub fn thaw(
        &mut self,
        at: Place,
        last: Slot,
        upto: Slot,
        values: &LogValues,
    ) -> Result<(), Flaw> {
        self.follow(values);
        values.decided_upto(at, upto)?;
        self.last.insert(at.replica, last);
        let Some(lost) = (last + 1..=upto).find(|slot| self.is_fresh(*slot) == Some(true)) else {
            return Ok(());
        };
        let text = format!("{} counts it as executed, its state has only {last}", at.replica);
        Err(Flaw::of(Invariant::Collection, instance(lost), text))
    }

    /// How many slots hold a command that executes in another.
    pub fn duplicates(&self) -> u64 {
        self.duplicates
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invariants::{Name, Value};
    use crate::log::LogRound;
    use panchayat_consensus::{Ballot, Footprint, WallTime};

    fn at(replica: u8) -> Place {
        Place { replica: ReplicaId(replica), incarnation: 1 }
    }

    fn command(number: u64) -> Command {
        let payload = bytes::Bytes::from(vec![number as u8]);
        let mut command = Command::new(Footprint::write(b"x"), None, payload);
        command.proposed_at = WallTime(number);
        command
    }

    /// Slots 1 to 5: command 1, Nop, command 1 again, command 2, and a late one below its floor.
    fn values() -> LogValues {
        let value = |number, floor| {
            let name = Name { origin: ReplicaId(0), number, floor };
            Value { print: number, command: Some((name, body(&command(number)))) }
        };
        let nop = Value { print: 0, command: None };
        let log = [value(5, 0), nop, value(5, 0), value(9, 7), value(6, 0)];
        let mut values = LogValues::new(1, 1);
        let round = LogRound::classic(Ballot::INITIAL.next_for(ReplicaId(0)));
        for (slot, value) in (1..).zip(log) {
            values.voted(at(0), round, slot, value).unwrap();
        }
        values
    }

    #[test]
    fn every_fresh_command_executes_once_in_order() {
        let values = values();
        let mut check = LogOrder::default();
        check.executing(at(0), 1, &command(5), &values).unwrap();
        check.clone().executing(at(0), 1, &command(5), &values).unwrap_err();
        let twice = check.clone().executing(at(0), 3, &command(5), &values).unwrap_err();
        assert_eq!(twice.invariant, Invariant::AppliedOnce);
        let early = LogOrder::default().executing(at(0), 4, &command(9), &values).unwrap_err();
        assert_eq!(early.invariant, Invariant::ClosedDependencies);
        let other = check.clone().executing(at(0), 4, &command(8), &values).unwrap_err();
        assert_eq!(other.invariant, Invariant::Agreement);
        check.executing(at(0), 4, &command(9), &values).unwrap();
        check.executing(at(0), 5, &command(6), &values).unwrap_err();
        assert_eq!(check.duplicates(), 2);
    }

    #[test]
    fn an_image_that_counts_more_than_its_state_is_found() {
        let values = values();
        let mut check = LogOrder::default();
        check.thaw(at(1), 1, 3, &values).unwrap();
        check.thaw(at(1), 4, 5, &values).unwrap();
        check.thaw(at(1), 1, 4, &values).unwrap_err();
        check.thaw(at(1), 4, 6, &values).unwrap_err();
    }
}
