//! Invariant 3 for a log. Validity: what stands in a slot was proposed by a client of the replica
//! that it names as its origin, and a name is never given to two commands.

use panchayat_consensus::wire::to_bytes;
use panchayat_consensus::{Command, ReplicaId, WallTime};
use panchayat_multipaxos::{Entry, Submission};
use rustc_hash::{FxHashMap, FxHashSet};
use xxhash_rust::xxh3::xxh3_64;

use crate::flaw::{Flaw, Invariant};
use crate::subject::Place;

/// The name of a command: whose it is and which of theirs; and up to which number its origin
/// waited for nothing any more when it was proposed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Name {
    /// Whose.
    pub origin: ReplicaId,
    /// Which.
    pub number: u64,
    /// What was settled then.
    pub floor: u64,
}

impl Name {
    /// The name of a submission.
    pub fn of(submission: &Submission) -> Self {
        let Submission { origin, number, floor, .. } = submission;
        Self { origin: *origin, number: *number, floor: *floor }
    }
}

/// A fingerprint of a command apart from its time, which leaders give.
pub fn body(command: &Command) -> u64 {
    let timeless = Command { proposed_at: WallTime(0), ..command.clone() };
    xxh3_64(&to_bytes(&timeless))
}

/// What was proposed, and under which names it went.
#[derive(Clone, Debug, Default)]
pub struct LogNames {
    proposed: FxHashSet<(ReplicaId, u64)>,
    bodies: FxHashMap<(ReplicaId, u64), u64>,
}

impl LogNames {
    /// A client of `at` proposed `command`.
    pub fn proposed(&mut self, at: Place, command: &Command) {
        self.proposed.insert((at.replica, body(command)));
    }

    /// Somebody speaks of a value.
    ///
    /// # Errors
    /// No client of its origin proposed it, or its name is another command's.
    pub fn entry(&mut self, at: Place, entry: &Entry) -> Result<(), Flaw> {
        entry.submission().map_or(Ok(()), |submission| {
            self.command(at, submission.origin, submission.number, body(&submission.command))
        })
    }

    /// `at` speaks of the command of `origin` with this number.
    ///
    /// # Errors
    /// As [`entry`](Self::entry).
    pub fn command(
        &mut self,
        at: Place,
        origin: ReplicaId,
        number: u64,
        body: u64,
    ) -> Result<(), Flaw> {
        let at = at.replica;
        if !self.proposed.contains(&(origin, body)) {
            let text = format!("{at} speaks of command {number} of {origin}, proposed by nobody");
            return Err(Flaw::general(Invariant::Validity, text));
        }
        let known = *self.bodies.entry((origin, number)).or_insert(body);
        if known != body {
            let text = format!("{at} calls a second command number {number} of {origin}");
            return Err(Flaw::general(Invariant::Validity, text));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use panchayat_consensus::Footprint;
    use std::sync::Arc;

    fn entry(origin: u8, number: u64, payload: &'static [u8]) -> Entry {
        let mut command =
            Command::new(Footprint::write(b"x"), None, bytes::Bytes::from_static(payload));
        command.proposed_at = WallTime(number);
        let command = Arc::new(command);
        Entry::Command(Submission { origin: ReplicaId(origin), number, floor: 0, command })
    }

    #[test]
    fn invented_stolen_and_renamed_commands_are_found() {
        let at = Place { replica: ReplicaId(2), incarnation: 1 };
        let mut check = LogNames::default();
        for payload in [&b"a"[..], b"b"] {
            let command =
                Command::new(Footprint::write(b"x"), None, bytes::Bytes::from_static(payload));
            check.proposed(Place { replica: ReplicaId(0), incarnation: 1 }, &command);
        }
        check.entry(at, &Entry::Nop).unwrap();
        check.entry(at, &entry(0, 1, b"a")).unwrap();
        check.entry(at, &entry(0, 1, b"b")).unwrap_err();
        check.entry(at, &entry(1, 1, b"a")).unwrap_err();
        check.entry(at, &entry(0, 2, b"c")).unwrap_err();
        check.entry(at, &entry(0, 2, b"b")).unwrap();
    }
}
