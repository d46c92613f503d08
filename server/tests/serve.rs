//! `panchayat serve`: cities as processes of their own, their configuration, their failures, and
//! clients that behave badly.

mod common;

use std::io::Write as _;
use std::time::{Duration, Instant};

use common::resp::{Raw, encoded};
use common::serve::Served;
use rustix::process::Signal;

const WORKLOADS: &str = "\
workloads:
  - name: payments
    prefixes: [\"pay:\"]
    protocol: multipaxos
    leader: delhi
  - name: rest
limits:
  command_timeout_s: 2
";

#[test]
fn cities_serve_one_store_whose_keys_are_in_workloads() {
    let dir = tempfile::tempdir().unwrap();
    let mut served = Served::start(dir.path(), WORKLOADS);
    (0..3).for_each(|seat| served.wait_until_it_serves(seat));
    let (mut here, mut there) = (served.connect(0), served.connect(2));
    assert_eq!(here.ask("SET pay:1 100"), "+OK\r\n");
    assert_eq!(here.ask("SET other 1"), "+OK\r\n");
    assert_eq!(there.ask("GET pay:1"), "$3\r\n100\r\n");
    assert_eq!(there.ask("GET other"), "$1\r\n1\r\n");

    // A command or a transaction stays within one workload.
    assert!(
        here.ask("MGET pay:1 other").starts_with("-CROSSSLOT key 'pay:1' is in workload payments")
    );
    assert_eq!(here.ask("MULTI"), "+OK\r\n");
    assert_eq!(here.ask("SET pay:1 0"), "+QUEUED\r\n");
    assert_eq!(here.ask("SET other 0"), "+QUEUED\r\n");
    assert!(here.ask("EXEC").starts_with("-CROSSSLOT"), "nothing is done");
    assert_eq!(here.ask("GET pay:1"), "$3\r\n100\r\n");

    // What looks at all keys looks into all workloads.
    let names: Vec<_> =
        (0..300).map(|n| format!("SET {}{n} x", if n % 2 == 0 { "pay:" } else { "k" })).collect();
    names.iter().for_each(|command| assert_eq!(here.ask(command), "+OK\r\n"));
    assert_eq!(here.ask("DBSIZE"), ":303\r\n");
    let mut cursor = "0".to_owned();
    let mut found = Vec::new();
    loop {
        let page = here.ask(&format!("SCAN {cursor} COUNT 7"));
        let mut lines = page.split("\r\n").skip(2).step_by(2);
        cursor = page.split("\r\n").nth(2).unwrap().to_owned();
        lines.next();
        found.extend(
            page.split("\r\n").skip(5).step_by(2).filter(|key| !key.is_empty()).map(str::to_owned),
        );
        assert!(cursor.parse::<u64>().unwrap() < 1 << 53, "clients keep it as a double");
        if cursor == "0" {
            break;
        }
    }
    found.sort();
    found.dedup();
    assert_eq!(found.len(), 303);
    assert_eq!(here.ask("FLUSHALL"), "+OK\r\n");
    assert_eq!(here.ask("DBSIZE"), ":0\r\n");

    // A clean stop answers what is under way and gives its directory back.
    assert_eq!(here.ask("SET kept 1"), "+OK\r\n");
    for seat in 0..3 {
        served.signal(seat, Signal::TERM);
    }
    for seat in 0..3 {
        assert_eq!(served.wait(seat), Some(0));
    }
    (0..3).for_each(|seat| served.spawn(seat));
    (0..3).for_each(|seat| served.wait_until_it_serves(seat));
    assert_eq!(served.connect(1).ask("GET kept"), "$1\r\n1\r\n");
}

#[test]
fn a_minority_says_so_in_time_and_reads_old_state_only_if_asked() {
    let dir = tempfile::tempdir().unwrap();
    let mut served = Served::start(dir.path(), "limits:\n  command_timeout_s: 2\n");
    (0..3).for_each(|seat| served.wait_until_it_serves(seat));
    let mut client = served.connect(0);
    assert_eq!(client.ask("SET a 1"), "+OK\r\n");
    served.kill(1);
    assert_eq!(client.ask("SET a 2"), "+OK\r\n", "two of three go on");
    served.kill(2);

    // Whatever it is, there is an answer soon; a write under way is in doubt, and says so.
    let began = Instant::now();
    let write = client.ask("SET a 3");
    assert!(write.starts_with("-UNKNOWN") || write.starts_with("-CLUSTERDOWN"), "{write}");
    let read = client.ask("GET a");
    assert!(read.starts_with("-CLUSTERDOWN"), "{read}");
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    // Later it is known at once.
    std::thread::sleep(Duration::from_secs(3));
    let began = Instant::now();
    assert!(client.ask("INCR a").starts_with("-CLUSTERDOWN"));
    assert!(client.ask("GET a").starts_with("-CLUSTERDOWN"));
    assert!(client.ask("WATCH a").starts_with("-CLUSTERDOWN"));
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    assert!(client.ask("INFO panchayat").contains("cut_off:1"));

    assert_eq!(client.ask("READONLY"), "+OK\r\n");
    let old = client.ask("GET a");
    assert!(old == "$1\r\n2\r\n" || old == "$1\r\n3\r\n", "{old}");
    assert!(client.ask("SET a 4").starts_with("-CLUSTERDOWN"));
    assert_eq!(client.ask("READWRITE"), "+OK\r\n");
    assert!(client.ask("GET a").starts_with("-CLUSTERDOWN"));

    served.spawn(1);
    served.wait_until_it_serves(0);
    let value = client.ask("GET a");
    assert!(value == "$1\r\n2\r\n" || value == "$1\r\n3\r\n", "{value}");
}

#[test]
fn clients_that_behave_badly_cost_little_and_harm_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let limits = "limits:\n  connections: 60\n  stall_timeout_s: 1\n  total_mib: 64\n";
    let served = Served::start(dir.path(), limits);
    (0..3).for_each(|seat| served.wait_until_it_serves(seat));
    let mut good = served.connect(0);
    assert_eq!(good.ask("SET a 1"), "+OK\r\n");
    let before = served.resident(0);

    // Garbage, lengths that are too long, nesting.
    for (sent, told) in [
        (&b"*1\r\n$1073741824\r\n"[..], "-ERR Protocol error: invalid bulk length\r\n"),
        (b"*2000000000\r\n", "-ERR Protocol error: invalid multibulk length\r\n"),
        (b"*1\r\n*1\r\n", "-ERR Protocol error: expected '$', got '*'\r\n"),
        (
            b"*1\r\n$4\r\nPING\r\n*x\r\n",
            "+PONG\r\n-ERR Protocol error: invalid multibulk length\r\n",
        ),
        (b"set \"a\r\n", "-ERR Protocol error: unbalanced quotes in request\r\n"),
    ] {
        let mut bad = served.connect(0);
        bad.send(sent);
        assert_eq!(String::from_utf8_lossy(&bad.rest()), told);
    }
    let mut noise: u64 = 1;
    for _ in 0..20 {
        let mut bad = served.connect(0);
        let bytes: Vec<u8> = (0..4_096)
            .map(|_| {
                noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (noise >> 56) as u8
            })
            .collect();
        bad.send(&bytes);
        let _ = bad.stream().shutdown(std::net::Shutdown::Write);
        bad.rest();
    }

    // Half a command, then nothing: it is dropped after a while.
    let mut halves: Vec<Raw> = (0..40).map(|_| served.connect(0)).collect();
    for half in &mut halves {
        half.send(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$8000000\r\n");
        half.send(&vec![b'x'; 1 << 20]);
    }
    assert_eq!(good.ask("GET a"), "$1\r\n1\r\n");
    let began = Instant::now();
    for half in &mut halves {
        half.rest();
    }
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    drop(halves);

    // One who writes and never reads is stopped by its own limit, not by memory.
    let deaf = served.connect(0);
    assert_eq!(good.ask(&format!("SET big {}", "x".repeat(1 << 20))), "+OK\r\n");
    deaf.stream().set_write_timeout(Some(Duration::from_secs(2))).unwrap();
    let gets = encoded(&["GET", "big"]).repeat(100);
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(5) && deaf.stream().write_all(&gets).is_ok() {}
    assert_eq!(good.ask("GET a"), "$1\r\n1\r\n");
    drop(deaf);

    // One too many.
    let many: Vec<Raw> = (0..59).map(|_| served.connect(0)).collect();
    std::thread::sleep(Duration::from_millis(300));
    let refused = served.connect(0).rest();
    assert_eq!(String::from_utf8_lossy(&refused), "-ERR max number of clients reached\r\n");
    drop(many);

    let after = served.resident(0);
    assert!(after < before + (256 << 20), "{} MiB before, {} MiB after", before >> 20, after >> 20);
    assert_eq!(good.ask("INCR a"), ":2\r\n");
}

#[test]
fn a_configuration_with_a_mistake_is_told_with_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("p.yaml");
    std::fs::write(&file, "replica: mumbai\nmember:\n  mumbai: 127.0.0.1:1\n").unwrap();
    let ran = common::run(&["serve", "--config", file.to_str().unwrap()]);
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(ran.stderr.contains("unknown key `member` in a configuration"), "{}", ran.stderr);
    assert!(
        ran.stderr.contains("p.yaml:2:1") && ran.stderr.contains("did you mean `members`?"),
        "{}",
        ran.stderr
    );
    let ran = common::run(&["serve", "--config", "/nonexistent.yaml"]);
    assert_eq!(ran.code, Some(2), "{ran:?}");
}
