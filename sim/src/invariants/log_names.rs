//! Invariant 3 for a log. Validity: what stands in a slot was proposed by a client of the replica
//! that it names as its origin, and a name is never given to two commands.

use panchayat_consensus::wire::to_bytes;
use panchayat_consensus::{Command, ReplicaId, WallTime};
use rustc_hash::{FxHashMap, FxHashSet};
use xxhash_rust::xxh3::xxh3_64;

use super::log_values::Value;
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

    /// A value is written down. Its name is not given yet: it may be lost, and everything with it that
    /// says which names were given.
    ///
    /// # Errors
    /// No client of its origin proposed it.
    pub fn written(&self, at: Place, value: Value) -> Result<(), Flaw> {
        value.command.map_or(Ok(()), |(name, body)| {
            self.submitted(at.replica, name.origin, name.number, body)
        })
    }

    /// Somebody speaks of a value, in a message or in what is durable.
    ///
    /// # Errors
    /// No client of its origin proposed it, or its name is another command's.
    pub fn value(&mut self, at: Place, value: Value) -> Result<(), Flaw> {
        value
            .command
            .map_or(Ok(()), |(name, body)| self.command(at, name.origin, name.number, body))
    }

    /// `at` speaks of the command of `origin` with this number.
    ///
    /// # Errors
    /// As [`value`](Self::value).
    pub fn command(
        &mut self,
        at: Place,
        origin: ReplicaId,
        number: u64,
        body: u64,
    ) -> Result<(), Flaw> {
        let at = at.replica;
        self.submitted(at, origin, number, body)?;
        let known = *self.bodies.entry((origin, number)).or_insert(body);
        if known != body {
            let text = format!("{at} calls a second command number {number} of {origin}");
            return Err(Flaw::general(Invariant::Validity, text));
        }
        Ok(())
    }

    fn submitted(
        &self,
        at: ReplicaId,
        origin: ReplicaId,
        number: u64,
        body: u64,
    ) -> Result<(), Flaw> {
        if self.proposed.contains(&(origin, body)) {
            return Ok(());
        }
        let text = format!("{at} speaks of command {number} of {origin}, proposed by nobody");
        Err(Flaw::general(Invariant::Validity, text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use panchayat_consensus::Footprint;

    fn value(origin: u8, number: u64, payload: &'static [u8]) -> Value {
        let mut command =
            Command::new(Footprint::write(b"x"), None, bytes::Bytes::from_static(payload));
        command.proposed_at = WallTime(number);
        let name = Name { origin: ReplicaId(origin), number, floor: 0 };
        Value { print: number, command: Some((name, body(&command))) }
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
        check.value(at, Value { print: 0, command: None }).unwrap();
        check.value(at, value(0, 1, b"a")).unwrap();
        check.value(at, value(0, 1, b"b")).unwrap_err();
        check.value(at, value(1, 1, b"a")).unwrap_err();
        check.value(at, value(0, 2, b"c")).unwrap_err();
        check.value(at, value(0, 2, b"b")).unwrap();
        // What is written may be lost, and another be given its name; what nobody proposed is wrong
        // wherever it stands.
        check.written(at, value(0, 2, b"a")).unwrap();
        check.written(at, value(0, 3, b"c")).unwrap_err();
        check.value(at, value(0, 2, b"a")).unwrap_err();
    }
}
