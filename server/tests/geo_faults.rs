//! Runs in which something fails: only structure and equal states are asserted, never times.

mod common;

use common::run;
use serde_json::Value;

const QUICK: [&str; 5] = ["geo", "--profile=ideal", "--clients=4", "--conflict=25", "--json"];

fn report(more: &[&str]) -> Value {
    let ran = run(&[&QUICK, more].concat());
    let report = ran.json();
    assert_eq!((ran.code, &report["ok"]), (Some(0), &Value::Bool(true)), "{report:#}");
    report
}

fn list<'a>(value: &'a Value, name: &str) -> &'a Vec<Value> {
    value[name].as_array().unwrap_or_else(|| panic!("no list {name} in {value:#}"))
}

fn check<'a>(report: &'a Value, beginning: &str) -> &'a Value {
    let named = |check: &&Value| check["name"].as_str().unwrap().starts_with(beginning);
    let found = list(report, "checks").iter().find(named);
    found.unwrap_or_else(|| panic!("no check `{beginning}` in {:#}", report["checks"]))
}

/// Every city has every bucket, in order, and the buckets hold what was answered.
fn check_timeline(report: &Value, buckets: usize) {
    let timeline = list(report, "timeline");
    assert_eq!(timeline.len(), 3 * buckets);
    let mut answered = 0;
    for (at, bucket) in timeline.iter().enumerate() {
        assert_eq!(bucket["site"], ["mumbai", "delhi", "bangalore"][at / buckets]);
        assert_eq!(bucket["bucket_ms"], 100.0);
        assert_eq!(bucket["at_ms"], (at % buckets) as f64 * 100.0);
        let commands = bucket["commands"].as_u64().unwrap();
        answered += commands;
        assert_eq!(bucket["p50_ms"].is_null(), commands == 0, "{bucket}");
        assert!(commands == 0 || bucket["p50_ms"].as_f64() <= bucket["p99_ms"].as_f64());
    }
    let throughput = report["throughput_per_s"].as_f64().unwrap();
    let seconds = report["conditions"]["duration_s"].as_f64().unwrap();
    assert!((answered as f64 - throughput * seconds).abs() < 0.5, "{answered} {throughput}");
}

#[test]
fn a_cut_and_a_delay_pass_and_leave_equal_states() {
    let faults =
        ["--cut=mumbai-delhi@1s..2s", "--cut=bangalore>delhi@1s", "--slow=mumbai@500ms:50ms"];
    let report = report(&[&["--durability=memory", "--duration=3"][..], &faults].concat());
    check_timeline(&report, 30);
    let faults = list(&report, "faults");
    let asked: Vec<_> = faults.iter().map(|fault| fault["fault"].as_str().unwrap()).collect();
    assert_eq!(
        asked,
        ["cut mumbai-delhi@1s..2s", "cut bangalore>delhi@1s", "slow mumbai@500ms:50ms"]
    );
    for (fault, (at, until)) in
        faults.iter().zip([(1000.0, Some(2000.0)), (1000.0, None), (500.0, None)])
    {
        assert_eq!((fault["at_ms"].as_f64(), fault["until_ms"].as_f64()), (Some(at), until));
        assert!(fault["began_ms"].as_f64().unwrap() >= at, "{fault}");
        assert!(fault["ended_ms"].as_f64().unwrap() >= until.unwrap_or(3000.0), "{fault}");
        assert!(fault["failures"].is_null() && list(fault, "recovery").is_empty());
    }
    // 0, 0.5, 1, 2 and 3 s lie between four stretches.
    let stretches = list(&report, "stretches");
    assert_eq!(stretches.len(), 3 * 4);
    assert_eq!((&stretches[1]["from_ms"], &stretches[1]["to_ms"]), (&500.0.into(), &1000.0.into()));
    assert_eq!(check(&report, "every command was answered")["passed"], true);
}

#[test]
fn a_killed_city_is_told_apart_and_the_others_agree() {
    let report = report(&["--durability=memory", "--duration=3", "--kill=delhi@1s"]);
    check_timeline(&report, 30);
    let hashes = list(&report, "state_hashes");
    assert_eq!((&hashes[1], &report["executed"][1]), (&"".into(), &0.into()));
    assert!(hashes[0] != "" && hashes[0] == hashes[2], "{hashes:?}");
    let kill = &list(&report, "faults")[0];
    assert!(kill["ended_ms"].is_null());
    // Each of its clients got one last word.
    let failures = &kill["failures"];
    let lost = failures["unknown"].as_u64().unwrap() + failures["not_applied"].as_u64().unwrap();
    assert_eq!(lost, 4, "{failures}");
    assert_eq!(&report["sites"][1]["failures"], failures);
    assert_eq!(check(&report, "every command was answered")["passed"], true);
    assert_eq!(check(&report, "all surviving replicas end in the same state")["passed"], true);
    let recovery = list(kill, "recovery");
    let sites: Vec<_> = recovery.iter().map(|one| one["site"].as_str().unwrap()).collect();
    assert_eq!(sites, ["mumbai", "bangalore"]);
    // Whether it passed depends on the machine.
    check(&report, "after `kill delhi@1s` the others' p99 is under 2 × normal within 3 s");
}

#[test]
fn a_city_comes_back_from_its_journal_with_the_state_of_the_others() {
    let report = report(&["--durability=os", "--duration=4", "--kill=delhi@1s..2s"]);
    check_timeline(&report, 40);
    let hashes = list(&report, "state_hashes");
    assert!(hashes[0] != "" && hashes.iter().all(|hash| hash == &hashes[0]), "{hashes:?}");
    let kill = &list(&report, "faults")[0];
    assert!(kill["ended_ms"].as_f64().unwrap() >= 2000.0, "{kill}");
    check(&report, "all replicas end in the same state");
    assert_eq!(check(&report, "every command was answered")["passed"], true);
}

#[test]
fn people_get_a_chart_and_only_with_faults() {
    let run = |more: &[&str]| {
        let short = ["geo", "--profile=ideal", "--clients=1", "--durability=memory"];
        let ran = run(&[&short, more].concat());
        assert_eq!(ran.code, Some(0), "{ran:?}");
        ran.stdout
    };
    let quiet = run(&["--duration=0.3"]);
    assert!(!quiet.contains("a column"), "{quiet}");
    let cut = run(&["--duration=1", "--cut=mumbai-delhi@200ms..400ms"]);
    for text in ["commands/s", "100 ms a column", "▼", "△", "cut mumbai-delhi@200ms..400ms", "p99"]
    {
        assert!(cut.contains(text), "no `{text}` in:\n{cut}");
    }
}

#[test]
fn faults_that_make_no_sense_are_refused_before_anything_starts() {
    for (faults, message) in [
        (&["--kill=delhi"][..], "expected CITY@AT or CITY@AT..RESTART"),
        (&["--kill=pune@5s"], "no city `pune` in this set: it has mumbai, delhi, bangalore"),
        (&["--kill=delhi@5"], "expected a number and its unit"),
        (&["--kill=delhi@10s"], "the measured window is over after 10s"),
        (&["--kill=delhi@2s", "--kill=delhi@4s"], "while `kill delhi@2s` still lasts"),
        (&["--cut=mumbai@4s"], "expected CITY-CITY@FROM..TO"),
        (&["--cut=mumbai-delhi@4s..3s"], "it would end before it begins"),
        (&["--slow=bangalore@3s"], "expected CITY@FROM:DELAY"),
        (&["--kill=delhi@2s..4s", "--durability=memory"], "there is no journal to restart from"),
        (&["--kill=delhi@2s", "--duration=3600"], "with faults it takes at most 300 s"),
    ] {
        let ran = run(&[&["geo"], faults].concat());
        assert_eq!(ran.code, Some(2), "{ran:?}");
        assert!(ran.stderr.contains(message), "{faults:?}: {}", ran.stderr);
    }
}
