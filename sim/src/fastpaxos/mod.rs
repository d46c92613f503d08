//! Fast Paxos as a subject of the simulator.

mod checks;
mod facts;
mod required;
pub(crate) mod swarm;
mod tuning;

use panchayat_consensus::InstanceId;
use panchayat_fastpaxos::{Config, FastPaxos, FastQuorums, Limits, Message, Record, Timing};

pub use checks::FastPaxosChecks;
pub use tuning::FastTuning;

use crate::log::{instance, is_slot, unsettled};
use crate::required::Required;
use crate::setup::Setup;
use crate::subject::{Seat, Subject, Tuning};

/// The quorums of a run.
pub(super) fn quorums(n: usize, tuning: &Tuning) -> FastQuorums {
    let quorums = match tuning.fast.quorums {
        None => FastQuorums::for_replicas(n),
        Some((q1, fast, classic)) => FastQuorums::new(n, q1, fast, classic),
    };
    quorums.expect("the swarm draws quorums that meet")
}

impl Subject for FastPaxos {
    type Checks = FastPaxosChecks;
    /// The first ones are those that faults aim at: what reached few when its sender was lost.
    const LABELS: &'static [&'static str] = &[
        "Propose",
        "Votes",
        "Accept",
        "Prepare",
        "Reported",
        "Close",
        "Heartbeat",
        "PreVote",
        "PreVoteOk",
        "HeartbeatOk",
        "Refused",
        "Status",
        "Fetch",
        "Learn",
        "Gone",
        "Resign",
    ];

    fn draw(seed: u64, n: usize) -> Setup {
        swarm::draw(seed, n)
    }

    fn required(n: usize) -> Required {
        required::required(n)
    }

    fn leads(&self) -> Option<u64> {
        self.is_coordinator().then(|| self.promised().round())
    }

    fn config(seat: &Seat<'_>) -> Config {
        let (tuning, n) = (seat.tuning, seat.quorums.n());
        let (log, fast) = (&tuning.log, &tuning.fast);
        let mut config = Config::new(seat.replica, quorums(n, tuning), tuning.patience);
        config.ranking = fast.ranking.clone();
        config.slots = fast.slots;
        config.mode = fast.mode;
        config.timing = Timing {
            heartbeat_interval: log.heartbeat_interval,
            election_timeout: log.election_timeout,
            stagger: tuning.stagger,
            settle_delay: fast.settle_delay,
            patience: tuning.patience,
            arrival_wait_max: fast.arrival_wait_max,
            catch_up_delay: log.catch_up_delay,
            status_interval: tuning.status_interval,
            hold: tuning.hold,
        };
        config.limits = Limits {
            in_flight_max: tuning.in_flight_max,
            span_max: log.span_max,
            window_slots_max: log.window_slots_max,
            known_max: fast.known_max,
            known_bytes_max: fast.known_bytes_max,
            batch_bytes_max: log.batch_bytes_max,
            retained_slots_max: tuning.retained_max as u64,
            // So that what may be collected can be checked by counting.
            retained_bytes_max: usize::MAX / 8,
        };
        config.seed = seat.seed;
        make_mistake(&mut config, seat.mistake);
        config
    }

    fn label(message: &Message) -> usize {
        match message {
            Message::Propose { .. } => 0,
            Message::Votes { .. } => 1,
            Message::Accept { .. } => 2,
            Message::Prepare { .. } => 3,
            Message::Reported { .. } => 4,
            Message::Close { .. } => 5,
            Message::Heartbeat { .. } => 6,
            Message::PreVote { .. } => 7,
            Message::PreVoteOk { .. } => 8,
            Message::HeartbeatOk { .. } => 9,
            Message::Refused { .. } => 10,
            Message::Status { .. } => 11,
            Message::Fetch { .. } => 12,
            Message::Learn { .. } => 13,
            Message::Gone { .. } => 14,
            Message::Resign { .. } => 15,
        }
    }

    /// The first of the slots it speaks of.
    fn message_instance(message: &Message) -> Option<InstanceId> {
        match message {
            Message::Accept { first, .. }
            | Message::Votes { first, .. }
            | Message::Learn { first, .. } => Some(instance(*first)),
            _ => None,
        }
    }

    /// The first of the slots it is about.
    fn record_instance(record: &Record) -> Option<InstanceId> {
        match record {
            Record::Voted { first, .. } | Record::Learned { first, .. } => Some(instance(*first)),
            _ => None,
        }
    }

    fn unsettled(&self, limit: usize) -> Vec<InstanceId> {
        unsettled(self, limit)
    }

    fn describe(&self, id: InstanceId) -> String {
        let place = format!(
            "{}; promised {:?}, executed upto {}, collected upto {}, highest {}",
            self.status(),
            self.promised(),
            self.chosen_upto(),
            self.collected_upto(),
            self.highest(),
        );
        match (is_slot(id), self.vote(id.slot), self.chosen_entry(id.slot)) {
            (false, ..) => place,
            (true, vote, Some(entry)) => format!("chosen {entry:?}, voted {vote:?}; {place}"),
            (true, vote, None) => format!("voted {vote:?}; {place}"),
        }
    }
}

#[cfg(feature = "mutations")]
fn make_mistake(config: &mut Config, mistake: Option<usize>) {
    use panchayat_fastpaxos::Mutation;
    config.mutation = mistake.and_then(|number| Mutation::ALL.get(number).copied());
}

#[cfg(not(feature = "mutations"))]
fn make_mistake(_config: &mut Config, mistake: Option<usize>) {
    assert!(mistake.is_none(), "mistakes need a build with the feature `mutations`");
}
