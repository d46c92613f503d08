//! The codec of messages and records against hostile and damaged input: no panic, no allocation
//! beyond what the input justifies, and whatever is read back is what was written.

use std::sync::Arc;

use bytes::Bytes;
use panchayat_consensus::wire::{Decode, Encode, from_bytes, to_bytes};
use panchayat_consensus::{
    Ballot, Command, Footprint, InstanceId, KeyHash, Mode, ReplicaId, ReplicaSet, Value, WallTime,
};
use panchayat_epaxos::{Deps, Invalidator, Message, Phase, Proposal, Record, Report, Status};
use proptest::prelude::*;

fn id() -> impl Strategy<Value = InstanceId> {
    (0u8..16, 1u64..).prop_map(|(replica, slot)| InstanceId::new(ReplicaId(replica), slot))
}

fn ballot() -> impl Strategy<Value = Ballot> {
    (0u32..5, 0u8..16).prop_map(|(rounds, replica)| {
        (0..rounds).fold(Ballot::INITIAL, |ballot, _| ballot.next_for(ReplicaId(replica)))
    })
}

fn deps() -> impl Strategy<Value = Deps> {
    prop::collection::vec(any::<u64>(), 0..9).prop_map(|slots| slots.into_iter().collect())
}

fn command() -> impl Strategy<Value = Arc<Command>> {
    let key = (any::<u64>(), 0usize..3).prop_map(|(key, mode)| (KeyHash(key), Mode::ALL[mode]));
    let footprint = prop_oneof![
        Just(Footprint::barrier()),
        prop::collection::vec(key, 0..6).prop_map(Footprint::new)
    ];
    (footprint, any::<u64>(), prop::collection::vec(any::<u8>(), 0..64)).prop_map(
        |(footprint, wall, payload)| {
            Arc::new(Command {
                footprint,
                proposed_at: WallTime(wall),
                request: None,
                payload: payload.into(),
            })
        },
    )
}

fn proposal() -> impl Strategy<Value = Proposal> {
    prop_oneof![Just(Proposal::Nop), Just(Proposal::Original), command().prop_map(Proposal::Full)]
}

fn report() -> impl Strategy<Value = Report> {
    let phases = [Phase::Initial, Phase::PreAccepted, Phase::Accepted, Phase::Committed];
    let value = prop_oneof![Just(Value::Nop), command().prop_map(Value::Command)];
    let parts = (ballot(), 0usize..4, prop::option::of(value), deps(), prop::option::of(deps()));
    parts.prop_map(move |(accepted_ballot, phase, value, deps, init_deps)| Report {
        accepted_ballot,
        phase: phases[phase],
        value,
        deps,
        init_deps,
    })
}

fn absent() -> impl Strategy<Value = ReplicaSet> {
    prop::collection::vec(0u8..16, 0..4)
        .prop_map(|seats| seats.into_iter().map(ReplicaId).collect())
}

fn status() -> impl Strategy<Value = Status> {
    (prop::array::uniform6(deps()), absent(), any::<u64>()).prop_map(|(vectors, absent, wall)| {
        let [seen, reached, executed, collected, shared, seen_then] = vectors;
        let proposed_after = WallTime(wall);
        Status { seen, reached, executed, collected, shared, absent, seen_then, proposed_after }
    })
}

fn message() -> impl Strategy<Value = Message> {
    let invalidator =
        (id(), any::<bool>()).prop_map(|(id, committed)| Invalidator { id, committed });
    let invalidators = prop::collection::vec(invalidator, 0..5);
    prop_oneof![
        (id(), command(), deps()).prop_map(|(id, command, deps)| Message::PreAccept {
            id,
            command,
            deps
        }),
        (id(), deps(), absent()).prop_map(|(id, deps, absent)| Message::PreAcceptOk {
            id,
            deps,
            absent
        }),
        (ballot(), id(), proposal(), deps())
            .prop_map(|(ballot, id, value, deps)| Message::Accept { ballot, id, value, deps }),
        (ballot(), id()).prop_map(|(ballot, id)| Message::AcceptOk { ballot, id }),
        (ballot(), id(), proposal(), deps())
            .prop_map(|(ballot, id, value, deps)| Message::Commit { ballot, id, value, deps }),
        (ballot(), id()).prop_map(|(ballot, id)| Message::Recover { ballot, id }),
        (ballot(), id(), report()).prop_map(|(ballot, id, report)| Message::RecoverOk {
            ballot,
            id,
            report
        }),
        (ballot(), id(), command(), deps()).prop_map(|(ballot, id, command, deps)| {
            Message::Validate { ballot, id, command, deps }
        }),
        (ballot(), id(), invalidators).prop_map(|(ballot, id, invalidators)| {
            Message::ValidateOk { ballot, id, invalidators }
        }),
        (id(), any::<u8>()).prop_map(|(id, endorsers)| Message::Waiting { id, endorsers }),
        (id(), any::<bool>()).prop_map(|(id, payload)| Message::Fetch { id, payload }),
        (id(), command()).prop_map(|(id, command)| Message::Payload { id, command }),
        (ballot(), id()).prop_map(|(ballot, id)| Message::Refused { ballot, id }),
        id().prop_map(|id| Message::Gone { id }),
        status().prop_map(|status| Message::Status(Box::new(status))),
        (any::<u64>(), any::<u64>())
            .prop_map(|(number, key)| Message::Read { number, key: KeyHash(key) }),
        (any::<u64>(), deps()).prop_map(|(number, named)| Message::ReadOk { number, named }),
    ]
}

fn record() -> impl Strategy<Value = Record> {
    prop_oneof![
        (id(), command(), deps(), deps()).prop_map(|(id, command, init_deps, deps)| {
            Record::PreAccepted { id, command, init_deps, deps }
        }),
        (ballot(), id(), proposal(), deps())
            .prop_map(|(ballot, id, value, deps)| Record::Accepted { ballot, id, value, deps }),
        (ballot(), id(), proposal(), deps())
            .prop_map(|(ballot, id, value, deps)| Record::Committed { ballot, id, value, deps }),
        (ballot(), id()).prop_map(|(ballot, id)| Record::Joined { ballot, id }),
        (id(), command(), deps()).prop_map(|(id, command, init_deps)| Record::Validated {
            id,
            command,
            init_deps
        }),
        (id(), command()).prop_map(|(id, command)| Record::Learned { id, command }),
        (absent(), deps(), deps()).prop_map(|(absent, seen_then, stale)| Record::Absent {
            absent,
            seen_then,
            stale
        }),
        any::<u64>().prop_map(|run| Record::Run { run }),
        any::<u64>().prop_map(|until| Record::ClockBound { until: WallTime(until) }),
        (deps(), deps()).prop_map(|(collected, fence)| Record::Collected { collected, fence }),
        (0u8..16, any::<u64>(), prop::collection::vec(any::<u64>(), 0..5)).prop_map(
            |(lane, upto, beyond)| Record::Executed { lane: ReplicaId(lane), upto, beyond }
        ),
    ]
}

/// What decodes must encode to the same bytes, unless it was encoded wastefully.
fn survives<T: Encode + Decode + PartialEq + std::fmt::Debug>(bytes: Vec<u8>) {
    if let Ok(value) = from_bytes::<T>(Bytes::from(bytes)) {
        let again = from_bytes::<T>(to_bytes(&value));
        assert_eq!(again, Ok(value));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn messages_come_back(message in message()) {
        prop_assert_eq!(from_bytes::<Message>(to_bytes(&message)), Ok(message));
    }

    #[test]
    fn records_come_back(record in record()) {
        prop_assert_eq!(from_bytes::<Record>(to_bytes(&record)), Ok(record));
    }

    #[test]
    fn garbage_is_refused_in_peace(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        survives::<Message>(bytes.clone());
        survives::<Record>(bytes);
    }

    #[test]
    fn damage_is_refused_or_read_as_something_else(
        message in message(),
        record in record(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        cut in any::<prop::sample::Index>(),
    ) {
        for whole in [to_bytes(&message), to_bytes(&record)] {
            let mut damaged = whole.to_vec();
            let index = at.index(damaged.len());
            damaged[index] = byte;
            survives::<Message>(damaged.clone());
            survives::<Record>(damaged.clone());
            damaged.truncate(cut.index(damaged.len()));
            survives::<Message>(damaged.clone());
            survives::<Record>(damaged);
        }
    }
}
