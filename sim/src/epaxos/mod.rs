//! EPaxos as a subject of the simulator.

mod checks;
mod recovery;

use panchayat_consensus::InstanceId;
use panchayat_epaxos::{Config, EPaxos, Limits, Message, Record, Timing};

pub use checks::EPaxosChecks;

use crate::required::{self, Required};
use crate::subject::{Seat, Subject};

impl Subject for EPaxos {
    type Checks = EPaxosChecks;
    const LABELS: &'static [&'static str] = &[
        "PreAccept",
        "PreAcceptOk",
        "Accept",
        "AcceptOk",
        "Commit",
        "Recover",
        "RecoverOk",
        "Validate",
        "ValidateOk",
        "Waiting",
        "Fetch",
        "Payload",
        "Refused",
        "Status",
        "Gone",
        "Read",
        "ReadOk",
    ];

    fn required(n: usize) -> Required {
        required::of_epaxos(n)
    }

    fn config(seat: &Seat<'_>) -> Config {
        let tuning = seat.tuning;
        let mut config = Config::new(seat.replica, seat.quorums, tuning.patience);
        config.timing = Timing {
            patience: tuning.patience,
            recovery_delay: tuning.recovery_delay,
            stagger: tuning.stagger,
            status_interval: tuning.status_interval,
            fast_quorum_wait: tuning.fast_quorum_wait,
            hold: tuning.hold,
        };
        config.limits = Limits {
            in_flight_max: tuning.in_flight_max,
            unexecuted_per_key_max: tuning.unexecuted_per_key_max,
            recoveries_max: tuning.recoveries_max,
            fetches_max: tuning.fetches_max,
            lane_window_max: tuning.lane_window_max,
            retained_max: tuning.retained_max,
            retained_bytes_max: usize::MAX / 8,
            large_bytes: tuning.large_bytes,
        };
        config.seed = seat.seed;
        make_mistake(&mut config, seat.mistake);
        config
    }

    fn label(message: &Message) -> usize {
        match message {
            Message::PreAccept { .. } => 0,
            Message::PreAcceptOk { .. } => 1,
            Message::Accept { .. } => 2,
            Message::AcceptOk { .. } => 3,
            Message::Commit { .. } => 4,
            Message::Recover { .. } => 5,
            Message::RecoverOk { .. } => 6,
            Message::Validate { .. } => 7,
            Message::ValidateOk { .. } => 8,
            Message::Waiting { .. } => 9,
            Message::Fetch { .. } => 10,
            Message::Payload { .. } => 11,
            Message::Refused { .. } => 12,
            Message::Status(_) => 13,
            Message::Gone { .. } => 14,
            Message::Read { .. } => 15,
            Message::ReadOk { .. } => 16,
        }
    }

    fn message_instance(message: &Message) -> Option<InstanceId> {
        message.instance()
    }

    fn record_instance(record: &Record) -> Option<InstanceId> {
        record.instance()
    }

    fn unsettled(&self, limit: usize) -> Vec<InstanceId> {
        let undecided = self.instances().filter(|(_, instance)| !instance.is_committed());
        let waiting = self
            .instances()
            .filter(|(id, instance)| instance.is_committed() && !self.is_executed(*id));
        undecided.chain(waiting).map(|(id, _)| id).take(limit).collect()
    }

    fn describe(&self, id: InstanceId) -> String {
        match self.instance(id) {
            None => "unknown".into(),
            Some(instance) => format!(
                "{instance:?} executed: {}, waits for {:?}",
                self.is_executed(id),
                self.waits_for(id)
            ),
        }
    }
}

#[cfg(feature = "mutations")]
fn make_mistake(config: &mut Config, mistake: Option<usize>) {
    use panchayat_epaxos::Mutation;
    config.mutation = mistake.and_then(|number| Mutation::ALL.get(number).copied());
}

#[cfg(not(feature = "mutations"))]
fn make_mistake(_config: &mut Config, mistake: Option<usize>) {
    assert!(mistake.is_none(), "mistakes need a build with the feature `mutations`");
}
