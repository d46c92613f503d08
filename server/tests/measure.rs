//! `panchayat geo measure`: a topology from replicas that run as processes of their own, which the
//! planner and the emulator then take.

mod common;

use std::path::Path;
use std::process::{Command, Output};

use common::serve::{CITIES, Served};
use panchayat::Topology;

fn panchayat(dir: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_panchayat"));
    command.current_dir(dir).args(arguments).env_remove("RUST_LOG").output().unwrap()
}

#[test]
fn replicas_on_this_machine_are_measured_and_planned_for() {
    let dir = tempfile::tempdir().unwrap();
    let mut served = Served::start(dir.path(), "");
    (0..3).for_each(|seat| served.wait_until_it_serves(seat));
    let addrs: Vec<String> = (0..3).map(|seat| served.admin(seat).to_string()).collect();

    // Two of three know all pairs.
    let asked = ["geo", "measure", &addrs[0], &addrs[2], "--pings", "5", "--set", "mine"];
    let found = panchayat(dir.path(), &asked);
    assert!(found.status.success(), "{}", String::from_utf8_lossy(&found.stderr));
    let said = String::from_utf8_lossy(&found.stdout);
    assert!(
        said.contains("mumbai–bangalore") && said.contains("--topology measured.yaml"),
        "{said}"
    );
    let topology = Topology::load(dir.path().join("measured.yaml")).unwrap();
    assert_eq!(topology.set("mine").unwrap().sites, CITIES);
    let profile = topology.profile("measured").unwrap();
    for pair in topology.pairs() {
        // One machine, busy as it may be; and nobody takes it for 1,148 km.
        let median_us = pair.rtt_us + profile.jitter_median_us;
        assert!((2..1_000_000).contains(&median_us), "{pair:?}");
        assert_eq!(pair.great_circle_km, None, "{pair:?}");
    }
    let planned = panchayat(dir.path(), &["plan", "--topology", "measured.yaml", "--set", "mine"]);
    assert!(planned.status.success(), "{}", String::from_utf8_lossy(&planned.stderr));

    // What is there already is kept.
    let again = panchayat(dir.path(), &asked);
    assert!(String::from_utf8_lossy(&again.stderr).contains("exists already"));
    // One alone does not know what is between the two others.
    let alone = panchayat(dir.path(), &["geo", "measure", &addrs[1], "--out", "alone.yaml"]);
    let said = String::from_utf8_lossy(&alone.stderr).replace('\n', " ");
    assert!(!alone.status.success() && said.contains("mumbai–bangalore"), "{said}");
    // Nor is a dead link a distance.
    served.kill(1);
    served.kill(2);
    std::thread::sleep(std::time::Duration::from_secs(4));
    let dead =
        ["geo", "measure", &addrs[0], "--out", "dead.yaml", "--pings", "100000", "--timeout", "1"];
    let dead = panchayat(dir.path(), &dead);
    let said = String::from_utf8_lossy(&dead.stderr).replace('\n', " ");
    assert!(!dead.status.success() && !dir.path().join("dead.yaml").exists(), "{said}");
}
