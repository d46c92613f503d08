//! Invariant 1, as far as it holds for every protocol: an instance executes as the same command
//! everywhere, in every run of every replica.

use panchayat_consensus::wire::to_bytes;
use panchayat_consensus::{Command, InstanceId, ReplicaId};
use rustc_hash::FxHashMap;
use xxhash_rust::xxh3::xxh3_64;

use crate::flaw::{Flaw, Invariant};
use crate::subject::Place;

/// A fingerprint of the command executed under each id, and who executed it first.
#[derive(Clone, Debug, Default)]
pub struct OneCommand {
    executed: FxHashMap<InstanceId, (u64, ReplicaId)>,
}

impl OneCommand {
    /// Notes that `at` executes `command` under `id`.
    ///
    /// # Errors
    /// Another command was executed under that id.
    pub fn executed(&mut self, at: Place, id: InstanceId, command: &Command) -> Result<(), Flaw> {
        let print = xxh3_64(&to_bytes(command));
        let (known, by) = *self.executed.entry(id).or_insert((print, at.replica));
        if known == print {
            return Ok(());
        }
        let text =
            format!("{} executes {command:?} under it, {by} had executed another", at.replica);
        Err(Flaw::of(Invariant::Agreement, id, text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use panchayat_consensus::{Footprint, WallTime};

    #[test]
    fn another_command_under_the_same_id_is_found() {
        let at = |replica| Place { replica: ReplicaId(replica), incarnation: 1 };
        let id = InstanceId::new(ReplicaId(0), 1);
        let command = |payload: &'static [u8]| Command {
            footprint: Footprint::write(b"x"),
            proposed_at: WallTime(1),
            request: None,
            payload: bytes::Bytes::from_static(payload),
        };
        let mut check = OneCommand::default();
        check.executed(at(0), id, &command(b"a")).unwrap();
        check.executed(at(1), id, &command(b"a")).unwrap();
        let flaw = check.executed(at(0), id, &command(b"b")).unwrap_err();
        assert_eq!((flaw.invariant, flaw.instance), (Invariant::Agreement, Some(id)));
    }
}
