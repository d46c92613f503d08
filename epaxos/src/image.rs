//! All that a replica must still know, as records: for snapshots, and for members that take over.
//!
//! An image begins with what is collected and executed; then come the instances, in the records
//! that a journal would hold of them. What another member may take over of it is what is decided,
//! and who is counted as absent.

use panchayat_consensus::{InstanceId, Now, ReplicaId, Slot};
use rustc_hash::FxHashSet;

use crate::deps::Deps;
use crate::instance::{Instance, Phase};
use crate::lanes::Lanes;
use crate::message::Proposal;
use crate::mutation::Mutation;
use crate::record::Record;
use crate::replica::{EPaxos, Fx};

impl EPaxos {
    pub(crate) fn all_records(&self) -> Vec<Record> {
        let mut records = vec![Record::Collected {
            collected: self.lanes.all_collected(),
            fence: self.collector.fence.clone(),
        }];
        for lane in (0..self.config.quorums.n() as u8).map(ReplicaId) {
            let upto = self.graph.executed_upto(lane);
            let beyond = self.graph.executed_beyond(lane);
            records.push(Record::Executed { lane, upto, beyond });
        }
        records.push(Record::Absent {
            absent: self.collector.absent,
            seen_then: self.collector.seen_then.clone(),
            stale: self.collector.stale.clone(),
        });
        records.push(Record::ClockBound { until: self.collector.clock_bound });
        records.push(Record::Run { run: self.reads.run });
        for (id, instance) in self.lanes.iter() {
            describe(id, instance, &mut records);
        }
        records
    }

    /// What is decided, without anything that its owner promised or is.
    pub(crate) fn decided(image: Vec<Record>) -> Vec<Record> {
        let is_committed = |record: &Record| match record {
            Record::Committed { id, .. } => Some(*id),
            _ => None,
        };
        let committed: FxHashSet<InstanceId> = image.iter().filter_map(is_committed).collect();
        let stays = |record: &Record| match record {
            Record::Collected { .. } | Record::Executed { .. } | Record::Absent { .. } => true,
            Record::Learned { id, .. }
            | Record::Validated { id, .. }
            | Record::Committed { id, .. } => committed.contains(id),
            _ => false,
        };
        image.into_iter().filter(stays).collect()
    }

    /// Whether everything that members have collected, as far as is known here, is executed in a
    /// state: they will not tell of it any more.
    pub(crate) fn is_recent(&self, handover: &[Record]) -> bool {
        let mut executed = Deps::none(self.config.quorums.n());
        for (lane, upto) in handover.iter().filter_map(upto) {
            executed.include(lane, upto);
        }
        executed.covers(&self.collector.collectable)
    }

    /// Puts this replica where the owner of `handover` stood. Of its own it keeps its promises and
    /// its votes on what is undecided, and what it knows to be decided.
    pub(crate) fn take_over(&mut self, handover: Vec<Record>, now: Now, fx: &mut Fx) {
        let mut own = self.all_records();
        let mut fresh = Self::new(self.config.clone(), now);
        fresh.counters = self.counters;
        fresh.durable = self.durable;
        fresh.suspected = self.suspected;
        fresh.commit_age = self.commit_age;
        fresh.proposed_before = self.lanes.highest(self.me());
        fresh.collector.heard = std::mem::take(&mut self.collector.heard);
        fresh.collector.heard_at = std::mem::take(&mut self.collector.heard_at);
        fresh.collector.counted_absent_by = self.collector.counted_absent_by;
        fresh.collector.stale = self.collector.stale.clone();
        let mut fence = self.collector.fence.clone();
        let mut decided = FxHashSet::default();
        let executed: Vec<(ReplicaId, Slot)> = handover.iter().filter_map(upto).collect();
        for mut record in handover {
            match &mut record {
                Record::Collected { collected, .. } => {
                    fence.union(collected);
                    // What is gone here already does not come back.
                    for (lane, upto) in &executed {
                        collected.include(*lane, self.lanes.collected(*lane).min(*upto));
                    }
                }
                Record::Committed { id, .. } => _ = decided.insert(*id),
                _ => {}
            }
            fresh.replay_one(record, now, fx);
        }
        fresh.collector.fence = fence;
        own.retain(|record| match record {
            Record::Collected { .. } | Record::Executed { .. } | Record::Absent { .. } => false,
            record => record
                .instance()
                .is_none_or(|id| !decided.contains(&id) && !fresh.lanes.is_collected(id)),
        });
        for record in own {
            let record = fresh.withdraw(record);
            fresh.replay_one(record, now, fx);
        }
        // What is decided stays at the ballots that were joined here.
        for id in decided {
            if let (Some(old), Some(instance)) = (self.lanes.get(id), fresh.lanes.get_mut(id)) {
                instance.ballot = instance.ballot.max(old.ballot);
                instance.accepted_ballot = instance.accepted_ballot.max(old.accepted_ballot);
            }
        }
        // It goes by the same members, and counts from here what it had seen when it did.
        fresh.collector.absent = fresh.collector.absent.without(self.me());
        fresh.collector.seen_then = fresh.lanes.all_highest();
        fresh.last_proposed_at = self.last_proposed_at;
        fresh.reads = self.reads.begin_again();
        fresh.counters.installed += 1;
        *self = fresh;
        self.execute(fx);
        self.collector.advertised = self.all_executed();
    }

    /// An endorsement that ignores commands collected in a state taken over becomes mere knowledge
    /// of what was proposed: which of those commands it conflicts with cannot be told any more.
    fn withdraw(&mut self, record: Record) -> Record {
        match record {
            Record::PreAccepted { id, command, init_deps, .. }
                if !init_deps.covers(&self.collector.fence)
                    && !self.mutated(Mutation::KeepEndorsements) =>
            {
                self.counters.withdrawn += 1;
                Record::Validated { id, command, init_deps }
            }
            record => record,
        }
    }
}

/// Up to where a lane is executed, if the record says so.
fn upto(record: &Record) -> Option<(ReplicaId, Slot)> {
    match record {
        Record::Executed { lane, upto, .. } => Some((*lane, *upto)),
        _ => None,
    }
}

/// The records that make an instance what it is.
fn describe(id: InstanceId, instance: &Instance, records: &mut Vec<Record>) {
    let ballot = instance.accepted_ballot;
    match (&instance.payload, &instance.init_deps) {
        (Some(command), Some(init_deps)) if instance.phase == Phase::PreAccepted => {
            let (command, init_deps) = (command.clone(), init_deps.clone());
            records.push(Record::PreAccepted {
                id,
                command,
                init_deps,
                deps: instance.deps.clone(),
            });
        }
        (Some(command), Some(init_deps)) => {
            let (command, init_deps) = (command.clone(), init_deps.clone());
            records.push(Record::Validated { id, command, init_deps });
        }
        (Some(command), None) => records.push(Record::Learned { id, command: command.clone() }),
        (None, _) => {}
    }
    let value = if instance.nop { Proposal::Nop } else { Proposal::Original };
    let deps = instance.deps.clone();
    match instance.phase {
        Phase::Accepted => records.push(Record::Accepted { ballot, id, value, deps }),
        Phase::Committed => records.push(Record::Committed { ballot, id, value, deps }),
        Phase::Initial | Phase::PreAccepted => {}
    }
    if instance.ballot > ballot {
        records.push(Record::Joined { ballot: instance.ballot, id });
    }
}

impl EPaxos {
    /// The first record of an image: nothing below is known any more.
    pub(crate) fn begin_above(&mut self, record: Record) {
        let Record::Collected { collected, fence } = record else { return };
        self.lanes = Lanes::above(&collected);
        for (lane, upto) in collected.lanes() {
            self.graph.were_executed(lane, upto);
        }
        self.collector.collectable = collected;
        self.collector.fence = fence;
    }
}
