//! The codec of messages and records against hostile and damaged input: no panic, no allocation
//! beyond what the input justifies, and whatever is read back is what was written.

use std::sync::Arc;

use bytes::Bytes;
use panchayat_consensus::wire::{Decode, DecodeError, Encode, Writer, from_bytes, to_bytes};
use panchayat_consensus::{
    Ballot, ClientId, Command, Footprint, KeyHash, Mode as KeyMode, ReplicaId, Request, Slot,
    WallTime,
};
use panchayat_fastpaxos::{
    Applied, Entry, Message, Mode, Name, Progress, Reason, Record, Report, Round, Submission,
};
use proptest::prelude::*;

fn slot() -> impl Strategy<Value = Slot> {
    0u64..1 << 60
}

fn ballot() -> impl Strategy<Value = Ballot> {
    (0u32..5, 0u8..16).prop_map(|(rounds, replica)| {
        (0..rounds).fold(Ballot::INITIAL, |ballot, _| ballot.next_for(ReplicaId(replica)))
    })
}

fn round() -> impl Strategy<Value = Round> {
    (ballot(), any::<bool>()).prop_map(|(ballot, classic)| Round { ballot, classic })
}

fn command() -> impl Strategy<Value = Arc<Command>> {
    let key = (any::<u64>(), 0usize..3).prop_map(|(key, mode)| (KeyHash(key), KeyMode::ALL[mode]));
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

fn name() -> impl Strategy<Value = Name> {
    let command = (0u8..16, 1u64..1 << 62)
        .prop_map(|(origin, number)| Name::Command { origin: ReplicaId(origin), number });
    prop_oneof![Just(Name::Nop), command]
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
    let parts = (slot(), prop::option::of(round()), entry());
    parts.prop_map(|(slot, round, entry)| Report { slot, round, entry })
}

fn mode() -> impl Strategy<Value = Mode> {
    prop_oneof![
        Just(Mode::Unknown),
        Just(Mode::Fast),
        (any::<u8>(), any::<u8>()).prop_map(|(answering, needed)| Mode::Classic(
            Reason::TooFewReplicas { answering, needed }
        )),
        any::<u8>().prop_map(|percent| Mode::Classic(Reason::Collisions { percent })),
    ]
}

fn message() -> impl Strategy<Value = Message> {
    let proposal = (any::<u64>(), any::<u64>(), numbers(), command());
    let part = (ballot(), slot(), slot(), prop::collection::vec(report(), 0..4), slot());
    let delays = prop::collection::vec(prop::option::of(-(1i64 << 60)..1 << 60), 0..16);
    prop_oneof![
        proposal.prop_map(|(sent, due, (number, floor), command)| Message::Propose {
            sent: WallTime(sent),
            due: WallTime(due),
            number,
            floor,
            command
        }),
        (ballot(), slot()).prop_map(|(ballot, chosen)| Message::PreVote { ballot, chosen }),
        ballot().prop_map(|ballot| Message::PreVoteOk { ballot }),
        (ballot(), slot()).prop_map(|(ballot, from)| Message::Prepare { ballot, from }),
        (ballot(), slot(), slot(), any::<u64>()).prop_map(|(ballot, from, upto, due)| {
            Message::Close { ballot, from, upto, due: WallTime(due) }
        }),
        part.prop_map(|(ballot, upto, from, reports, next)| Message::Reported {
            ballot,
            upto,
            from,
            reports,
            next
        }),
        (ballot(), ballot()).prop_map(|(ballot, promised)| Message::Refused { ballot, promised }),
        (ballot(), entries()).prop_map(|(ballot, (first, entries))| Message::Accept {
            ballot,
            first,
            entries
        }),
        (round(), 1u64..1 << 60, prop::collection::vec(name(), 1..6))
            .prop_map(|(round, first, names)| Message::Votes { round, first, names }),
        (ballot(), mode(), slot(), slot(), progress()).prop_map(
            |(ballot, mode, fast_from, closed, progress)| Message::Heartbeat {
                ballot,
                mode,
                fast_from,
                closed,
                progress
            }
        ),
        (ballot(), progress())
            .prop_map(|(ballot, progress)| Message::HeartbeatOk { ballot, progress }),
        (progress(), any::<u64>(), delays).prop_map(|(progress, sent, delays)| Message::Status {
            progress,
            sent: WallTime(sent),
            delays
        }),
        slot().prop_map(|from| Message::Fetch { from }),
        entries().prop_map(|(first, entries)| Message::Learn { first, entries }),
        slot().prop_map(|base| Message::Gone { base }),
        ballot().prop_map(|ballot| Message::Resign { ballot }),
    ]
}

fn applied() -> impl Strategy<Value = Applied> {
    prop::collection::vec((1u64..1 << 30, 0u64..1 << 20), 0..8).prop_map(|numbers| {
        let mut applied = Applied::default();
        for (number, floor) in numbers {
            applied.apply(number, floor.min(number - 1));
        }
        applied
    })
}

fn record() -> impl Strategy<Value = Record> {
    let snapshot = (slot(), any::<u64>(), prop::collection::vec(applied(), 0..5));
    prop_oneof![
        any::<u64>().prop_map(|run| Record::Started { run }),
        ballot().prop_map(|ballot| Record::Promised { ballot }),
        (ballot(), slot()).prop_map(|(ballot, upto)| Record::Closed { ballot, upto }),
        (round(), entries()).prop_map(|(round, (first, entries))| Record::Voted {
            round,
            first,
            entries
        }),
        entries().prop_map(|(first, entries)| Record::Learned { first, entries }),
        slot().prop_map(|upto| Record::Chosen { upto }),
        slot().prop_map(|upto| Record::Adopted { upto }),
        snapshot.prop_map(|(upto, at, applied)| Record::Snapshot {
            upto,
            proposed_at: WallTime(at),
            applied
        }),
    ]
}

/// Decoding ends in an error or in a value that reads back as itself.
fn survives<T: Encode + Decode + PartialEq + std::fmt::Debug>(bytes: Vec<u8>) {
    if let Ok(value) = from_bytes::<T>(Bytes::from(bytes)) {
        assert_eq!(from_bytes::<T>(to_bytes(&value)), Ok(value));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

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
    let refused = |parts: &[u64], what| {
        let mut out = Writer::default();
        out.put_u8(parts[0] as u8);
        parts[1..].iter().for_each(|part| out.put_varint(*part));
        assert_eq!(from_bytes::<Message>(out.finish()), Err(DecodeError::OutOfRange(what)));
    };
    refused(&[13, 7, 0], "consecutive slots");
    refused(&[13, 7, u64::MAX], "consecutive slots");
    refused(&[12, u64::MAX], "slot");
    refused(&[0, 1, 1, 5, 0], "command number");
    refused(&[0, 1, 1, 5, 6], "command number");
}
