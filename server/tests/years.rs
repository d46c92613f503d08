//! What takes millions of commands, or a large state: processes over QUIC, real disks.
//!
//! ```text
//! cargo test --release -p panchayat-server --test years -- --ignored --nocapture --test-threads=1
//! ```

mod common;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use common::resp::{Raw, encoded};
use common::serve::Served;

const COMMANDS: u64 = 5_000_000;
/// Commands that a client sends before it reads the answers.
const PIPELINE: u64 = 256;
const KEYS: u64 = 100_000;

fn directory_bytes(dir: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(dir) else { return 0 };
    let bytes = entries.flatten().map(|entry| match entry.metadata() {
        Ok(found) if found.is_dir() => directory_bytes(&entry.path()),
        Ok(found) => found.len(),
        Err(_) => 0,
    });
    bytes.sum()
}

/// Writes random keys until `limit` writes have been acknowledged to all together; how many were refused.
fn writer(mut raw: Raw, seed: u64, done: Arc<AtomicU64>, limit: u64) -> JoinHandle<u64> {
    std::thread::spawn(move || {
        let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let value = "v".repeat(100);
        let mut refused = 0;
        while done.load(Ordering::Relaxed) < limit {
            let mut batch = Vec::new();
            for _ in 0..PIPELINE {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                let key = format!("k{}", random % KEYS);
                batch.extend(encoded(&["SET", &key, &value]));
            }
            assert!(raw.send(&batch));
            let mut acknowledged = 0;
            for _ in 0..PIPELINE {
                let reply = raw.reply();
                let ok = reply == b"+OK\r\n";
                assert!(ok || reply[0] == b'-', "{}", String::from_utf8_lossy(&reply));
                acknowledged += u64::from(ok);
            }
            done.fetch_add(acknowledged, Ordering::Relaxed);
            refused += PIPELINE - acknowledged;
        }
        refused
    })
}

#[test]
#[ignore = "five million commands take minutes"]
fn one_dead_replica_costs_the_others_a_bounded_amount_and_comes_back() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let mut served = Served::start(dir.path(), "");
    (0..3).for_each(|seat| served.wait_until_it_serves(seat));
    served.kill(1);
    let done = Arc::<AtomicU64>::default();
    let begun = Instant::now();
    let writers: Vec<_> = (0..8)
        .map(|at| writer(served.connect(2 * (at as usize % 2)), at + 1, done.clone(), COMMANDS))
        .collect();
    println!(
        "commands    seconds   mumbai MiB resident, on disk   bangalore MiB resident, on disk"
    );
    let (mut early, mut most) = ([0; 2], [0; 2]);
    let mut next = 0;
    while !writers.iter().all(JoinHandle::is_finished) {
        std::thread::sleep(Duration::from_millis(500));
        let now = done.load(Ordering::Relaxed).min(COMMANDS);
        let resident = [served.resident(0), served.resident(2)];
        let disk = ["mumbai", "bangalore"]
            .map(|city| directory_bytes(&dir.path().join(format!("data-{city}"))));
        for (seat, most) in most.iter_mut().enumerate() {
            *most = resident[seat].max(*most);
            if now < COMMANDS * 2 / 5 {
                early[seat] = *most;
            }
        }
        assert!(disk.iter().all(|bytes| *bytes < 2 << 30), "{disk:?}");
        if now >= next {
            let mib = |bytes: u64| bytes >> 20;
            println!(
                "{now:>8} {:>10.1} {:>14} {:>9} {:>24} {:>9}",
                begun.elapsed().as_secs_f64(),
                mib(resident[0]),
                mib(disk[0]),
                mib(resident[1]),
                mib(disk[1]),
            );
            next = now + COMMANDS / 20;
        }
    }
    let refused: u64 = writers.into_iter().map(|writer| writer.join().unwrap()).sum();
    println!("{} writes acknowledged, {refused} refused", done.load(Ordering::Relaxed));
    // Whatever grows with the commands would have doubled.
    for seat in 0..2 {
        assert!(most[seat] < early[seat] * 3 / 2 + (64 << 20), "{most:?} after {early:?}");
    }
    let mut mumbai = served.connect(0);
    assert_eq!(mumbai.ask("SET probe here"), "+OK\r\n");
    let back = Instant::now();
    served.spawn(1);
    let mut delhi = served.connect(1);
    while delhi.ask("GET probe") != "$4\r\nhere\r\n" {
        assert!(back.elapsed() < Duration::from_secs(300), "it does not become current");
        std::thread::sleep(Duration::from_millis(50));
    }
    println!(
        "delhi, dead all the time, is current {:.1?} after its start with its old disk",
        back.elapsed()
    );
}

/// Writes small values, one after the other, and notes how long each took.
fn small_writes(mut raw: Raw, name: usize, stop: Arc<AtomicBool>) -> JoinHandle<Vec<Duration>> {
    std::thread::spawn(move || {
        let mut took = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            let began = Instant::now();
            let answer = raw.ask(&format!("SET small{name} {}", took.len()));
            assert_eq!(answer, "+OK\r\n");
            took.push(began.elapsed());
            std::thread::sleep(Duration::from_millis(2));
        }
        took
    })
}

fn p99(mut took: Vec<Duration>) -> Duration {
    took.sort();
    took[took.len() * 99 / 100]
}

fn measured(served: &Served, while_this: impl FnOnce()) -> (usize, Duration) {
    let stop = Arc::<AtomicBool>::default();
    let clients: Vec<_> =
        (0..4).map(|at| small_writes(served.connect(2 * (at % 2)), at, stop.clone())).collect();
    while_this();
    stop.store(true, Ordering::Relaxed);
    let took: Vec<_> = clients.into_iter().flat_map(|client| client.join().unwrap()).collect();
    (took.len(), p99(took))
}

#[test]
#[ignore = "a state of a gibibyte takes minutes"]
fn a_large_state_is_transferred_while_commands_go_on() {
    const VALUE_BYTES: usize = 256 << 10;
    const VALUES: usize = 4 << 10;
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let mut served = Served::start(dir.path(), "");
    (0..3).for_each(|seat| served.wait_until_it_serves(seat));
    let mut mumbai = served.connect(0);
    let value = "x".repeat(VALUE_BYTES);
    let begun = Instant::now();
    for at in 0..VALUES {
        while !mumbai.send(&encoded(&["SET", &format!("large{at}"), &value]))
            || mumbai.reply() != b"+OK\r\n"
        {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    println!("{} MiB written in {:.1?}", (VALUES * VALUE_BYTES) >> 20, begun.elapsed());
    served.kill(1);
    std::thread::sleep(Duration::from_secs(20));
    let (count, normal) = measured(&served, || std::thread::sleep(Duration::from_secs(20)));
    println!("without a transfer: p99 {normal:.2?} of {count} small writes");

    let addr = served.prepare_to_join("delhi", 4).to_string();
    let replace = ["member", "replace", "delhi", "--addr", &addr, "--json"];
    let (code, _, err) = served.operate("admin", &replace);
    assert_eq!(code, 0, "{err}");
    let begun = Instant::now();
    served.spawn(3);
    let (count, during) = measured(&served, || {
        let wait = [&replace[..], &["--wait", "--timeout", "600"]].concat();
        let (code, _, err) = served.operate("admin", &wait);
        assert_eq!(code, 0, "{err}");
    });
    let took = begun.elapsed();
    let ratio = during.as_secs_f64() / normal.as_secs_f64();
    let verdict = if ratio < 2.0 { "PASS" } else { "FAIL" };
    println!(
        "while a new replica took it over, in {took:.1?}: p99 {during:.2?} of {count} small writes"
    );
    println!("{verdict}  p99 during the transfer below twice the normal: {ratio:.2} times");
    let answer = served.connect(3).ask(&format!("STRLEN large{}", VALUES - 1));
    assert_eq!(answer, format!(":{VALUE_BYTES}\r\n"));
}
