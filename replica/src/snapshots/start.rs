//! A group as its newest snapshot and its journal left it.
//!
//! The snapshot is read first: if it is refused, nothing has been changed. The journal's records
//! are decoded one by one while the group takes them; records that the snapshot covers are not
//! decoded at all.

use std::marker::PhantomData;
use std::path::PathBuf;
use std::sync::Arc;

use panchayat_consensus::wire::{Decode, from_bytes};
use panchayat_consensus::{Now, Protocol};
use panchayat_core::journal::Entry;
use panchayat_core::{Base, Group, SessionConfig, StateMachine};
use panchayat_storage::backend::MemoryDisk;
use panchayat_storage::{
    Durability, Journal, JournalConfig, JournalPosition, Replay, SnapshotConfig, SnapshotStore,
};

use super::decode::decode;
use super::marker::{self, Note};
use crate::driver::{Address, Clock};
use crate::error::StartError;

/// Where the snapshots of a replica are that keeps nothing on disk: they are only for peers.
const MEMORY_DIR: &str = "/memory";

/// Where everything is, and how it is kept.
pub(crate) struct Places {
    pub(crate) journal: JournalConfig,
    /// How fast snapshots are written, in bytes per second.
    pub(crate) snapshot_bytes_per_second: u64,
    pub(crate) address: Address,
    /// What the members have agreed on, in words.
    pub(crate) terms: String,
    pub(crate) sessions: SessionConfig,
    pub(crate) clock: Clock,
}

/// What a replica goes on with.
pub(crate) struct Started<P: Protocol, S: StateMachine> {
    pub(crate) group: Group<P, S>,
    pub(crate) journal: Journal,
    pub(crate) store: SnapshotStore,
}

/// Opens what is there, or begins with `machine`. Takes long; it must not run on the runtime.
pub(crate) fn start<P: Protocol, S: StateMachine>(
    places: Places,
    config: P::Config,
    machine: S,
) -> Result<Started<P, S>, StartError> {
    let Places { mut journal, address, sessions, clock, .. } = places;
    let keeps = journal.durability != Durability::Memory;
    let (backend, dir) = (Arc::clone(&journal.backend), journal.dir.clone());
    let (cluster, node) = (journal.cluster, journal.node);
    let note = Note { cluster, node, terms: &places.terms };
    let known = keeps && marker::is_there(&*backend, &dir, &note)?;

    let mut beside = SnapshotConfig::beside(&journal, address.group);
    beside.bytes_per_second_max = Some(places.snapshot_bytes_per_second);
    if !keeps {
        (beside.dir, beside.backend) = (MEMORY_DIR.into(), Arc::new(MemoryDisk::default()));
        beside.bytes_per_second_max = None;
    }
    let store = SnapshotStore::open(beside)?;
    let stored = store.latest()?;
    let mut base = Base::birth(machine, sessions);
    let (mut position, mut file) = (JournalPosition::START, None);
    if let Some(stored) = &stored {
        let info = stored.info();
        info.header.check_epoch(address.epoch).map_err(|error| stored.refused(error.into()))?;
        // A state from a backup is one to begin with: its promises were made in another life.
        let own = !keeps || !marker::is_restored(&*backend, &dir, info.checksum)?;
        if own && info.owner.promises_of != node {
            return Err(StartError::Imported { file: stored.path().to_owned() });
        }
        let decoded = decode::<P, S>(stored, sessions, own)?;
        (base.machine, base.sessions, base.image) =
            (decoded.machine, decoded.sessions, decoded.image);
        if own {
            position = info.owner.journal;
            file = Some(stored.path().to_owned());
            journal.must_exist = true;
        }
    }
    journal.must_exist |= known;
    let (journal, replay) = Journal::open(journal)?;
    let replay = replay.after([(address.group, position)])?;
    let group = restore(config, base, replay, address, file, clock.now())?;
    if keeps {
        // What an earlier run could not remove any more.
        journal.release(address.group, position)?;
        if !known {
            marker::leave(&*backend, &dir, &note)?;
        }
    }
    Ok(Started { group, journal, store })
}

/// `file` is the snapshot in `base`, if there is one.
fn restore<P: Protocol, S: StateMachine>(
    config: P::Config,
    mut base: Base<S, P::Record>,
    replay: Replay,
    address: Address,
    file: Option<PathBuf>,
    now: Now,
) -> Result<Group<P, S>, StartError> {
    let mut failed = None;
    let mut entries =
        Entries { replay, address, index: 0, failed: &mut failed, entry: PhantomData };
    let mut first = None;
    if let Some(file) = file {
        // The store numbers its files, the group its snapshots. The position of a snapshot is the
        // one before its mark, and the mark says which it is.
        first = entries.next();
        match &first {
            Some(Entry::Mark { snapshot }) => base.number = *snapshot,
            _ => return Err(failed.unwrap_or(StartError::NoMark { file })),
        }
    }
    let group = Group::restore(config, base, first.into_iter().chain(&mut entries), now);
    match failed {
        Some(error) => Err(error),
        None => Ok(group?),
    }
}

/// The entries of one group and epoch, decoded as they are asked for. It ends at an error.
struct Entries<'a, R> {
    replay: Replay,
    address: Address,
    index: usize,
    failed: &'a mut Option<StartError>,
    entry: PhantomData<R>,
}

impl<R: Decode> Entries<'_, R> {
    fn read(&mut self) -> Result<Option<Entry<R>>, StartError> {
        for record in self.replay.by_ref() {
            let (record, index) = (record?, self.index);
            self.index += 1;
            if (record.group, record.epoch) == (self.address.group, self.address.epoch) {
                let decoded = from_bytes(record.payload);
                return decoded.map(Some).map_err(|source| StartError::Record { index, source });
            }
        }
        Ok(None)
    }
}

impl<R: Decode> Iterator for Entries<'_, R> {
    type Item = Entry<R>;

    fn next(&mut self) -> Option<Entry<R>> {
        if self.failed.is_some() {
            return None;
        }
        self.read().unwrap_or_else(|error| {
            *self.failed = Some(error);
            None
        })
    }
}
