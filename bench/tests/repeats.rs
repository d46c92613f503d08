//! The simulated engine repeats: the same seed gives the same report, byte for byte, and another
//! seed another.

mod common;

use common::simulated;
use panchayat_bench::experiment::{parse, shipped};

fn json(text: &str) -> String {
    let mut report = simulated(&parse("test.yaml", text).unwrap());
    report.conditions.commit = "any".to_owned();
    serde_json::to_string_pretty(&report).unwrap()
}

fn text(seed: u64, rest: &str) -> String {
    format!("format: 1\nname: repeats\nduration_s: 3\nwarm_up_s: 2\nseed: {seed}\n{rest}")
}

#[test]
fn the_same_seed_gives_the_same_report() {
    for rest in [
        "load: {clients: 8}\nworkload: {conflict: 20}\nprofile: stressed\n",
        "load: {rate: 900}\nworkload: orderbook\ntransports: [streams, datagrams]\nprofile: congested\n",
        "load: {clients: 4}\nfaults: [kill mumbai@1s..2s, 'slow delhi@500ms..1s:50ms']\n",
    ] {
        let first = json(&text(7, rest));
        assert_eq!(first, json(&text(7, rest)), "{rest}");
        assert_ne!(first, json(&text(8, rest)), "{rest}");
    }
}

#[test]
fn the_closed_form_holds_when_cut_down_too() {
    let report = simulated(&shipped("closed-form").unwrap().unwrap().quick());
    assert!(report.points.iter().all(|point| point.sites.iter().all(|site| site.commands > 1)));
}
