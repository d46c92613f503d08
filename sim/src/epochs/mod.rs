//! Epochs in the simulator: members come and go, and protocols change, under all the faults there are.

mod change;
mod checks;
mod required;
mod swarm;
mod tuning;

use std::sync::Arc;

use bytes::Bytes;
use panchayat_consensus::{Command, InstanceId, NodeId, Quorums, ReplicaId, ReplicaSet};
use panchayat_epaxos::EPaxos;
use panchayat_epochs::{
    Advice, Body, Config, Epoch, Epochs, Member, Message, Openings, Order, OrderConfig, Ordering,
    Record, RecordBody, Seen, Standing, Watch,
};
use panchayat_fastpaxos::FastPaxos;
use panchayat_multipaxos::MultiPaxos;

pub use change::{Change, PlannedChange};
pub use checks::EpochsChecks;
pub use tuning::EpochTuning;

use crate::required::Required;
use crate::rng::Rng;
use crate::setup::Setup;
use crate::subject::{Part, Seat, Subject, Tuning};

/// The number of the node at a place. In a world every node has a place of its own.
pub(crate) fn node_at(place: ReplicaId) -> NodeId {
    NodeId(u64::from(place.0) + 1)
}

pub(crate) fn member_at(place: ReplicaId) -> Member {
    Member { place, node: node_at(place), contact: Bytes::new() }
}

/// Configures the protocol of an epoch as the swarm would configure it by itself.
#[derive(Debug)]
struct Drawn {
    tuning: Tuning,
    seed: u64,
}

impl Openings for Drawn {
    fn open(&self, epoch: &Epoch, replica: ReplicaId) -> OrderConfig {
        let quorums = Quorums::for_replicas(epoch.members.len()).expect("epochs are checked");
        let (tuning, seed) = (&self.tuning, self.seed ^ epoch.number.0);
        let seat = Seat { replica, quorums, seed, tuning, mistake: None };
        match epoch.order {
            Order::EPaxos => OrderConfig::EPaxos(EPaxos::config(&seat)),
            Order::MultiPaxos => OrderConfig::MultiPaxos(MultiPaxos::config(&seat)),
            Order::FastPaxos => OrderConfig::FastPaxos(FastPaxos::config(&seat)),
        }
    }

    fn watch(&self, _epoch: &Epoch) -> Option<Watch> {
        self.tuning.epochs.watch
    }

    /// Something else for a while, whatever was measured: it is about moving, not about where to.
    fn advise(&self, epoch: &Epoch, seen: &[Seen]) -> Option<Advice> {
        assert_eq!(seen.len(), epoch.members.len(), "every member is accounted for");
        let number = epoch.number.0;
        let drawn = Rng::new(self.seed.wrapping_add(number), "advice").below(3) as usize;
        let order = [Order::EPaxos, Order::MultiPaxos, Order::FastPaxos][drawn];
        let wants = number < MOVES_MAX && order != epoch.order;
        wants.then(|| Advice { order, parameters: Bytes::new(), reason: "drawn".to_owned() })
    }
}

/// Epochs after which a group wants no more changes, so that a run can come to rest.
const MOVES_MAX: u64 = 12;

const EPAXOS: &[&str] = EPaxos::LABELS;
const MULTIPAXOS: &[&str] = MultiPaxos::LABELS;
const FASTPAXOS: &[&str] = FastPaxos::LABELS;
const ALL: usize = EPAXOS.len() + MULTIPAXOS.len() + FASTPAXOS.len() + 3;

/// The labels of all protocols, one after the other, and those of epochs.
const LABELS: [&str; ALL] = {
    let mut labels = [""; ALL];
    let mut at = 0;
    let all = [EPAXOS, MULTIPAXOS, FASTPAXOS, &["Reached", "Current", "Report"]];
    let mut protocol = 0;
    while protocol < all.len() {
        let mut label = 0;
        while label < all[protocol].len() {
            labels[at] = all[protocol][label];
            at += 1;
            label += 1;
        }
        protocol += 1;
    }
    labels
};

impl Subject for Epochs {
    type Checks = EpochsChecks;
    const LABELS: &'static [&'static str] = &LABELS;

    fn draw(seed: u64, n: usize) -> Setup {
        swarm::draw(seed, n)
    }

    fn required(n: usize) -> Required {
        required::required(n)
    }

    fn leads(&self) -> Option<u64> {
        let number = self.epoch()?.number.0;
        let round = match self.current()? {
            Ordering::EPaxos(_) => None,
            Ordering::MultiPaxos(protocol) => protocol.leads(),
            Ordering::FastPaxos(protocol) => protocol.leads(),
        };
        Some(number << 40 | round?)
    }

    fn part(&self) -> Part {
        match self.standing() {
            Standing::Member(epoch) => Part::Member(epoch.0),
            Standing::Learner | Standing::Removed(_) => Part::Outside,
        }
    }

    fn roster(&self) -> Option<ReplicaSet> {
        Some(self.epoch().map(Epoch::places).unwrap_or_default())
    }

    fn established(&self) -> Option<u64> {
        let epoch = self.epoch()?;
        // Its own coming may not be durable yet.
        let me = self.place();
        let others = epoch.places().iter().filter(|place| *place != me);
        let reached = others.filter(|place| self.reached().contains(*place)).count();
        (reached >= epoch.slow_quorum()).then_some(epoch.number.0)
    }

    fn next_epoch(
        &self,
        change: &Change,
        choice: u64,
        lost: ReplicaSet,
        places: usize,
    ) -> Option<Epoch> {
        change::next_epoch(self, change, choice, lost, places)
    }

    fn own_seal(&self) -> Option<(u64, ReplicaSet, &Command)> {
        let decision = self.last_decision()?;
        let next = Epoch::of_seal(&decision.seal)?;
        Some((next.number.0, next.places(), &decision.seal))
    }

    fn config(seat: &Seat<'_>) -> Config {
        let tuning = &seat.tuning.epochs;
        let founders = (0..tuning.founders as u8).map(ReplicaId);
        let members = founders.map(member_at).collect();
        let founding = Epoch::founding(tuning.order, Bytes::new(), members);
        let founding = founding.expect("the swarm draws enough founders");
        let is_founder = founding.seat_of(seat.replica).is_some();
        let mut config = Config {
            place: seat.replica,
            node: node_at(seat.replica),
            founding: is_founder.then_some(founding),
            openings: Arc::new(Drawn { tuning: seat.tuning.clone(), seed: seat.seed }),
            timing: tuning.timing,
            #[cfg(feature = "mutations")]
            mutation: None,
        };
        make_mistake(&mut config, seat.mistake);
        config
    }

    fn label(message: &Message) -> usize {
        let others = EPAXOS.len() + MULTIPAXOS.len() + FASTPAXOS.len();
        match message {
            Message::Of { body: Body::EPaxos(message), .. } => EPaxos::label(message),
            Message::Of { body: Body::MultiPaxos(message), .. } => {
                EPAXOS.len() + MultiPaxos::label(message)
            }
            Message::Of { body: Body::FastPaxos(message), .. } => {
                EPAXOS.len() + MULTIPAXOS.len() + FastPaxos::label(message)
            }
            Message::Reached { .. } => others,
            Message::Current { .. } => others + 1,
            Message::Report { .. } => others + 2,
        }
    }

    fn message_instance(message: &Message) -> Option<InstanceId> {
        let Message::Of { epoch, body } = message else { return None };
        let id = match body {
            Body::EPaxos(message) => EPaxos::message_instance(message),
            Body::MultiPaxos(message) => MultiPaxos::message_instance(message),
            Body::FastPaxos(message) => FastPaxos::message_instance(message),
        };
        Some(Self::name(*epoch, id?))
    }

    fn record_instance(record: &Record) -> Option<InstanceId> {
        let Record::Of { epoch, body } = record else { return None };
        let id = match body {
            RecordBody::EPaxos(record) => EPaxos::record_instance(record),
            RecordBody::MultiPaxos(record) => MultiPaxos::record_instance(record),
            RecordBody::FastPaxos(record) => FastPaxos::record_instance(record),
        };
        Some(Self::name(*epoch, id?))
    }

    fn unsettled(&self, limit: usize) -> Vec<InstanceId> {
        match self.current() {
            None => Vec::new(),
            Some(Ordering::EPaxos(protocol)) => protocol.unsettled(limit),
            Some(Ordering::MultiPaxos(protocol)) => protocol.unsettled(limit),
            Some(Ordering::FastPaxos(protocol)) => protocol.unsettled(limit),
        }
    }

    fn describe(&self, id: InstanceId) -> String {
        let described = match self.current() {
            None => "nothing".to_owned(),
            Some(Ordering::EPaxos(protocol)) => protocol.describe(id),
            Some(Ordering::MultiPaxos(protocol)) => protocol.describe(id),
            Some(Ordering::FastPaxos(protocol)) => protocol.describe(id),
        };
        format!("{:?}, epoch {:?}: {described}", self.standing(), self.epoch())
    }
}

#[cfg(feature = "mutations")]
fn make_mistake(config: &mut Config, mistake: Option<usize>) {
    use panchayat_epochs::Mutation;
    config.mutation = mistake.and_then(|number| Mutation::ALL.get(number).copied());
}

#[cfg(not(feature = "mutations"))]
fn make_mistake(_config: &mut Config, mistake: Option<usize>) {
    assert!(mistake.is_none(), "mistakes need a build with the feature `mutations`");
}
