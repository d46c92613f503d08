//! Snapshots, and states that travel from one replica to another.
//!
//! What a driver does: begin a snapshot when the journal has grown, let it become valid after its
//! mark, cut the journal below it; ask a peer for a state when the protocol says that one is
//! needed. Snapshots are in their production format. How they travel is not simulated beyond the
//! time it takes and what breaks it off.

use std::any::Any;
use std::io::Read;
use std::rc::Rc;

use bytes::Bytes;
use panchayat_consensus::wire::{from_bytes, to_bytes};
use panchayat_consensus::{ReplicaId, ReplicaSet};
use panchayat_core::kv::KvStore;
use panchayat_core::sessions::Sessions;
use panchayat_core::snapshot::{
    JournalPosition, Owner, Section, SnapshotHeader, SnapshotReader, SnapshotWriter,
};
use panchayat_core::{Base, SessionConfig, SnapshotParts, StateMachine};

use super::node::{Frozen, FrozenOf};
use super::{EPOCH, Event, GROUP, World};
use crate::flaw::{Flaw, Invariant};
use crate::subject::{Checks, Place, Subject};

/// How long a replica waits for a state it asked for before it asks another.
const STATE_TIMEOUT_US: u64 = 3_000_000;
/// How often it is looked whether the mark of a written snapshot is durable.
const MARK_POLL_US: u64 = 500;

impl<P: Subject> World<P> {
    /// Begins a snapshot if the journal has grown enough, or if somebody waits for one.
    pub(super) fn begin_snapshot_if_due(&mut self, replica: usize) {
        let every = self.setup.snapshot_every;
        let node = &mut self.nodes[replica];
        let due = every > 0 && node.entries_since >= every;
        let Some(group) = &mut node.group else { return };
        if (due || !node.askers.is_empty())
            && node.writing.is_none()
            && !group.is_installing()
            && group.begin_snapshot().is_some()
        {
            node.entries_since = 0;
            node.served = std::mem::take(&mut node.askers);
        }
    }

    /// The parts of a snapshot are there: it is written.
    pub(super) fn write_snapshot(
        &mut self,
        replica: usize,
        parts: SnapshotParts<P, KvStore>,
    ) -> Result<(), Flaw> {
        let node = &self.nodes[replica];
        let place = node.place();
        self.trace.line(Some(node.id), None, || format!("takes {parts:?}"));
        let frozen: Rc<FrozenOf<P>> = Rc::new(Frozen {
            number: parts.number,
            bytes: encode(place, &parts),
            executed: node.executed.clone(),
            executed_print: node.executed_print,
            applied: node.applied.clone(),
            progress: self.order.progress(node.id),
            checks: self.checks.freeze(place, &parts.image),
        });
        let node = &mut self.nodes[replica];
        node.writing = Some((frozen, parts.after));
        let at_us = self.now_us + self.snapshot_rng.octaves(200, 300_000);
        let (incarnation, number) = (place.incarnation, parts.number);
        self.queue.push(at_us, Event::SnapshotWritten { replica, incarnation, number });
        *self.stats.named.entry("snapshots").or_default() += 1;
        Ok(())
    }

    /// A snapshot is written and synced. It is valid once its mark is durable in the journal.
    pub(super) fn snapshot_written(
        &mut self,
        replica: usize,
        incarnation: u32,
        number: u64,
    ) -> Result<(), Flaw> {
        if !self.runs(replica, incarnation) {
            return Ok(());
        }
        let node = &mut self.nodes[replica];
        let Some(group) = &mut node.group else { return Ok(()) };
        let upto = group.durable_upto();
        match &node.writing {
            Some((frozen, _)) if frozen.number != number => return Ok(()),
            Some((_, after)) if *after > upto => {
                let event = Event::SnapshotWritten { replica, incarnation, number };
                self.queue.push(self.now_us + MARK_POLL_US, event);
                return Ok(());
            }
            Some(_) => {}
            None => return Ok(()),
        }
        node.stored = node.writing.take().map(|(frozen, _)| frozen);
        let askers = std::mem::take(&mut node.served);
        node.durable_records -= node.disk.cut(number);
        group.snapshot_durable(number);
        self.checks.snapshot_durable(node.place());
        self.trace.line(Some(node.id), None, || format!("snapshot {number} is durable"));
        // Only what its owner cannot lose any more may be believed elsewhere.
        if let Some(stored) = node.stored.clone() {
            for asker in askers {
                let at_us = self.now_us + self.snapshot_rng.octaves(1_000, 500_000);
                let frozen: Rc<dyn Any> = stored.clone();
                self.queue.push(at_us, Event::StateArrives { at: asker, from: replica, frozen });
                self.plan_doubt(asker, replica, at_us);
            }
        }
        *self.stats.named.entry("snapshots_durable").or_default() += 1;
        self.working = Some(replica);
        self.touched.clear();
        self.touched_set.clear();
        self.finish_turn(replica)
    }

    /// Asks a peer for its state, if the protocol says that one is needed.
    pub(super) fn ask_for_state(&mut self, replica: usize) {
        let node = &mut self.nodes[replica];
        let Some(group) = &node.group else { return };
        if node.asking_until_us > self.now_us || group.is_installing() {
            return;
        }
        let ahead = group.protocol().needs_state();
        if ahead.is_empty() {
            return;
        }
        let n = self.setup.replicas();
        let mut turn = (1..=n).map(|step| (node.asked + step) % n);
        let asked = ahead.minus(ReplicaSet::all(n).minus(self.invited));
        let Some(of) = turn.find(|seat| asked.contains(ReplicaId(*seat as u8))) else { return };
        node.asked = of;
        node.asking_until_us = self.now_us + STATE_TIMEOUT_US;
        let by = node.place();
        self.trace.line(Some(node.id), None, || format!("asks r{of} for its state"));
        *self.stats.named.entry("states_asked").or_default() += 1;
        if let Some(at_us) = self.network.route_heartbeat((replica, of), self.now_us) {
            self.queue.push(at_us, Event::StateAsked { by, of });
        }
    }

    pub(super) fn state_asked(&mut self, by: Place, of: usize) -> Result<(), Flaw> {
        let node = &mut self.nodes[of];
        let now = node.clock.now(self.now_us);
        if !node.is_up() {
            return Ok(());
        }
        let Some(group) = &mut node.group else { return Ok(()) };
        if group.is_installing() || !group.protocol().needs_state().is_empty() {
            return Ok(());
        }
        group.hold(now);
        node.askers.retain(|asker| asker.replica != by.replica);
        node.askers.push(by);
        self.working = Some(of);
        self.touched.clear();
        self.touched_set.clear();
        self.finish_turn(of)
    }

    /// A state has arrived, unless something broke off its transfer.
    pub(super) fn state_arrives(
        &mut self,
        at: Place,
        from: usize,
        frozen: Rc<dyn Any>,
    ) -> Result<(), Flaw> {
        let replica = at.replica.index();
        let node = &self.nodes[replica];
        let broken = !self.runs(replica, at.incarnation)
            || !self.nodes[from].is_up()
            || node.asking_until_us <= self.now_us
            || self.network.route_heartbeat((from, replica), self.now_us).is_none();
        let needed = node
            .group
            .as_ref()
            .is_some_and(|group| !group.is_installing() && group.protocol().wants_state());
        if broken || !needed {
            *self.stats.named.entry("states_broken_off").or_default() += 1;
            return Ok(());
        }
        let Ok(frozen) = frozen.downcast::<FrozenOf<P>>() else {
            unreachable!("states are of this world's type")
        };
        let base = decode::<P>(&frozen.bytes, self.setup.sessions).map_err(|error| {
            let text = format!("r{replica} cannot read a state of r{from}: {error}");
            Flaw::general(Invariant::Codec, text)
        })?;
        let handover = P::handover(base.image);
        let node = &mut self.nodes[replica];
        if !node.group.as_ref().is_some_and(|group| group.can_install(&handover)) {
            *self.stats.named.entry("states_refused").or_default() += 1;
            node.asking_until_us = 0;
            return Ok(());
        }
        self.trace.line(Some(node.id), None, || {
            format!("takes over snapshot {} of r{from}", frozen.number)
        });
        *self.stats.named.entry("states_taken_over").or_default() += 1;
        if node.group.as_ref().is_some_and(|group| group.protocol().needs_state().is_empty()) {
            *self.stats.named.entry("states_taken_over_in_doubt").or_default() += 1;
        }
        node.asking_until_us = 0;
        node.writing = None;
        node.executed = frozen.executed.clone();
        node.executed_print = frozen.executed_print;
        node.applied = frozen.applied.clone();
        self.order.thaw(node.id, frozen.progress.clone());
        let now = node.clock.now(self.now_us);
        let Some(group) = &mut node.group else { return Ok(()) };
        group.install(now, base.machine, base.sessions, handover.clone());
        self.checks.taken_over(at, &handover, &frozen.checks, group.protocol())?;
        self.working = Some(replica);
        self.touched.clear();
        self.touched_set.clear();
        self.finish_turn(replica)
    }
}

fn encode<P: Subject>(at: Place, parts: &SnapshotParts<P, KvStore>) -> Bytes {
    let header = SnapshotHeader {
        cluster: super::CLUSTER,
        group: GROUP,
        epoch: EPOCH,
        number: parts.number,
    };
    let node = panchayat_consensus::NodeId(u64::from(at.replica.0) + 1);
    let owner = Owner { node, promises_of: node, journal: JournalPosition::START };
    let written = || -> std::io::Result<Vec<u8>> {
        let mut writer = SnapshotWriter::new(Vec::new(), header)?;
        writer.begin(Section::Machine)?;
        KvStore::write(&parts.machine, &mut writer)?;
        writer.begin(Section::Sessions)?;
        parts.sessions.write(&mut writer)?;
        for record in &parts.image {
            writer.record(&to_bytes(record))?;
        }
        Ok(writer.finish(owner)?.0)
    };
    written().expect("memory takes everything").into()
}

/// What a replica starts from that has this snapshot.
pub(super) fn decode<P: Subject>(
    bytes: &Bytes,
    sessions: SessionConfig,
) -> Result<Base<KvStore, P::Record>, Box<dyn std::error::Error>> {
    let mut reader = SnapshotReader::new(&bytes[..])?;
    let number = reader.header().number;
    let machine = KvStore::restore(&mut reader.section(Section::Machine))?;
    let sessions = Sessions::restore(sessions, &mut reader.section(Section::Sessions))?;
    let mut rest = Vec::new();
    reader.section(Section::Sessions).read_to_end(&mut rest)?;
    let mut image = Vec::new();
    while let Some(record) = reader.next_record()? {
        image.push(from_bytes::<P::Record>(record.into())?);
    }
    reader.finish()?;
    Ok(Base { number, machine, sessions, image })
}
