//! What states cost: applying, freezing, writing after a freeze. It prints figures and asserts only
//! what no busy machine changes. Run alone, optimised:
//!
//! ```text
//! cargo test --release -p panchayat-core --test cost -- --ignored --nocapture
//! ```

use std::time::{Duration, Instant};

use bytes::Bytes;
use panchayat_consensus::{
    ClientId, Command, Footprint, InstanceId, ReplicaId, Request, Span, WallTime,
};
use panchayat_core::kv::{KvCommand, KvOp, KvStore};
use panchayat_core::sessions::{SessionConfig, Sessions, Verdict};
use panchayat_core::{ApplyContext, StateMachine};

/// The processor time of this thread, which other work on the machine does not lengthen much. It
/// is kept by the tick, so it says nothing of short spans: for them, and where the system does not
/// tell, wall time.
fn spent(since: Instant, count: u64) -> Duration {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanos = told.filter(|_| count > 50_000);
    let nanos = nanos.and_then(|text| text.split(' ').next()?.parse().ok());
    nanos.map_or_else(|| since.elapsed(), Duration::from_nanos)
}

/// Runs `work` for each number below `count`; prints and gives nanoseconds each.
fn measure(name: &str, count: u64, mut work: impl FnMut(u64)) -> f64 {
    let since = Instant::now();
    let before = spent(since, count);
    (0..count).for_each(&mut work);
    let nanos = (spent(since, count) - before).as_nanos() as f64 / count as f64;
    println!("{name}: {nanos:.0} ns each");
    nanos
}

fn key(number: u64) -> Bytes {
    Bytes::from(format!("key-{number:012}"))
}

fn apply(store: &mut KvStore, number: u64, op: KvOp) {
    let id = InstanceId::new(ReplicaId(0), number + 1);
    let context = ApplyContext { id, proposed_at: WallTime(0) };
    std::hint::black_box(store.apply(&context, KvCommand::One(op)));
}

fn put(store: &mut KvStore, number: u64, value: &Bytes) {
    apply(store, number, KvOp::Put { key: key(number), value: value.clone() });
}

#[test]
#[ignore = "prints figures"]
fn the_store() {
    for (keys, value_bytes) in [(1_000, 100), (1_000_000, 100), (1_000_000, 1_000)] {
        let (mut store, value) = (KvStore::default(), Bytes::from(vec![7; value_bytes]));
        println!("-- {keys} keys of {value_bytes} bytes");
        measure("insert", keys, |number| put(&mut store, number, &value));
        let at = |number: u64| number.wrapping_mul(7_919) % keys;
        measure("put", 1_000_000, |number| put(&mut store, at(number), &value));
        measure("get", 1_000_000, |number| {
            apply(&mut store, number, KvOp::Get { key: key(at(number)) });
        });
        let mut views = Vec::new();
        let view = measure("view", 1_000, |_| views.push(store.view()));
        assert!(view < 100_000.0, "a view copies something");
        views.truncate(1);
        let mut longest = Duration::ZERO;
        measure("put after a view, first 100,000", 100_000, |number| {
            let since = Instant::now();
            put(&mut store, at(number), &value);
            longest = longest.max(since.elapsed());
        });
        println!("  the longest took {longest:?} of wall time");
        let since = Instant::now();
        KvStore::write(&views[0], &mut std::io::sink()).expect("it takes everything");
        let wrote = since.elapsed();
        let mut written = Vec::with_capacity(keys as usize * (value_bytes + 64));
        KvStore::write(&views[0], &mut written).expect("memory takes it");
        let since = Instant::now();
        KvStore::restore(&mut &written[..]).expect("it reads back");
        let (mib, read) = (written.len() >> 20, since.elapsed());
        println!("a state of {mib} MiB: {wrote:?} to write, {read:?} to read back, wall time");
    }
}

#[test]
#[ignore = "prints figures"]
fn the_sessions() {
    let config = SessionConfig { retention: Span(1_000_000), ..SessionConfig::default() };
    let mut sessions = Sessions::new(config);
    let count = 1_000_000;
    let command = |number: u64| {
        let client = ClientId(u128::from(number % 10_000));
        let issued_at = WallTime(number);
        let request = Request { client, sequence: number / 10_000, issued_at };
        let mut command = Command::new(Footprint::new([]), Some(request), Bytes::new());
        command.proposed_at = issued_at;
        (command, request)
    };
    measure("make a command, for comparison", count, |number| {
        std::hint::black_box(command(number));
    });
    measure("judge and record", count, |number| {
        let (command, request) = command(number);
        assert_eq!(sessions.judge(&command), Verdict::Apply);
        sessions.record(&request, b"done");
    });
    measure("recognize", count, |number| {
        assert!(matches!(sessions.judge(&command(number).0), Verdict::Duplicate(Some(_))));
    });
    let mut views = Vec::new();
    let view = measure("view", 1_000, |_| views.push(sessions.view()));
    assert!(view < 100_000.0, "a view copies something");
    drop(views);
    measure("forget", count, |_| _ = sessions.prune(WallTime(u64::MAX), 1));
    assert!(sessions.len() <= 1);
}
