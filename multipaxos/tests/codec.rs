//! The codec of messages and records against hostile and damaged input: no panic, no allocation
//! beyond what the input justifies, and whatever is read back is what was written.

use std::sync::Arc;

use bytes::Bytes;
use panchayat_consensus::wire::{Decode, DecodeError, Encode, Writer, from_bytes, to_bytes};
use panchayat_consensus::{
    Ballot, ClientId, Command, Footprint, KeyHash, Mode, ReplicaId, Request, Slot, Time, WallTime,
};
use panchayat_multipaxos::{Applied, Entry, Message, Progress, Record, Report, Submission, Way};
use proptest::prelude::*;

fn slot() -> impl Strategy<Value = Slot> {
    0u64..1 << 60
}

fn ballot() -> impl Strategy<Value = Ballot> {
    (0u32..5, 0u8..16).prop_map(|(rounds, replica)| {
        (0..rounds).fold(Ballot::INITIAL, |ballot, _| ballot.next_for(ReplicaId(replica)))
    })
}

fn command() -> impl Strategy<Value = Arc<Command>> {
    let key = (any::<u64>(), 0usize..3).prop_map(|(key, mode)| (KeyHash(key), Mode::ALL[mode]));
    let footprint = prop_oneof![
        Just(Footprint::barrier()),
        prop::collection::vec(key, 0..6).prop_map(Footprint::new)
    ];
    let request = (any::<u64>(), any::<u64>(), any::<u64>()).prop_map(|(client, sequence, at)| {
        Request { client: ClientId(client.into()), sequence, issued_at: WallTime(at) }
    });
    let payload = prop::collection::vec(any::<u8>(), 0..64);
    (footprint, any::<u64>(), prop::option::of(request), payload).prop_map(
        |(footprint, wall, request, payload)| {
            let proposed_at = WallTime(wall);
            Arc::new(Command { footprint, proposed_at, request, payload: payload.into() })
        },
    )
}

fn numbers() -> impl Strategy<Value = (u64, u64)> {
    (1u64..1 << 62, 1u64..1 << 40).prop_map(|(number, back)| (number, number.saturating_sub(back)))
}

fn entry() -> impl Strategy<Value = Entry> {
    let submission =
        (0u8..16, numbers(), command()).prop_map(|(origin, (number, floor), command)| {
            Entry::Command(Submission { origin: ReplicaId(origin), number, floor, command })
        });
    prop_oneof![Just(Entry::Nop), submission]
}

fn entries() -> impl Strategy<Value = (Slot, Vec<Entry>)> {
    (1u64..1 << 60, prop::collection::vec(entry(), 1..5))
}

fn progress() -> impl Strategy<Value = Progress> {
    (slot(), slot(), slot()).prop_map(|(chosen, kept, highest)| Progress { chosen, kept, highest })
}

fn report() -> impl Strategy<Value = Report> {
    (slot(), ballot(), any::<bool>(), entry()).prop_map(|(slot, ballot, chosen, entry)| Report {
        slot,
        ballot,
        chosen,
        entry,
    })
}

fn message() -> impl Strategy<Value = Message> {
    let ways = [Way::Lease, Way::Index, Way::Quorum];
    let part = (ballot(), slot(), prop::collection::vec(report(), 0..4), slot());
    prop_oneof![
        (numbers(), command()).prop_map(|((number, floor), command)| Message::Forward {
            number,
            floor,
            command
        }),
        any::<u64>().prop_map(|number| Message::Busy { number }),
        (ballot(), slot()).prop_map(|(ballot, chosen)| Message::PreVote { ballot, chosen }),
        ballot().prop_map(|ballot| Message::PreVoteOk { ballot }),
        (ballot(), slot(), ballot()).prop_map(|(ballot, from, released)| Message::Prepare {
            ballot,
            from,
            released
        }),
        part.prop_map(|(ballot, from, reports, next)| Message::Promise {
            ballot,
            from,
            reports,
            next
        }),
        (ballot(), ballot()).prop_map(|(ballot, promised)| Message::Refused { ballot, promised }),
        (ballot(), entries(), slot()).prop_map(|(ballot, (first, entries), chosen)| {
            Message::Accept { ballot, first, entries, chosen }
        }),
        (ballot(), 1u64..1 << 60, 0u64..1 << 60).prop_map(|(ballot, first, more)| {
            Message::AcceptOk { ballot, first, last: first + more }
        }),
        (ballot(), slot()).prop_map(|(ballot, upto)| Message::Chosen { ballot, upto }),
        (ballot(), any::<u64>(), progress()).prop_map(|(ballot, sent, progress)| {
            Message::Heartbeat { ballot, sent: Time(sent), progress }
        }),
        (ballot(), any::<u64>(), progress()).prop_map(|(ballot, sent, progress)| {
            Message::HeartbeatOk { ballot, sent: Time(sent), progress }
        }),
        progress().prop_map(Message::Status),
        slot().prop_map(|from| Message::Fetch { from }),
        entries().prop_map(|(first, entries)| Message::Learn { first, entries }),
        slot().prop_map(|base| Message::Gone { base }),
        ballot().prop_map(|ballot| Message::Transfer { ballot }),
        ballot().prop_map(|ballot| Message::Resign { ballot }),
        (any::<u64>(), 0usize..3).prop_map(move |(id, way)| Message::Read { id, way: ways[way] }),
        (any::<u64>(), slot()).prop_map(|(id, slot)| Message::ReadAt { id, slot }),
    ]
}

fn applied() -> impl Strategy<Value = Applied> {
    prop::collection::vec((1u64..200, 0u64..100), 0..40).prop_map(|numbers| {
        let mut applied = Applied::default();
        for (number, floor) in numbers {
            applied.apply(number, floor.min(number - 1));
        }
        applied
    })
}

fn record() -> impl Strategy<Value = Record> {
    prop_oneof![
        any::<u64>().prop_map(|run| Record::Started { run }),
        ballot().prop_map(|ballot| Record::Promised { ballot }),
        (ballot(), entries(), slot()).prop_map(|(ballot, (first, entries), chosen)| {
            Record::Accepted { ballot, first, entries, chosen }
        }),
        entries().prop_map(|(first, entries)| Record::Learned { first, entries }),
        slot().prop_map(|upto| Record::Chosen { upto }),
        slot().prop_map(|upto| Record::Adopted { upto }),
        (slot(), any::<u64>(), prop::collection::vec(applied(), 0..16)).prop_map(
            |(upto, at, applied)| Record::Snapshot { upto, proposed_at: WallTime(at), applied }
        ),
    ]
}

/// What decodes must encode to something that decodes to the same.
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

#[test]
fn what_no_replica_would_say_is_refused() {
    let entries_of_nothing = {
        let mut out = Writer::default();
        out.put_u8(14);
        out.put_varint(7);
        out.put_varint(0);
        out.finish()
    };
    assert_eq!(
        from_bytes::<Message>(entries_of_nothing),
        Err(DecodeError::OutOfRange("log entries"))
    );
    let hostile_count = {
        let mut out = Writer::default();
        out.put_u8(14);
        out.put_varint(7);
        out.put_varint(u64::MAX);
        out.finish()
    };
    assert_eq!(from_bytes::<Message>(hostile_count), Err(DecodeError::OutOfRange("log entries")));
    let far_slot = {
        let mut out = Writer::default();
        out.put_u8(13);
        out.put_varint(u64::MAX);
        out.finish()
    };
    assert_eq!(from_bytes::<Message>(far_slot), Err(DecodeError::OutOfRange("slot")));
}
