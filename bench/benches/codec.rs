//! The codec: the messages and the journal record of a command on the fast path.
//!
//! What it measures: encoding into a buffer that is reused, and decoding from a received frame, at
//! one replica. An element is a message.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use panchayat_consensus::wire::{Encode, Writer};
use panchayat_consensus::{
    Ballot, Command, EpochNumber, Footprint, GroupId, InstanceId, ReplicaId, ReplicaSet,
};
use panchayat_core::frame::{FrameHeader, FrameWriter, next_message, open_frame};
use panchayat_epaxos::{Deps, Message, Proposal, Record};

const PAYLOAD_BYTES: usize = 100;
const MESSAGES: u64 = 64;

fn id(slot: u64) -> InstanceId {
    InstanceId::new(ReplicaId(1), 1_000_000 + slot)
}

fn deps() -> Deps {
    [999_000, 1_000_000, 998_000].into_iter().collect()
}

fn command() -> Arc<Command> {
    let payload = Bytes::from(vec![0x5a; PAYLOAD_BYTES]);
    Arc::new(Command::new(Footprint::write(b"key"), None, payload))
}

fn frame(messages: &[Message]) -> Bytes {
    let header = FrameHeader { group: GroupId(1), epoch: EpochNumber(1), terms: 0 };
    let mut writer = FrameWriter::new(header);
    messages.iter().for_each(|message| writer.push(message));
    writer.take().expect("there are messages")
}

fn decode(frame: Bytes) -> usize {
    let (_, mut input) = open_frame(frame).expect("a frame");
    let mut count = 0;
    while let Some(message) = next_message::<Message>(&mut input).expect("messages") {
        black_box(message);
        count += 1;
    }
    count
}

fn codec(criterion: &mut Criterion) {
    println!(
        "conditions: commit {}; frames of {MESSAGES} messages, n=3, payloads of {PAYLOAD_BYTES} B",
        panchayat_bench::COMMIT
    );
    let all = |message: &dyn Fn(u64) -> Message| (0..MESSAGES).map(message).collect::<Vec<_>>();
    let command = command();
    let pre_accept =
        |slot| Message::PreAccept { id: id(slot), command: command.clone(), deps: deps() };
    let commit = |slot| Message::Commit {
        ballot: Ballot::INITIAL,
        id: id(slot),
        value: Proposal::Original,
        deps: deps(),
    };
    let kinds = [
        ("pre_accept", all(&pre_accept)),
        (
            "pre_accept_ok",
            all(&|slot| Message::PreAcceptOk {
                id: id(slot),
                deps: deps(),
                absent: ReplicaSet::EMPTY,
            }),
        ),
        ("commit", all(&commit)),
    ];
    let mut group = criterion.benchmark_group("codec");
    group.throughput(Throughput::Elements(MESSAGES)).measurement_time(Duration::from_secs(2));
    for (name, messages) in &kinds {
        let mut out = Writer::with_capacity(1 << 16);
        group.bench_function(format!("encode_{name}"), |bencher| {
            bencher.iter(|| {
                out.clear();
                messages.iter().for_each(|message| message.encode(&mut out));
                out.len()
            });
        });
        let frame = frame(messages);
        assert_eq!(decode(frame.clone()), messages.len());
        group.bench_function(format!("decode_{name}"), |bencher| {
            bencher.iter(|| decode(frame.clone()));
        });
    }
    let record = Record::PreAccepted {
        id: id(1),
        command: command.clone(),
        init_deps: deps(),
        deps: deps(),
    };
    let mut out = Writer::with_capacity(1 << 16);
    group.bench_function("encode_record", |bencher| {
        bencher.iter(|| {
            out.clear();
            (0..MESSAGES).for_each(|_| record.encode(&mut out));
            out.len()
        });
    });
    group.finish();
}

criterion_group!(benches, codec);
criterion_main!(benches);
