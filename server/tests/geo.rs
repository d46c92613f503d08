//! A short run of the main experiment: the report has every field and its numbers hang together.

mod common;

use std::time::Duration;

use common::{interrupt, run};
use serde_json::Value;

fn number(value: &Value, path: &str) -> f64 {
    let found = value.pointer(path).unwrap_or_else(|| panic!("no {path} in {value:#}"));
    found.as_f64().unwrap_or_else(|| panic!("{path} is {found}"))
}

fn list<'a>(value: &'a Value, path: &str) -> &'a Vec<Value> {
    value.pointer(path).and_then(Value::as_array).unwrap_or_else(|| panic!("no list {path}"))
}

#[test]
fn a_short_run_reports_every_figure_and_equal_states() {
    let ran = run(&[
        "geo",
        "--profile=ideal",
        "--durability=memory",
        "--duration=2",
        "--clients=4",
        "--conflict=25",
        "--payload=64",
        "--seed=7",
        "--json",
    ]);
    let report = ran.json();
    assert_eq!(ran.code, Some(0), "{report:#}");
    assert_eq!(report["ok"], true);

    let conditions = &report["conditions"];
    assert!(!conditions["commit"].as_str().unwrap().is_empty());
    for (name, expected) in [
        ("protocol", Value::from("epaxos")),
        ("set", "india3".into()),
        ("profile", "ideal".into()),
        ("durability", "memory".into()),
        ("payload_bytes", 64.into()),
        ("conflict_percent", 25.0.into()),
        ("clients", 4.into()),
        ("duration_s", 2.0.into()),
        ("seed", 7.into()),
    ] {
        assert_eq!(conditions[name], expected, "{name}");
    }

    let sites = list(&report, "/sites");
    let mut commands = 0.0;
    for (site, (name, bound, fibre)) in
        sites.iter().zip([("mumbai", 24.0, 8.5), ("delhi", 27.0, 11.5), ("bangalore", 24.0, 8.5)])
    {
        assert_eq!(site["site"], name);
        assert_eq!((number(site, "/bound_ms"), number(site, "/fibre_ms")), (bound, fibre));
        assert!(number(site, "/commands") > 0.0);
        commands += number(site, "/commands");
        assert!((0.0..=1.0).contains(&number(site, "/fast_path_rate")));
        for (q, tail) in [("p50", "p90"), ("p90", "p99"), ("p99", "p999")] {
            for kind in ["commit_ms", "execute_ms"] {
                let at = |quantile| number(site, &format!("/{kind}/{quantile}"));
                assert!(at(q) <= at(tail), "{name} {kind}: {q} above {tail}");
            }
        }
        // Nothing is faster than the emulated distance, whatever the machine does.
        assert!(number(site, "/commit_ms/p50") >= bound, "{site:#}");
        assert!(number(site, "/execute_ms/p50") >= number(site, "/commit_ms/p50"));
    }
    assert_eq!(sites.len(), 3);

    // Pre-accept, its answer and the commit, with each of two peers.
    assert!(number(&report, "/messages_per_command") > 5.5, "{report:#}");
    assert!(number(&report, "/bytes_per_command") > 2.0 * 64.0);
    assert!(number(&report, "/udp_bytes_per_command") > number(&report, "/bytes_per_command"));
    let throughput = number(&report, "/throughput_per_s");
    assert!((throughput * 2.0 - commands).abs() <= commands * 0.25, "{throughput} {commands}");

    let emulator = &report["emulator"];
    let pairs = list(emulator, "/pairs");
    assert_eq!(pairs.len(), 3);
    for (pair, rtt) in pairs.iter().zip([27.0, 24.0, 37.0]) {
        assert_eq!(number(pair, "/rtt_ms"), rtt);
        assert!(number(pair, "/ping_p50_ms") >= rtt * 0.99, "{pair}");
        assert!(number(pair, "/ping_p99_ms") >= number(pair, "/ping_p50_ms"));
    }
    let late = number(emulator, "/lateness/p99_ms");
    assert!(number(emulator, "/lateness/p50_ms") <= late);
    assert!(late <= number(emulator, "/lateness/max_ms"));
    assert_eq!(emulator["valid"], late <= 0.5);

    let hashes = list(&report, "/state_hashes");
    assert!(hashes.len() == 3 && hashes.iter().all(|hash| hash == &hashes[0]), "{hashes:?}");
    let executed = list(&report, "/executed");
    assert!(executed.iter().all(|count| count == &executed[0]), "{executed:?}");
    assert!(executed[0].as_f64().unwrap() >= commands);
    assert!(report["disk"].is_null());
}

#[test]
fn a_run_of_multipaxos_says_who_leads_and_what_that_predicts() {
    let flags = ["--profile=ideal", "--durability=memory", "--duration=1", "--json"];
    for (more, leader, predicted) in [
        (&["--leader=delhi"][..], "delhi", [27.0, 27.0, 37.0]),
        (&["--naive"], "mumbai", [24.0, 51.0, 48.0]),
    ] {
        let ran = run(&[&["geo", "--protocol=multipaxos"], &flags[..], more].concat());
        let report = ran.json();
        assert_eq!((ran.code, &report["ok"]), (Some(0), &Value::from(true)), "{report:#}");
        assert_eq!(report["conditions"]["leader"], leader);
        for (site, predicted) in list(&report, "/sites").iter().zip(predicted) {
            assert_eq!(number(site, "/predicted_ms"), predicted);
            assert!(number(site, "/commands") > 0.0);
            assert!(number(site, "/commit_ms/p50") >= predicted, "{site:#}");
        }
        assert!(number(&report, "/counters/led") > 0.0, "{:#}", report["counters"]);
        let checks = list(&report, "/checks");
        let stayed = checks.iter().find(|c| c["name"].as_str().unwrap().starts_with("no election"));
        assert_eq!(stayed.expect("a check")["passed"], true, "{checks:#?}");
    }
}

#[test]
fn people_get_tables_and_verdicts_and_the_disk_is_measured() {
    let ran = run(&["geo", "--profile=ideal", "--clients=1", "--conflict=0", "--duration=0.5"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    for text in [
        "epaxos on india3, ideal links, durability fsync",
        "mumbai–delhi",
        "disk: one sync p50",
        "PASS  all replicas end in the same state",
        "PASS  every command was answered",
        "emulator late by at most 0.5 ms",
        "delhi commits as predicted: p50",
    ] {
        assert!(ran.stdout.contains(text), "no `{text}` in:\n{}", ran.stdout);
    }
}

#[test]
fn an_interrupted_run_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let code = interrupt(&["geo", "--duration=60"], dir.path(), Duration::from_secs(2));
    assert_eq!(code, Some(1));
    let left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}
