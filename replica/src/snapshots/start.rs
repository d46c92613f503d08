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
use panchayat_core::journal::{Entry, Record};
use panchayat_core::{Base, Group, SessionConfig, StateMachine};
use panchayat_storage::backend::MemoryDisk;
use panchayat_storage::{
    Durability, Journal, JournalConfig, JournalPosition, SnapshotConfig, SnapshotStore,
};

use super::decode::decode;
use super::marker::{self, Note, Past};
use crate::driver::{Address, Clock};
use crate::error::StartError;

/// Where the snapshots of a replica are that keeps nothing on disk: they are only for peers.
const MEMORY_DIR: &str = "/memory";

/// Where everything of a group is, and how it is kept.
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

/// A group that has read its snapshot, and wants the records behind it.
pub(crate) struct Loaded<P: Protocol, S: StateMachine> {
    places: Places,
    base: Base<S, P::Record>,
    store: SnapshotStore,
    /// The snapshot in `base`, if there is one.
    file: Option<PathBuf>,
    /// Whether the group has run here before.
    past: Past,
    position: JournalPosition,
}

/// What a replica goes on with.
pub(crate) struct Started<P: Protocol, S: StateMachine> {
    pub(crate) group: Group<P, S>,
    pub(crate) store: SnapshotStore,
}

/// Reads the newest snapshot, or begins with `machine`. Takes long; it must not run on the runtime.
pub(crate) fn load<P: Protocol, S: StateMachine>(
    places: Places,
    machine: S,
) -> Result<Loaded<P, S>, StartError> {
    let Places { journal, address, sessions, .. } = &places;
    let (backend, dir) = (&*journal.backend, &journal.dir);
    let keeps = places.keeps();
    let past = if keeps { marker::read(backend, dir, &places.note())? } else { Past::None };
    let mut beside = SnapshotConfig::beside(journal, address.group);
    beside.bytes_per_second_max = Some(places.snapshot_bytes_per_second);
    if !keeps {
        (beside.dir, beside.backend) = (MEMORY_DIR.into(), Arc::new(MemoryDisk::default()));
        beside.bytes_per_second_max = None;
    }
    let store = SnapshotStore::open(beside)?;
    let stored = store.latest()?;
    let mut base = Base::birth(machine, *sessions);
    let (mut position, mut file) = (JournalPosition::START, None);
    if let Some(stored) = &stored {
        let info = stored.info();
        info.header.check_epoch(address.epoch).map_err(|error| stored.refused(error.into()))?;
        // A state from a backup is one to begin with: its promises were made in another life.
        let own = !keeps || !marker::is_restored(backend, dir, info.checksum)?;
        if own && info.owner.promises_of != journal.node {
            return Err(StartError::Imported { file: stored.path().to_owned() });
        }
        let decoded = decode::<P, S>(stored, *sessions, own)?;
        (base.machine, base.sessions, base.image) =
            (decoded.machine, decoded.sessions, decoded.image);
        if own {
            position = info.owner.journal;
            file = Some(stored.path().to_owned());
        }
    }
    if past.has_run() {
        // Now, since the journal is about to be opened: what this program writes there, an older one
        // must not read.
        marker::leave(backend, dir, &places.note(), past)?;
    }
    Ok(Loaded { places, base, store, file, past, position })
}

impl Places {
    fn keeps(&self) -> bool {
        self.journal.durability != Durability::Memory
    }

    fn note(&self) -> Note<'_> {
        let JournalConfig { cluster, node, .. } = self.journal;
        Note { group: self.address.group, cluster, node, terms: &self.terms }
    }
}

impl<P: Protocol, S: StateMachine> Loaded<P, S> {
    /// From where on the group needs the journal.
    pub(crate) fn position(&self) -> JournalPosition {
        self.position
    }

    /// Whether there must be a journal.
    pub(crate) fn has_run(&self) -> bool {
        self.past.has_run() || self.file.is_some()
    }

    /// Takes the records of the group behind its snapshot, each with its number in the journal.
    pub(crate) fn restore(
        self,
        config: P::Config,
        journal: &Journal,
        records: impl Iterator<Item = (usize, Record)>,
    ) -> Result<Started<P, S>, StartError> {
        let Self { places, base, store, file, past, position } = self;
        let now = places.clock.now();
        let group = restore(config, base, records, places.address, file, now)?;
        if places.keeps() {
            // What an earlier run could not remove any more.
            journal.release(places.address.group, position)?;
            if !past.has_run() {
                let JournalConfig { backend, dir, .. } = &places.journal;
                marker::leave(&**backend, dir, &places.note(), past)?;
            }
        }
        Ok(Started { group, store })
    }
}

/// `file` is the snapshot in `base`, if there is one.
fn restore<P: Protocol, S: StateMachine>(
    config: P::Config,
    mut base: Base<S, P::Record>,
    records: impl Iterator<Item = (usize, Record)>,
    address: Address,
    file: Option<PathBuf>,
    now: Now,
) -> Result<Group<P, S>, StartError> {
    let mut failed = None;
    let mut entries = Entries { records, address, failed: &mut failed, entry: PhantomData };
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
struct Entries<'a, I, R> {
    records: I,
    address: Address,
    failed: &'a mut Option<StartError>,
    entry: PhantomData<R>,
}

impl<I: Iterator<Item = (usize, Record)>, R: Decode> Iterator for Entries<'_, I, R> {
    type Item = Entry<R>;

    fn next(&mut self) -> Option<Entry<R>> {
        if self.failed.is_some() {
            return None;
        }
        let address = self.address;
        let ours = |(_, record): &(_, Record)| {
            (record.group, record.epoch) == (address.group, address.epoch)
        };
        let (index, record) = self.records.find(ours)?;
        match from_bytes(record.payload) {
            Ok(entry) => Some(entry),
            Err(source) => {
                *self.failed = Some(StartError::Record { index, source });
                None
            }
        }
    }
}
