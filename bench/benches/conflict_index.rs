//! The conflict index at work: what a peer does with a pre-accept.
//!
//! What it measures: one replica that answers the pre-accepts of another, whose cost is the
//! conflict index and the instance that is opened. One key among many, many keys at once, and one
//! hot key on which a hundred or ten thousand commands have not been executed: there a command may
//! cost at most twice as much as with a hundred. An element is a pre-accept.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use panchayat_consensus::{
    Command, EffectsOf, Footprint, Input, InstanceId, KeyHash, Mode, Now, Protocol, Quorums,
    ReplicaId, Span,
};
use panchayat_epaxos::{Config, Deps, EPaxos, Message};

const KEYS: u64 = 1_000_000;
const PRE_ACCEPTS: u64 = 1_000;

type Replica = (EPaxos, EffectsOf<EPaxos>);

fn replica() -> Replica {
    let quorums = Quorums::for_replicas(3).expect("three replicas are a group");
    let config = Config::new(ReplicaId(0), quorums, Span::from_ms(37));
    let mut effects = EffectsOf::<EPaxos>::default();
    let protocol = EPaxos::restore(config, [], Now::default(), &mut effects);
    (protocol, effects)
}

/// Pre-accepts of the second replica in these slots, each on the keys that `keys` gives.
fn pre_accepts<K>(slots: std::ops::Range<u64>, keys: impl Fn(u64) -> K) -> Vec<Message>
where
    K: IntoIterator<Item = u64>,
{
    let message = |slot| {
        let keys = keys(slot).into_iter().map(|key| (KeyHash(key), Mode::Write));
        let command = Command::new(Footprint::new(keys), None, Bytes::from_static(&[0x5a; 100]));
        let id = InstanceId::new(ReplicaId(1), slot);
        let deps: Deps = [0, slot - 1, 0].into_iter().collect();
        Message::PreAccept { id, command: Arc::new(command), deps }
    };
    slots.map(message).collect()
}

fn receive(replica: &mut Replica, messages: Vec<Message>) {
    let (protocol, effects) = replica;
    for message in messages {
        let input = Input::Receive { from: ReplicaId(1), message };
        protocol.step(Now::default(), input, effects);
        effects.take_records().map(black_box).for_each(drop);
        black_box(effects.take_outputs().count());
    }
}

/// Spread over the keys, and the same every time.
fn scattered(slot: u64) -> u64 {
    slot.wrapping_mul(0x9e37_79b9_7f4a_7c15) % KEYS
}

fn conflict_index(criterion: &mut Criterion) {
    println!(
        "conditions: commit {}; one replica of three answers {PRE_ACCEPTS} pre-accepts, {KEYS} keys",
        panchayat_bench::COMMIT
    );
    let mut group = criterion.benchmark_group("conflict_index");
    group.throughput(Throughput::Elements(PRE_ACCEPTS));
    group.sample_size(20).measurement_time(Duration::from_secs(3));
    let mut bench = |name: &str, before: u64, keys: &dyn Fn(u64) -> Vec<u64>| {
        group.bench_function(name, |bencher| {
            bencher.iter_batched(
                || {
                    let mut replica = replica();
                    receive(&mut replica, pre_accepts(1..before + 1, keys));
                    (replica, pre_accepts(before + 1..before + 1 + PRE_ACCEPTS, keys))
                },
                |(mut replica, messages)| {
                    receive(&mut replica, messages);
                    replica
                },
                BatchSize::PerIteration,
            );
        });
    };
    bench("one_key_of_a_million", 10_000, &|slot| vec![scattered(slot)]);
    bench("sixteen_keys_each", 1_000, &|slot| (0..16).map(|k| scattered(slot * 16 + k)).collect());
    bench("hot_key_100_unexecuted", 100, &|_| vec![0]);
    bench("hot_key_10000_unexecuted", 10_000, &|_| vec![0]);
    group.finish();
}

criterion_group!(benches, conflict_index);
criterion_main!(benches);
