//! Multi-Paxos as a subject of the simulator.

mod checks;
mod facts;
mod required;
pub(crate) mod swarm;
mod tuning;

use panchayat_consensus::InstanceId;
use panchayat_multipaxos::{Config, FlexibleQuorums, Limits, Message, MultiPaxos, Record, Timing};

pub use checks::MultiPaxosChecks;
pub use tuning::LogTuning;

use crate::log::{instance, is_slot, unsettled};
use crate::required::Required;
use crate::setup::Setup;
use crate::subject::{Seat, Subject};

impl Subject for MultiPaxos {
    type Checks = MultiPaxosChecks;
    /// The first ones are those that faults aim at: what reached few when its sender was lost.
    const LABELS: &'static [&'static str] = &[
        "Accept",
        "AcceptOk",
        "Prepare",
        "Promise",
        "Heartbeat",
        "PreVote",
        "PreVoteOk",
        "HeartbeatOk",
        "Forward",
        "Busy",
        "Refused",
        "Chosen",
        "Status",
        "Fetch",
        "Learn",
        "Gone",
        "Transfer",
        "Resign",
        "Read",
        "ReadAt",
    ];

    fn draw(seed: u64, n: usize) -> Setup {
        swarm::draw(seed, n)
    }

    fn required(n: usize) -> Required {
        required::required(n)
    }

    fn leads(&self) -> Option<u64> {
        self.is_leader().then(|| self.promised().round())
    }

    fn config(seat: &Seat<'_>) -> Config {
        let (tuning, n) = (seat.tuning, seat.quorums.n());
        let log = &tuning.log;
        let quorums = match log.quorums {
            None => FlexibleQuorums::majorities(n),
            Some((q1, q2)) => FlexibleQuorums::new(n, q1, q2),
        };
        let quorums = quorums.expect("the swarm draws quorums that meet");
        let mut config = Config::new(seat.replica, quorums, tuning.patience);
        config.placement = log.placement.clone();
        config.learning = log.learning;
        config.confirmation = log.confirmation;
        config.lease = log.lease;
        config.timing = Timing {
            heartbeat_interval: log.heartbeat_interval,
            election_timeout: log.election_timeout,
            stagger: tuning.stagger,
            patience: tuning.patience,
            catch_up_delay: log.catch_up_delay,
            status_interval: tuning.status_interval,
            read_timeout: log.read_timeout,
            outcome_timeout: log.outcome_timeout,
            hold: tuning.hold,
        };
        config.limits = Limits {
            in_flight_max: tuning.in_flight_max,
            span_max: log.span_max,
            window_slots_max: log.window_slots_max,
            window_bytes_max: log.window_bytes_max,
            batch_bytes_max: log.batch_bytes_max,
            retained_slots_max: tuning.retained_max as u64,
            // So that what may be collected can be checked by counting.
            retained_bytes_max: usize::MAX / 8,
            reads_max: 1 << 10,
        };
        config.seed = seat.seed;
        make_mistake(&mut config, seat.mistake);
        config
    }

    fn label(message: &Message) -> usize {
        match message {
            Message::Accept { .. } => 0,
            Message::AcceptOk { .. } => 1,
            Message::Prepare { .. } => 2,
            Message::Promise { .. } => 3,
            Message::Heartbeat { .. } => 4,
            Message::PreVote { .. } => 5,
            Message::PreVoteOk { .. } => 6,
            Message::HeartbeatOk { .. } => 7,
            Message::Forward { .. } => 8,
            Message::Busy { .. } => 9,
            Message::Refused { .. } => 10,
            Message::Chosen { .. } => 11,
            Message::Status(_) => 12,
            Message::Fetch { .. } => 13,
            Message::Learn { .. } => 14,
            Message::Gone { .. } => 15,
            Message::Transfer { .. } => 16,
            Message::Resign { .. } => 17,
            Message::Read { .. } => 18,
            Message::ReadAt { .. } => 19,
        }
    }

    /// The first of the slots it speaks of.
    fn message_instance(message: &Message) -> Option<InstanceId> {
        match message {
            Message::Accept { first, .. }
            | Message::AcceptOk { first, .. }
            | Message::Learn { first, .. } => Some(instance(*first)),
            _ => None,
        }
    }

    /// The first of the slots it is about.
    fn record_instance(record: &Record) -> Option<InstanceId> {
        match record {
            Record::Accepted { first, .. } | Record::Learned { first, .. } => {
                Some(instance(*first))
            }
            _ => None,
        }
    }

    fn unsettled(&self, limit: usize) -> Vec<InstanceId> {
        unsettled(self, limit)
    }

    fn describe(&self, id: InstanceId) -> String {
        let place = format!(
            "leads: {}, leader {:?}, promised {:?}, executed upto {}, collected upto {}, highest \
             {}, {} in flight",
            self.is_leader(),
            self.leader(),
            self.promised(),
            self.chosen_upto(),
            self.collected_upto(),
            self.highest(),
            self.in_flight(),
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
    use panchayat_multipaxos::Mutation;
    config.mutation = mistake.and_then(|number| Mutation::ALL.get(number).copied());
}

#[cfg(not(feature = "mutations"))]
fn make_mistake(_config: &mut Config, mistake: Option<usize>) {
    assert!(mistake.is_none(), "mistakes need a build with the feature `mutations`");
}
