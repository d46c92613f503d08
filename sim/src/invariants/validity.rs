//! Invariant 3. Validity: an instance's command is the one submitted under its id, by a client of
//! the lane's replica; an id is never reused.

use panchayat_consensus::{Command, InstanceId, ReplicaId};
use rustc_hash::{FxHashMap, FxHashSet};
use xxhash_rust::xxh3::xxh3_64;

use crate::flaw::{Flaw, Invariant};
use crate::subject::Place;

/// What was submitted.
#[derive(Clone, Debug, Default)]
pub struct Validity {
    proposed: FxHashSet<(ReplicaId, u64)>,
    submitted: FxHashMap<InstanceId, (Command, Place)>,
}

impl Validity {
    /// A client of `at` proposed `command`.
    pub fn proposed(&mut self, at: Place, command: &Command) {
        self.proposed.insert((at.replica, xxh3_64(&command.payload)));
    }

    /// The lane's replica submitted `command` under `id`: its record of it is durable, or its
    /// message left. True if that is news.
    ///
    /// # Errors
    /// Another command was submitted under that id, or no client ever proposed it.
    pub fn submitted(
        &mut self,
        at: Place,
        id: InstanceId,
        command: &Command,
    ) -> Result<bool, Flaw> {
        if let Some((known, _)) = self.submitted.get(&id) {
            return self.same(at, id, known, command).map(|()| false);
        }
        if !self.proposed.contains(&(id.replica, xxh3_64(&command.payload))) {
            let text = format!("{} submits {command:?}, which no client proposed", at.replica);
            return Err(Flaw::of(Invariant::Validity, id, text));
        }
        self.submitted.insert(id, (command.clone(), at));
        Ok(true)
    }

    /// Someone speaks of `command` as the one of `id`.
    ///
    /// # Errors
    /// It is another one, or nothing was submitted under that id.
    pub fn spoken_of(&self, at: Place, id: InstanceId, command: &Command) -> Result<(), Flaw> {
        match self.submitted.get(&id) {
            Some((known, _)) => self.same(at, id, known, command),
            None => {
                let text = format!("{} speaks of {command:?}, nothing was submitted", at.replica);
                Err(Flaw::of(Invariant::Validity, id, text))
            }
        }
    }

    /// The command submitted under `id`.
    pub fn get(&self, id: InstanceId) -> Option<&Command> {
        self.submitted.get(&id).map(|(command, _)| command)
    }

    fn same(
        &self,
        at: Place,
        id: InstanceId,
        known: &Command,
        command: &Command,
    ) -> Result<(), Flaw> {
        if known == command {
            return Ok(());
        }
        let text = format!(
            "{}: {command:?} {:?}, but {known:?} {:?} was submitted",
            at.replica, command.payload, known.payload
        );
        Err(Flaw::of(Invariant::Validity, id, text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use panchayat_consensus::{Footprint, WallTime};

    #[test]
    fn strangers_substitutes_and_reuse_are_found() {
        let at = Place { replica: ReplicaId(0), incarnation: 1 };
        let id = InstanceId::new(ReplicaId(0), 1);
        let command = |payload: &'static [u8]| Command {
            footprint: Footprint::write(b"x"),
            proposed_at: WallTime(1),
            request: None,
            payload: bytes::Bytes::from_static(payload),
        };
        let mut check = Validity::default();
        assert!(check.spoken_of(at, id, &command(b"a")).is_err());
        assert!(check.submitted(at, id, &command(b"a")).is_err());
        check.proposed(at, &command(b"a"));
        check.proposed(at, &command(b"b"));
        assert_eq!(check.submitted(at, id, &command(b"a")), Ok(true));
        assert_eq!(check.submitted(at, id, &command(b"a")), Ok(false));
        assert!(check.submitted(at, id, &command(b"b")).is_err());
        assert!(check.spoken_of(at, id, &command(b"b")).is_err());
        assert!(check.spoken_of(at, id, &command(b"a")).is_ok());
        // Proposed at replica 0 does not mean proposed at replica 1.
        let foreign = InstanceId::new(ReplicaId(1), 1);
        assert!(check.submitted(at, foreign, &command(b"b")).is_err());
    }
}
