//! Reads of one key that no write waits for.
//!
//! A read takes no place in the order. The replica that is asked asks everyone which instances they
//! know that write the key, waits for n−f answers with its own, executes all that was named, and
//! then answers from its state.
//!
//! *Why nothing is missed.* A write that was answered, or seen by an earlier read, before this one
//! began had been committed by then: n−e replicas had pre-accepted it or n−f accepted it, and either
//! meets any n−f in one that names it. What is forgotten there is within what it says is
//! collectable, which it names too.
//!
//! *Why all reads fit one order.* Give each write the moment at which it is first executed anywhere,
//! which lies between its submission and its answer. Writes of one key are executed in one order
//! everywhere, and so their moments come in that order; a read fits in after the last one it saw,
//! or at its beginning if that is later. For updates that commute this does not hold: two readers
//! may each see one of two and not the other. So a read that has seen one executed while it was
//! under way is ordered as a command instead, and so is a read of several keys.
//!
//! *What is waited for.* In each lane the last instance that was named. A write stands for all
//! earlier conflicts of its lane, since it depends on them. Of anything else (Nop, a barrier, an
//! update that commutes) it is the whole prefix of the lane.
//!
//! A read that is not answered soon is ordered as well, which also sees to it that what it waits
//! for is decided. Answers to reads of an earlier run must not count for this one's: the number of
//! the run is durable before anyone is asked.

use std::collections::{BTreeMap, BTreeSet};

use panchayat_consensus::{
    After, Command, Footprint, InstanceId, KeyHash, Mode, Now, ReplicaId, ReplicaSet, Time, Token,
};

use crate::deps::Deps;
use crate::message::Message;
use crate::mutation::Mutation;
use crate::record::Record;
use crate::replica::{EPaxos, Fx};

/// Most reads at once that are not ordered.
const OPEN_MAX: usize = 1 << 16;
/// A read is repeated once, and ordered when it has taken so often the patience with a peer.
const ORDERED_AFTER: u64 = 3;
/// The numbers of a run's reads begin with that of the run, above so many bits.
pub const READ_RUN_SHIFT: u32 = 40;

/// A read without an answer.
#[derive(Clone, Debug, Hash)]
struct Open {
    token: Token,
    key: KeyHash,
    since: Time,
    due: Time,
    heard: ReplicaSet,
    /// What those who were heard name.
    named: Deps,
}

/// Reads that are not ordered.
#[derive(Clone, Debug, Default, Hash)]
pub(crate) struct Reads {
    /// The last run that asked.
    pub(crate) run: u64,
    /// The record of that, if it is this run.
    noted: Option<After>,
    last: u64,
    open: BTreeMap<u64, Open>,
    by_key: BTreeSet<(KeyHash, u64)>,
    due: BTreeSet<(Time, u64)>,
    /// Those that wait for an instance, or for everything in its lane up to it.
    blocked: BTreeMap<InstanceId, Vec<u64>>,
    /// Instances executed just now that some wait for.
    executed: Vec<InstanceId>,
    /// Reads that have seen an update that commutes with others.
    overtaken: Vec<u64>,
}

impl Reads {
    /// What stays when a state is taken over: whoever waits is refused.
    pub(crate) fn begin_again(&self) -> Self {
        Self { run: self.run, noted: self.noted, last: self.last, ..Self::default() }
    }

    /// Notes what is being executed.
    pub(crate) fn note_executed(&mut self, id: InstanceId, footprint: &Footprint) {
        if self.open.is_empty() {
            return;
        }
        if self.blocked.contains_key(&id) {
            self.executed.push(id);
        }
        for (key, _) in footprint.keys().iter().filter(|(_, mode)| *mode == Mode::Commute) {
            let of_key = self.by_key.range((*key, 0)..=(*key, u64::MAX));
            self.overtaken.extend(of_key.map(|(_, number)| *number));
        }
    }

    /// When the first one is to be looked after.
    pub(crate) fn next_due(&self) -> Option<Time> {
        self.due.first().map(|(due, _)| *due)
    }

    fn close(&mut self, number: u64) -> Option<Open> {
        let open = self.open.remove(&number)?;
        self.by_key.remove(&(open.key, number));
        self.due.remove(&(open.due, number));
        Some(open)
    }
}

impl EPaxos {
    /// A client of this replica wants to read.
    pub(crate) fn read(&mut self, token: Token, footprint: Footprint, now: Now, fx: &mut Fx) {
        let has_room = self.reads.open.len() < OPEN_MAX && self.members_ahead().is_empty();
        let Some(key) = footprint.one_read().filter(|_| has_room) else {
            return self.propose(token, Command::read(footprint), now, fx);
        };
        self.counters.quorum_reads += 1;
        let named = self.writers_of(key);
        let noted = self.note_run(fx);
        self.reads.last += 1;
        let number = self.reads.run << READ_RUN_SHIFT | self.reads.last;
        let (since, due) = (now.monotonic, now.monotonic + self.patience());
        let heard = ReplicaSet::only(self.me());
        let reads = &mut self.reads;
        reads.open.insert(number, Open { token, key, since, due, heard, named });
        reads.by_key.insert((key, number));
        reads.due.insert((due, number));
        fx.send(self.others(), Message::Read { number, key }, noted);
        self.look_at_read(number, now, fx);
    }

    /// The record that makes the numbers of this run its own.
    fn note_run(&mut self, fx: &mut Fx) -> After {
        if let Some(noted) = self.reads.noted {
            return noted;
        }
        self.reads.run += 1;
        let noted = fx.persist(Record::Run { run: self.reads.run });
        self.reads.noted = Some(noted);
        noted
    }

    /// What is known here to write `key`, and what may be forgotten.
    fn writers_of(&self, key: KeyHash) -> Deps {
        let mut named = self.collector.collectable.clone();
        self.conflicts.add_conflicts(&Footprint::new([(key, Mode::Read)]), &mut named);
        named
    }

    pub(crate) fn on_read(&mut self, from: ReplicaId, number: u64, key: KeyHash, fx: &mut Fx) {
        let named = self.writers_of(key);
        // Nobody may hear of an own instance before its record is durable.
        let own = InstanceId::new(self.me(), named.last(self.me()));
        let recorded = self.lanes.get(own).map_or(After::NOTHING, |instance| instance.recorded);
        fx.send(ReplicaSet::only(from), Message::ReadOk { number, named }, recorded);
    }

    pub(crate) fn on_read_ok(
        &mut self,
        from: ReplicaId,
        number: u64,
        named: &Deps,
        now: Now,
        fx: &mut Fx,
    ) {
        let Some(open) = self.reads.open.get_mut(&number) else { return };
        // Once a quorum has answered, no more is waited for.
        if open.heard.len() < self.config.quorums.slow() && open.heard.insert(from) {
            open.named.union(named);
            self.look_at_read(number, now, fx);
        }
    }

    /// Answers a read if a quorum was heard and what it named is executed.
    fn look_at_read(&mut self, number: u64, now: Now, fx: &mut Fx) {
        let Some(open) = self.reads.open.get(&number) else { return };
        let alone = self.mutated(Mutation::ReadAlone);
        if open.heard.len() < self.config.quorums.slow() && !alone {
            return;
        }
        let (key, named) = (open.key, open.named.clone());
        self.note_all_exist(&named, now);
        let missing = named
            .lanes()
            .map(|(lane, slot)| InstanceId::new(lane, slot))
            .find(|id| !self.stands_executed(*id, key));
        match missing {
            Some(id) => self.reads.blocked.entry(id).or_default().push(number),
            None => {
                if let Some(open) = self.reads.close(number) {
                    fx.query_ready(open.token);
                }
            }
        }
    }

    /// Whether everything in the lane of `id` up to it that writes `key` is executed.
    fn stands_executed(&self, id: InstanceId, key: KeyHash) -> bool {
        if self.graph.executed_upto(id.replica) >= id.slot {
            return true;
        }
        let writes = |footprint: &Footprint| footprint.keys().contains(&(key, Mode::Write));
        self.graph.is_executed(id)
            && self.lanes.get(id).is_some_and(|instance| {
                !instance.nop && instance.payload.as_ref().is_some_and(|c| writes(&c.footprint))
            })
    }

    /// Goes on with the reads that waited for what is executed by now.
    pub(crate) fn serve_reads(&mut self, now: Now, fx: &mut Fx) {
        for number in std::mem::take(&mut self.reads.overtaken) {
            self.order_read(number, now, fx);
        }
        let mut awake = Vec::new();
        for id in std::mem::take(&mut self.reads.executed) {
            awake.extend(self.reads.blocked.remove(&id).unwrap_or_default());
        }
        if !self.reads.blocked.is_empty() {
            for lane in self.lane_ids() {
                let upto = InstanceId::new(lane, self.graph.executed_upto(lane));
                let first = InstanceId::new(lane, 0);
                while let Some((&id, _)) = self.reads.blocked.range(first..=upto).next() {
                    awake.extend(self.reads.blocked.remove(&id).unwrap_or_default());
                }
            }
        }
        for number in awake {
            self.look_at_read(number, now, fx);
        }
    }

    /// Asks again, or orders what takes too long.
    pub(crate) fn attend_reads(&mut self, now: Now, fx: &mut Fx) {
        while let Some((due, number)) = self.reads.due.first().copied()
            && due <= now.monotonic
        {
            let patience = self.patience();
            let Some(open) = self.reads.open.get_mut(&number) else { return };
            if now.monotonic - open.since >= patience.times(ORDERED_AFTER) {
                self.order_read(number, now, fx);
                continue;
            }
            open.due = now.monotonic + patience;
            let (key, next, heard) = (open.key, open.due, open.heard);
            self.reads.due.remove(&(due, number));
            self.reads.due.insert((next, number));
            if heard.len() < self.config.quorums.slow() {
                let silent = self.others().iter().filter(|peer| !heard.contains(*peer)).collect();
                let noted = self.note_run(fx);
                fx.send(silent, Message::Read { number, key }, noted);
            }
        }
    }

    /// Gives a read a place in the order after all.
    fn order_read(&mut self, number: u64, now: Now, fx: &mut Fx) {
        if let Some(open) = self.reads.close(number) {
            let footprint = Footprint::new([(open.key, Mode::Read)]);
            self.propose(open.token, Command::read(footprint), now, fx);
        }
    }
}
