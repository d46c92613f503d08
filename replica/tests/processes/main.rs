//! Real replicas in real processes over real QUIC, killed, stopped and restarted under load, with
//! the clients' histories checked for strict serializability.
//!
//! The journals keep unsynced bytes in the memory of the process ([`UnsyncedInMemory`]), so that
//! `kill -9` loses exactly what a power cut may lose. Leaving out any one sync makes these fail.
//!
//! Every scenario runs here under every protocol, one after the other: they time nothing, but they
//! need the machine. Those of `workloads` have all protocols at once, in every replica.
//!
//! [`UnsyncedInMemory`]: panchayat::backend::UnsyncedInMemory

#![forbid(unsafe_code)]

mod asking;
mod child;
mod cluster;
#[path = "../../examples/orderbook/machine.rs"]
#[allow(dead_code, unused_imports, reason = "an example, with tests of its own")]
mod exchange;
mod load;
mod orders;
mod payments;
mod workloads;

use std::time::{Duration, Instant};

use cluster::Processes;
use load::Load;
use panchayat::kv::KvStore;
use panchayat::{LocalCluster, LocalConfig, Topology};

pub(crate) type Scenario = fn(&tokio::runtime::Runtime, &'static str);

const SCENARIOS: &[(&str, Scenario)] = &[
    ("all_replicas_killed_mid_load_lose_nothing_acknowledged", kill_all),
    ("one_replica_killed_under_load_comes_back", kill_one),
    ("a_replica_stopped_for_ten_seconds_catches_up", stop_one),
    ("kills_across_snapshots_lose_nothing_acknowledged", kill_across_snapshots),
    ("a_replica_left_behind_takes_over_a_state", left_behind),
    ("replicas_told_to_stop_end_in_order_and_go_on", terminate),
    ("one_link_cut_one_way_holds_nobody_up", cut_one_way),
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().map(String::as_str) == Some(child::ARGUMENT) {
        child::run(&arguments[1..]);
        return;
    }
    // The flags that cargo and editors give to a test binary.
    let list = arguments.iter().any(|argument| argument == "--list");
    let filter = arguments.iter().find(|argument| !argument.starts_with('-'));
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let mut passed = 0;
    let ignored = arguments.iter().any(|argument| argument == "--ignored");
    let with_ignored = arguments.iter().any(|argument| argument == "--include-ignored");
    let scenarios = child::PROTOCOLS.into_iter().flat_map(|protocol| {
        let named =
            move |(name, scenario)| (protocol, format!("{protocol}::{name}"), scenario, false);
        SCENARIOS.iter().copied().map(named)
    });
    let of_workloads = workloads::SCENARIOS.iter().map(|(name, scenario, long)| {
        (child::WORKLOADS, format!("{}::{name}", child::WORKLOADS), *scenario, *long)
    });
    for (protocol, name, scenario, long) in scenarios.chain(of_workloads) {
        if filter.is_some_and(|filter| !name.contains(filter.as_str())) {
            continue;
        }
        if !with_ignored && long != ignored {
            continue;
        }
        if list {
            println!("{name}: test");
            continue;
        }
        let start = Instant::now();
        scenario(&runtime, protocol);
        println!("test {name} ... ok ({:.1} s)", start.elapsed().as_secs_f64());
        passed += 1;
    }
    println!("\ntest result: ok. {passed} passed; 0 failed");
}

/// Three times: load, kill everything at once, start again. Then everything acknowledged is there.
fn kill_all(runtime: &tokio::runtime::Runtime, protocol: &'static str) {
    runtime.block_on(async {
        let mut processes = Processes::start(protocol, 3);
        let load = Load::start(&processes.cluster, &processes.client, 6);
        for round in 0..3 {
            load.wait_for_more(60, "before the kill").await;
            tokio::time::sleep(Duration::from_millis(150 + 70 * round)).await;
            for seat in 0..3 {
                processes.kill(seat);
            }
            for seat in 0..3 {
                processes.restart(seat);
            }
        }
        load.wait_for_more(60, "after the last restart").await;
        load.finish().await;
    });
}

/// One replica dies and comes back while the others serve.
fn kill_one(runtime: &tokio::runtime::Runtime, protocol: &'static str) {
    runtime.block_on(async {
        let mut processes = Processes::start(protocol, 3);
        let load = Load::start(&processes.cluster, &processes.client, 6);
        load.wait_for_more(100, "before the kill").await;
        for victim in [1, 2] {
            processes.kill(victim);
            load.wait_for_more(150, "with one replica down").await;
            processes.restart(victim);
            load.wait_for_more_at(victim, 20, "at the restarted replica").await;
        }
        load.finish().await;
    });
}

/// Snapshots all the time; one replica, and then all, die at any moment of them.
fn kill_across_snapshots(runtime: &tokio::runtime::Runtime, protocol: &'static str) {
    runtime.block_on(async {
        let mut processes = Processes::start_small(protocol, 3);
        let load = Load::start(&processes.cluster, &processes.client, 6);
        for round in 0..6 {
            load.wait_for_more(120, "before a kill").await;
            tokio::time::sleep(Duration::from_millis(37 * round)).await;
            let victim = round as usize % 3;
            processes.kill(victim);
            processes.restart(victim);
            load.wait_for_more_at(victim, 20, "at the restarted replica").await;
        }
        for round in 0..3 {
            load.wait_for_more(150, "before all are killed").await;
            tokio::time::sleep(Duration::from_millis(61 * round)).await;
            for seat in 0..3 {
                processes.kill(seat);
            }
            for seat in 0..3 {
                processes.restart(seat);
            }
        }
        load.wait_for_more(200, "after the last restart").await;
        let taken: Vec<_> = (0..3).map(|seat| processes.figures(seat).0).collect();
        assert!(taken.iter().all(|taken| *taken > 0), "snapshots of the last runs: {taken:?}");
        load.finish().await;
    });
}

/// One replica is away while the others collect without it; with its old disk it needs a state.
/// The process is killed once more while it takes it over.
fn left_behind(runtime: &tokio::runtime::Runtime, protocol: &'static str) {
    runtime.block_on(async {
        let mut processes = Processes::start_small(protocol, 3);
        let load = Load::start(&processes.cluster, &processes.client, 6);
        load.wait_for_more(100, "before the kill").await;
        processes.kill(2);
        load.wait_for_more(4_000, "with one replica down").await;
        processes.restart(2);
        tokio::time::sleep(Duration::from_millis(150)).await;
        processes.kill(2);
        processes.restart(2);
        load.wait_for_more_at(2, 50, "at the replica that was left behind").await;
        let deadline = Instant::now() + Duration::from_secs(5);
        while processes.figures(2).1 == 0 && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // Unless the killed run had made it durable already.
        println!("  states taken over by the last run: {}", processes.figures(2).1);
        load.finish().await;
    });
}

/// SIGTERM under load, one after the other and then all.
fn terminate(runtime: &tokio::runtime::Runtime, protocol: &'static str) {
    runtime.block_on(async {
        let mut processes = Processes::start_small(protocol, 3);
        let load = Load::start(&processes.cluster, &processes.client, 6);
        for seat in 0..3 {
            load.wait_for_more(100, "before a stop").await;
            let asked = Instant::now();
            processes.terminate(seat);
            println!("  stopped within {:?}", asked.elapsed());
            processes.restart(seat);
            load.wait_for_more_at(seat, 20, "at the restarted replica").await;
        }
        load.finish().await;
    });
}

/// A replica that stands still looks dead, is recovered from, and goes on where it stood.
fn stop_one(runtime: &tokio::runtime::Runtime, protocol: &'static str) {
    runtime.block_on(async {
        let processes = Processes::start(protocol, 3);
        let load = Load::start(&processes.cluster, &processes.client, 6);
        load.wait_for_more(100, "before the stop").await;
        processes.stop(1);
        let stopped = Instant::now();
        load.wait_for_more(150, "with one replica stopped").await;
        tokio::time::sleep(Duration::from_secs(10).saturating_sub(stopped.elapsed())).await;
        processes.resume(1);
        load.wait_for_more_at(1, 20, "at the resumed replica").await;
        load.finish().await;
    });
}

/// Mumbai's packets to Delhi are lost, Delhi's to Mumbai arrive. Every city goes on serving, as long
/// as it reaches the leader, if there is one.
fn cut_one_way(runtime: &tokio::runtime::Runtime, protocol: &'static str) {
    runtime.block_on(async {
        let dir = tempfile::tempdir().expect("a directory");
        let mut config = LocalConfig::new(Topology::builtin(), "india3", dir.path());
        config.profile = Some("ideal".into());
        // A city without a link to the leader cannot propose: there is no way around it.
        config.protocol = child::led_from(protocol, "bangalore");
        let started = LocalCluster::start(config, |_city| KvStore::default()).await;
        let local = started.expect("a cluster");
        let client = local.client_identity("test").expect("an identity");
        let load = Load::start(local.cluster(), &client, 6);
        load.wait_for_more(60, "before the cut").await;
        let (mumbai, delhi) = (local.cluster().members[0].node, local.cluster().members[1].node);
        let wan = local.wan().expect("emulated links");
        wan.partition(mumbai, delhi, true);
        for seat in 0..3 {
            load.wait_for_more_at(seat, 20, "with one direction cut").await;
        }
        wan.partition(mumbai, delhi, false);
        load.wait_for_more(60, "after the cut").await;
        load.finish().await;
        local.shutdown(Duration::from_secs(5)).await;
    });
}
