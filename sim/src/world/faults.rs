//! Faults as they happen, deaths and restarts.

use panchayat_consensus::wire::from_bytes;
use panchayat_consensus::{ReplicaId, Span};
use panchayat_core::detector::Detector;
use panchayat_core::journal::Entry;
use panchayat_core::kv::KvStore;
use panchayat_core::{Base, Group};

use super::snapshots::decode;
use super::{Event, Job, Phase, Power, World};
use crate::clock::Clock;
use crate::fault::Fault;
use crate::flaw::{Flaw, Invariant};
use crate::subject::{Checks, Seat, Subject};

/// How long a replica armed to die may live on without coming to its crash point.
const CRASH_DEADLINE_US: u64 = 300_000;

impl<P: Subject> World<P> {
    pub(super) fn begin_fault(&mut self, index: usize) -> Result<(), Flaw> {
        if self.phase != Phase::Safety {
            return Ok(());
        }
        let mut fault = self.setup.plan[index].fault.clone();
        if matches!(fault, Fault::OfLeader(_) | Fault::OfFollower { .. }) {
            let named = fault.name();
            let leading = self.nodes.iter().enumerate().filter_map(|(replica, node)| {
                Some((node.group.as_ref()?.protocol().leads()?, replica))
            });
            let leader = leading.max().map(|(_, replica)| replica);
            let name = if leader.is_some() { named } else { "leader_absent" };
            *self.stats.named.entry(name).or_default() += 1;
            fault = match (leader, fault) {
                (Some(leader), fault) => fault.of(leader, self.setup.replicas()),
                (None, Fault::OfLeader(fault) | Fault::OfFollower { fault, .. }) => *fault,
                (None, fault) => fault,
            };
            self.setup.plan[index].fault = fault.clone();
        }
        self.trace.line(None, None, || format!("fault: {fault:?}"));
        self.trace.mix(index as u64);
        self.stats.faults += 1;
        *self.stats.named.entry(fault.name()).or_default() += 1;
        let now_us = self.now_us;
        let ends_at = match fault {
            Fault::Crash { replica, point, down_us } => {
                let node = &mut self.nodes[replica];
                if node.is_up() && node.armed.is_none() {
                    node.armed = Some((point, down_us));
                }
                Some(now_us + CRASH_DEADLINE_US)
            }
            Fault::Pause { replica, us } => {
                self.nodes[replica].paused_until_us = now_us + us;
                None
            }
            Fault::Slow { replica, turn_us, us } => {
                self.nodes[replica].slow_turn_us = turn_us;
                Some(now_us + us)
            }
            Fault::Cut { links, us } => {
                links.into_iter().for_each(|link| self.network.cut(link));
                Some(now_us + us)
            }
            Fault::Storm { weather, us } => {
                self.network.set_weather(weather);
                Some(now_us + us)
            }
            Fault::Spike { links, extra_us, us } => {
                links.into_iter().for_each(|l| self.network.spike(l, extra_us, now_us + us));
                None
            }
            Fault::Clog { links, us } => {
                links.into_iter().for_each(|link| self.network.clog(link, now_us + us));
                None
            }
            Fault::SlowDisk { replica, sync_us, us } => {
                self.nodes[replica].slow_disk = Some(sync_us);
                Some(now_us + us)
            }
            Fault::FullDisk { replica, us } => {
                self.disk_space(replica, true)?;
                Some(now_us + us)
            }
            Fault::SyncError { replica, down_us } => {
                if self.nodes[replica].is_up() {
                    self.nodes[replica].sync_fails = Some(down_us);
                }
                None
            }
            Fault::BitFlip { replica } => {
                self.crash(replica)?;
                // Whatever restart was planned will meet a journal that refuses.
                let node = &mut self.nodes[replica];
                if node.power == Power::Down && node.disk.flip_bit() {
                    node.damaged = true;
                    *self.stats.named.entry("bits_flipped").or_default() += 1;
                }
                None
            }
            Fault::Mute { replica, label, receivers, us } => {
                self.nodes[replica].mutes = Some((label, receivers, us));
                None
            }
            Fault::Partial { replica, label, reach, then } => {
                self.nodes[replica].partial = Some((label % P::LABELS.len(), reach, then));
                for (client, asking) in self.clients.iter_mut().enumerate() {
                    if asking.home == replica {
                        asking.urged = true;
                        self.queue.push(now_us, Event::Client { client });
                    }
                }
                None
            }
            Fault::HandOver { replica, to } => {
                self.hand_over(replica, to)?;
                None
            }
            // Somebody was named above.
            Fault::OfLeader(_) | Fault::OfFollower { .. } => None,
            Fault::ClockJump { replica, by_us } => {
                self.nodes[replica].clock.jump(by_us);
                let skew_us = self.nodes[replica].clock.skew_us().unsigned_abs();
                self.skew_max_us = self.skew_max_us.max(skew_us);
                None
            }
        };
        if let Some(at_us) = ends_at {
            self.queue.push(at_us, Event::FaultEnd { index });
        }
        Ok(())
    }

    pub(super) fn end_fault(&mut self, index: usize) -> Result<(), Flaw> {
        if self.phase != Phase::Safety {
            return Ok(());
        }
        match self.setup.plan[index].fault.clone() {
            Fault::Crash { replica, .. } if self.nodes[replica].armed.is_some() => {
                self.crash(replica)?;
            }
            Fault::Slow { replica, .. } => self.nodes[replica].slow_turn_us = 0,
            Fault::Cut { links, .. } => links.into_iter().for_each(|link| self.network.mend(link)),
            Fault::Storm { .. } => _ = self.network.set_weather(self.setup.weather),
            Fault::SlowDisk { replica, .. } => self.nodes[replica].slow_disk = None,
            Fault::FullDisk { replica, .. } => self.disk_space(replica, false)?,
            _ => {}
        }
        Ok(())
    }

    /// An operator asks `replica` to hand leadership over to `to`.
    fn hand_over(&mut self, replica: usize, to: ReplicaId) -> Result<(), Flaw> {
        let node = &mut self.nodes[replica];
        let now = node.clock.now(self.now_us);
        let Some(group) = node.group.as_mut().filter(|_| node.paused_until_us <= self.now_us)
        else {
            return Ok(());
        };
        let begun = group.hand_over(now, to);
        let name = if begun { "hand_overs_begun" } else { "hand_overs_refused" };
        *self.stats.named.entry(name).or_default() += 1;
        self.working = Some(replica);
        self.touched.clear();
        self.touched_set.clear();
        self.finish_turn(replica)
    }

    /// The disk of `replica` is full from now on, or has space again: then it goes on.
    pub(super) fn disk_space(&mut self, replica: usize, full: bool) -> Result<(), Flaw> {
        let blocked = self.nodes[replica].disk.is_blocked();
        if self.nodes[replica].disk.set_full(full) {
            self.begin_sync(replica);
        }
        if blocked && !full {
            *self.stats.named.entry("disks_unblocked").or_default() += 1;
            return self.give(replica, Job::Wake);
        }
        Ok(())
    }

    /// `replica` dies now. In the safety phase it is started again later.
    pub(super) fn crash(&mut self, replica: usize) -> Result<(), Flaw> {
        let node = &mut self.nodes[replica];
        if !node.is_up() {
            return Ok(());
        }
        let keep = *self.crash_rng.pick(&self.setup.keeps);
        self.trace.line(Some(node.id), None, || format!("DIES, of the unsynced stays {keep:?}"));
        let down_us = match (node.armed, node.sync_fails) {
            (Some((_, down_us)), _) | (None, Some(down_us)) => down_us,
            (None, None) => 10_000,
        };
        if let Some(group) = &node.group {
            for (name, count) in group.protocol().counters() {
                let total = self.stats.named.entry(name).or_default();
                *total = if name.ends_with("_max") { count.max(*total) } else { *total + count };
            }
        }
        node.disk.crash(keep);
        node.forget();
        node.power = Power::Down;
        self.stats.crashes += 1;
        self.order.forget(node.id);
        self.clients_of_dead(replica);
        if self.phase == Phase::Safety {
            self.queue.push(self.now_us + down_us, Event::Restart { replica });
        }
        Ok(())
    }

    /// `replica` starts from what its disk holds.
    pub(super) fn restart(&mut self, replica: usize) -> Result<(), Flaw> {
        let id = self.nodes[replica].id;
        let starts = self.invited.contains(id) && !self.lost.contains(id);
        if self.nodes[replica].power != Power::Down || !starts {
            return Ok(());
        }
        let node = &mut self.nodes[replica];
        let opened = match node.disk.open() {
            Ok(opened) => opened,
            Err(refusal) if node.damaged => {
                self.trace.line(Some(node.id), None, || format!("does not start: {refusal}"));
                self.stats.refused_journals += 1;
                node.power = Power::Out;
                return Ok(());
            }
            Err(refusal) => {
                let text = format!("r{replica} refuses its own journal: {refusal}");
                return Err(Flaw::general(Invariant::Journal, text));
            }
        };
        self.stats.torn_tails += u64::from(opened.torn);
        if opened.payloads.len() < node.durable_records {
            let text = format!(
                "r{replica} reads back {} of {} synced records",
                opened.payloads.len(),
                node.durable_records
            );
            return Err(Flaw::general(Invariant::Journal, text));
        }
        node.durable_records = opened.payloads.len();
        let mut entries = Vec::with_capacity(opened.payloads.len());
        for payload in opened.payloads {
            let entry = from_bytes::<Entry<P::Record>>(payload).map_err(|error| {
                let text = format!("r{replica} cannot read its own record: {error}");
                Flaw::general(Invariant::Codec, text)
            })?;
            entries.push(entry);
        }
        node.incarnation += 1;
        let (drift, skew) = (self.setup.drift_ppm[replica], node.clock.skew_us());
        let base = self.clock_rng.below(10_000_000);
        node.clock = Clock::new(self.now_us, base, drift, skew);
        let now = node.clock.now(self.now_us);
        let seat = Seat {
            replica: node.id,
            quorums: self.setup.quorums,
            seed: self.clock_rng.bits(),
            tuning: &self.setup.tuning,
            mistake: self.setup.mistake,
        };
        self.trace.line(Some(node.id), None, || {
            format!("STARTS with {} records, torn {}", entries.len(), opened.torn)
        });
        self.working = Some(replica);
        let stored = node.stored.clone();
        let base = match &stored {
            None => Base::birth(KvStore::default(), self.setup.sessions),
            Some(stored) => decode::<P>(&stored.bytes, self.setup.sessions).map_err(|error| {
                let text = format!("r{replica} cannot read its own snapshot: {error}");
                Flaw::general(Invariant::Journal, text)
            })?,
        };
        let (number, image) = (base.number, base.image.clone());
        let is_mark =
            |entry: &Entry<_>| matches!(entry, Entry::Mark { snapshot } if *snapshot == number);
        let first = entries.iter().position(is_mark).map_or(0, |mark| mark + 1);
        let records: Vec<P::Record> = entries[first..]
            .iter()
            .filter_map(|entry| match entry {
                Entry::Protocol(record) => Some(record.clone()),
                Entry::Mark { .. } => None,
            })
            .collect();
        if let Some(stored) = &stored {
            node.executed = stored.executed.clone();
            node.executed_print = stored.executed_print;
            node.applied = stored.applied.clone();
            self.order.thaw(node.id, stored.progress.clone());
            *self.stats.named.entry("restarts_from_snapshot").or_default() += 1;
        }
        let group = Group::restore(P::config(&seat), base, entries, now).map_err(|error| {
            Flaw::general(Invariant::Journal, format!("r{replica} does not start: {error}"))
        })?;
        let at = node.place();
        let group = mistaken(group, self.setup.group_mistake);
        let checked = stored.as_ref().map(|stored| (&image[..], &stored.checks));
        self.checks.restored(at, checked, &records, group.protocol())?;
        node.group = Some(group);
        node.power = Power::Up;
        let suspicion = Span(self.setup.suspicion_us);
        node.detector = Detector::new(node.id, self.setup.replicas(), suspicion, now.monotonic);
        if self.setup.heartbeat_us > 0 {
            let incarnation = node.incarnation;
            self.queue.push(self.now_us, Event::Tick { replica, incarnation });
        }
        self.touched.clear();
        self.touched_set.clear();
        self.finish_turn(replica)
    }
}

/// The group, making a known mistake if it is to.
#[cfg(feature = "mutations")]
fn mistaken<P: Subject>(mut group: Group<P, KvStore>, mistake: Option<usize>) -> Group<P, KvStore> {
    use panchayat_core::mutation::Mutation;
    if let Some(mutation) = mistake.and_then(|number| Mutation::ALL.get(number)) {
        group.make_mistake(*mutation);
    }
    group
}

#[cfg(not(feature = "mutations"))]
fn mistaken<P: Subject>(group: Group<P, KvStore>, mistake: Option<usize>) -> Group<P, KvStore> {
    assert!(mistake.is_none(), "mistakes need a build with the feature `mutations`");
    group
}
