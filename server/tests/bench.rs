//! Short runs of the benches, in process and over the Redis protocol: every figure is there and they
//! hang together.

mod common;

use std::time::Duration;

use common::{Up, interrupt, run};
use serde_json::Value;

fn number(value: &Value, path: &str) -> f64 {
    let found = value.pointer(path).unwrap_or_else(|| panic!("no {path} in {value:#}"));
    found.as_f64().unwrap_or_else(|| panic!("{path} is {found}"))
}

const SHORT: [&str; 4] = ["bench", "--loopback", "--duration=0.5", "--warm-up=0.2"];

fn bench(more: &[&str]) -> Value {
    let ran = run(&[&SHORT[..], more, &["--json"]].concat());
    let report = ran.json();
    assert_eq!((ran.code, &report["ok"]), (Some(0), &Value::Bool(true)), "{report:#}");
    report
}

#[test]
fn a_closed_loop_counts_what_commands_cost() {
    let report = bench(&["--clients=8", "--payload=64", "--conflict=25", "--runs=2"]);
    let conditions = &report["conditions"];
    assert_eq!(conditions["load"]["closed"]["clients"], 8);
    assert_eq!((&conditions["replicas"], &conditions["durability"]), (&3.into(), &"memory".into()));
    assert!(number(conditions, "/machine/cores") >= 1.0);
    assert_eq!(report["runs"].as_array().unwrap().len(), 2);

    let at = |name: &str| number(&report, &format!("/median/{name}"));
    assert!(at("commands_per_s") > 0.0 && at("cpu_us_per_command") > 0.0);
    assert!(at("p50_ms") <= at("p99_ms") && at("p99_ms") <= at("p999_ms"));
    // Pre-accept, its answer and the commit, with each of two peers.
    assert!(at("messages_per_command") > 5.0, "{report:#}");
    assert!(at("udp_bytes_per_command") > at("bytes_per_command"));
    assert!(at("memory_end_mib") > 1.0 && at("failed") == 0.0 && at("syncs_per_s") == 0.0);

    let threads = report["threads"].as_array().unwrap();
    let name = |thread: &Value| thread["name"].as_str().unwrap().to_owned();
    let names: Vec<_> = threads.iter().map(name).collect();
    for expected in ["replica-r1", "replica-r2", "replica-r3", "runtime"] {
        assert!(names.iter().any(|name| name == expected), "{names:?}");
    }
}

#[test]
fn an_open_loop_keeps_its_rate_and_syncs_are_counted() {
    let report = bench(&["--rate=500", "--durability=fsync", "--replicas=5"]);
    assert_eq!(report["conditions"]["load"]["open"]["rate"], 500.0);
    let at = |name: &str| number(&report, &format!("/median/{name}"));
    assert!((at("commands_per_s") - 500.0).abs() < 100.0, "{report:#}");
    assert!(at("syncs_per_s") > 0.0 && at("sync_p50_ms") > 0.0 && at("sync_alone_p50_ms") > 0.0);
}

#[test]
fn people_get_tables_and_the_targets_that_apply() {
    let ran = run(&SHORT);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    for text in [
        "epaxos n=3 on loopback in one process, no emulated delay, durability memory",
        "closed loop of 128 clients at each replica",
        "CPU µs/cmd",
        "PASS  all replicas end in the same state",
        "n=3, memory: at least 60000 commands/s",
        "1 run of 0.5 s",
    ] {
        assert!(ran.stdout.contains(text), "no `{text}` in:\n{}", ran.stdout);
    }
    for (wrong, said) in [(["--replicas=4"], "3 or 5"), (["--payload=99999999"], "payload")] {
        let ran = run(&[&SHORT[..], &wrong].concat());
        assert_eq!(ran.code, Some(2), "{ran:?}");
        assert!(ran.stderr.contains(said), "{ran:?}");
    }
}

#[test]
fn an_interrupted_bench_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let arguments = ["bench", "--loopback", "--durability=fsync", "--duration=60"];
    let code = interrupt(&arguments, dir.path(), Duration::from_secs(2));
    assert_eq!(code, Some(1));
    let left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_running_cluster_is_loaded_over_the_redis_protocol() {
    let dir = tempfile::tempdir().unwrap();
    let up = Up::start(dir.path(), &["--durability=memory"]);
    let short = ["bench", "--duration=1", "--warm-up=0.3"];
    let bench = |more: &[&str]| {
        let (code, report) = up.client_json(&[&short[..], more].concat());
        assert_eq!((code, &report["ok"]), (Some(0), &Value::Bool(true)), "{report:#}");
        report
    };
    let report = bench(&["--clients=4"]);
    for (seat, city) in ["mumbai", "delhi", "bangalore"].into_iter().enumerate() {
        assert_eq!(report["cities"][seat]["city"], city);
        let p50 = number(&report, &format!("/cities/{seat}/latency_ms/p50"));
        assert!(p50 > 23.9, "as far as the nearest other city: {report:#}");
    }
    assert!(number(&report, "/commands_per_s") > 20.0, "{report:#}");

    // Every workload is served, those with conditions by watched transactions.
    for workload in ["upi", "tatkal", "orderbook", "inventory", "config", "popularity", "ycsb-e"] {
        let report = bench(&["--workload", workload, "--clients=2"]);
        assert_eq!(report["workload"], workload);
    }
    let report = bench(&["--workload=inventory", "--keys=1", "--clients=4"]);
    let told = |name: &str| -> f64 {
        (0..3).map(|seat| number(&report, &format!("/cities/{seat}/{name}"))).sum()
    };
    assert!(told("undone") + told("declined") > 0.0, "one order, twelve clients: {report:#}");

    let report = bench(&["--rate=60"]);
    assert!((number(&report, "/commands_per_s") - 60.0).abs() < 30.0, "{report:#}");
    let ran = up.client(&[&short[..], &["--clients=2"]].concat());
    assert_eq!(ran.code, Some(0), "{ran:?}");
    for told in ["mix over the Redis protocol", "p99.9", "bangalore", "all"] {
        assert!(ran.stdout.contains(told), "{told} in\n{}", ran.stdout);
    }
    for (wrong, told) in [
        ("--workload=paint", "no workload `paint`"),
        ("--protocol=multipaxos", "for --loopback"),
        ("--conflict=200", "a percentage lies"),
    ] {
        let ran = up.client(&[&short[..], &[wrong]].concat());
        assert_eq!(ran.code, Some(2), "{ran:?}");
        assert!(ran.stderr.contains(told), "{ran:?}");
    }
}

#[test]
fn who_stops_answering_in_an_open_loop_is_not_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let up = Up::start(dir.path(), &["--durability=memory", "--profile=ideal"]);
    let port = format!("--redis={}", up.redis("mumbai"));
    let load = std::thread::spawn(move || {
        run(&["bench", &port, "--rate=50", "--duration=4", "--warm-up=0.2", "--json"])
    });
    // Stopped for a second: what was due then has waited, whether or not it could be sent.
    std::thread::sleep(Duration::from_millis(1_500));
    up.signal(rustix::process::Signal::STOP);
    std::thread::sleep(Duration::from_millis(1_000));
    up.signal(rustix::process::Signal::CONT);
    let report = load.join().unwrap().json();
    assert!(number(&report, "/max_ms") > 800.0, "{report:#}");
    assert!(number(&report, "/latency_ms/p90") > 300.0, "a quarter was due then: {report:#}");
}

#[test]
fn nobody_to_load_is_told_before_anything_is_measured() {
    let ran = run(&["bench", "--redis=127.0.0.1:1", "--duration=1"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stderr.contains("does not answer Redis clients"), "{ran:?}");
}
