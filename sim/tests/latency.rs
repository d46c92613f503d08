//! Latency under load and after failures, in virtual time, with the timeouts of production.
//!
//! Three (or five) cities on the `backbone` profile: each direction of a link adds its own
//! lognormal jitter. A lost packet is not a lost message there: QUIC sends it again, so the frame
//! arrives one and a half round trips late, and what follows it on the link waits behind it. A sync
//! takes 0.1 to 1 ms. Five clients a city, each with one command at a time and no pause; a quarter
//! of the commands write one common key, the others keys drawn by Zipf's law (0.99, 1,000 keys).
//! Clients of a city that dies go on at the others, with commands of the same kind.
//! Processors cost nothing here: what is measured is what the protocol waits for.
//!
//! `cargo test --release -p panchayat-sim --test latency -- --nocapture` prints the figures.

use std::collections::HashSet;

use panchayat_consensus::{InstanceId, Path, ReplicaId, Span};
use panchayat_epaxos::{EPaxos, Limits, Timing};
use panchayat_sim::fault::{CrashPoint, Fault, Planned, isolate};
use panchayat_sim::{
    Answer, ClientEventKind, Report, Setup, SyncTime, Tuning, Weather, Workload, run_setup,
};
use panchayat_topology::{Matrix, Topology, latency};

const MS: u64 = 1_000;
const SECOND: u64 = 1_000 * MS;
/// The first seconds of a run are not looked at.
const WARM_UP: u64 = 2 * SECOND;
const CLIENTS: usize = 5;
/// Latencies are compared over windows of this length, each starting so much after the one before.
const WINDOW: u64 = 500 * MS;
const STEP: u64 = 20 * MS;

fn matrix(set: &str) -> Matrix {
    Topology::builtin().matrix(set).expect("a replica set of the built-in topology")
}

/// What `Config::new` and the default limits say, and what the replica's builder makes of the
/// longest round trip.
fn production(set: &str) -> Setup {
    let matrix = matrix(set);
    let seats = 0..matrix.len();
    let row = |a| seats.clone().map(|b| matrix.one_way_us(a, b)).collect();
    let mut setup = Setup::calm(seats.clone().map(row).collect());
    let pairs = seats.clone().flat_map(|a| seats.clone().map(move |b| (a, b)));
    let rtt_max = pairs.filter(|(a, b)| a != b).map(|(a, b)| matrix.rtt_us(a, b)).max().unwrap();
    let (timing, limits) = (Timing::for_rtt(Span(rtt_max)), Limits::default());
    setup.tuning = Tuning {
        large_bytes: 64 << 10,
        patience: timing.patience,
        recovery_delay: timing.recovery_delay,
        stagger: timing.stagger,
        status_interval: timing.status_interval,
        fast_quorum_wait: timing.fast_quorum_wait,
        in_flight_max: limits.in_flight_max,
        unexecuted_per_key_max: limits.unexecuted_per_key_max,
        recoveries_max: limits.recoveries_max,
        fetches_max: limits.fetches_max,
        lane_window_max: limits.lane_window_max,
        retained_max: limits.retained_max,
        hold: timing.hold,
        ..setup.tuning
    };
    setup.heartbeat_us = 100 * MS;
    setup.suspicion_us = (3 * rtt_max + 500 * MS).max(SECOND);
    setup.disks = vec![SyncTime { low_us: 100, high_us: MS }; matrix.len()];
    let link = Topology::builtin().links(set, "backbone").expect("a profile")[0].clone();
    setup.weather = Weather {
        lognormal_median_us: link.jitter_median_us,
        lognormal_sigma_hundredths: (link.jitter_sigma * 100.0) as u64,
        resent_ppm: (link.loss * 1e6) as u64,
        ..Weather::default()
    };
    setup.workload = Workload {
        clients_per_replica: CLIENTS,
        keys: 1_000,
        hot_percent: 25,
        zipf_hundredths: 99,
        kinds: [0, 0, 1],
        timeout_us: 600 * SECOND,
        ..Workload::none()
    };
    setup.durability_scan = false;
    setup
}

fn run(name: &str, setup: Setup) -> Report {
    let report = run_setup::<EPaxos>(11, setup, false);
    if let Some(violation) = &report.violation {
        panic!("{name}: {violation}");
    }
    report
}

/// Percentiles of a set of latencies, in milliseconds.
struct Figures(Vec<u64>);

impl Figures {
    fn of(latencies: impl Iterator<Item = u64>) -> Self {
        let mut latencies: Vec<u64> = latencies.collect();
        latencies.sort_unstable();
        Self(latencies)
    }

    /// The latency that `per_mille` of a thousand do not exceed, in microseconds.
    fn at(&self, per_mille: usize) -> u64 {
        let rank = (self.0.len() * per_mille).div_ceil(1_000).max(1);
        self.0.get(rank - 1).copied().unwrap_or(0)
    }
}

impl std::fmt::Display for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ms = |per_mille| self.at(per_mille) as f64 / 1e3;
        let (p50, p90, p99, p999, max) = (ms(500), ms(900), ms(990), ms(999), ms(1_000));
        write!(f, "p50 {p50:.1}, p90 {p90:.1}, p99 {p99:.1}, p99.9 {p999:.1}, max {max:.1} ms")
    }
}

fn executed(answer: &Answer) -> u64 {
    answer.answered_us - answer.asked_us
}

fn at_city(report: &Report, city: usize) -> impl Iterator<Item = &Answer> {
    report.answers.iter().filter(move |answer| answer.replica.index() == city)
}

fn print_components(report: &Report) {
    let count = |name| report.coverage.get(name);
    let (executed, components) = (count("executed"), count("components"));
    let members = count("component_members");
    println!(
        "  of {executed} executions {:.1} % in {components} components of more than one command: \
         {:.1} on average, {} at most",
        members as f64 / executed as f64 * 100.0,
        members as f64 / components.max(1) as f64,
        count("component_max"),
    );
}

/// (a) With conflicts the tail stays below four times the slow path of the city.
#[test]
fn the_tail_under_conflicts_stays_below_four_slow_paths() {
    let mut setup = production("india3");
    setup.workload.commands = 24_000;
    setup.safety_us = 55 * SECOND;
    let end = setup.safety_us;
    let report = run("tail", setup);
    let matrix = matrix("india3");
    println!("india3, backbone, 25 % conflicts and Zipf 0.99, 5 clients a city:");
    let measured = report.answers.iter().filter(|answer| answer.asked_us < end).count();
    assert!(measured >= 20_000, "only {measured} commands in the time given");
    for city in 0..3 {
        let of =
            || at_city(&report, city).filter(|answer| (WARM_UP..end).contains(&answer.asked_us));
        let execute = Figures::of(of().map(executed));
        let commit = of().filter_map(|answer| Some(answer.committed?.0 - answer.asked_us));
        let wait = of().filter_map(|answer| Some(answer.answered_us - answer.committed?.0));
        let fast = of().filter(|a| a.committed.is_some_and(|(_, path)| path == Path::Fast)).count();
        let slow_us = latency::epaxos_slow(&matrix, city, 2).unwrap();
        println!("  {}: execute {execute}", matrix.sites()[city]);
        println!("    commit {}", Figures::of(commit));
        println!("    from commit to execution {}", Figures::of(wait));
        println!(
            "    {} commands, {:.1} % on the fast path, p99 is {:.2} slow paths",
            of().count(),
            fast as f64 / of().count() as f64 * 100.0,
            execute.at(990) as f64 / slow_us as f64,
        );
        assert!(execute.at(990) < 4 * slow_us, "p99 {} us in city {city}", execute.at(990));
    }
    print_components(&report);
    assert_eq!(report.coverage.get("recoveries"), 0, "nobody failed");
}

/// The p99 of the answers in each window from `from_us` on; a window without answers counts as
/// endless.
fn windows(report: &Report, city: usize, from_us: u64, end_us: u64) -> Vec<(u64, u64)> {
    let starts = (from_us..end_us - WINDOW).step_by(STEP as usize);
    let p99 = |start| {
        let within = start..start + WINDOW;
        let answers = at_city(report, city).filter(|a| within.contains(&a.answered_us));
        let figures = Figures::of(answers.map(executed));
        (start, if figures.0.is_empty() { u64::MAX } else { figures.at(990) })
    };
    starts.map(p99).collect()
}

/// How long after `from_us` the p99 of every later window stays below `bound_us`.
fn settled_after(windows: &[(u64, u64)], from_us: u64, bound_us: u64) -> u64 {
    let last_bad = windows.iter().rev().find(|(_, p99)| *p99 >= bound_us);
    last_bad.map_or(0, |(start, _)| start + WINDOW - from_us)
}

fn normal_p99(report: &Report, city: usize, until_us: u64) -> u64 {
    let before =
        at_city(report, city).filter(|a| a.asked_us >= WARM_UP && a.answered_us < until_us);
    Figures::of(before.map(executed)).at(990)
}

fn kill(replica: usize, at_us: u64) -> Planned {
    let point = CrashPoint::After(0);
    Planned { at_us, fault: Fault::Crash { replica, point, down_us: 3_600 * SECOND } }
}

/// (b) A city dies for good: the others are as fast as before within three seconds.
#[test]
fn the_others_are_as_fast_as_before_three_seconds_after_a_city_died() {
    const KILLED: u64 = 8 * SECOND;
    const END: u64 = 20 * SECOND;
    println!("india3, backbone, one city killed for good:");
    for dead in 0..3 {
        let mut setup = production("india3");
        setup.workload.commands = 60_000;
        setup.safety_us = END;
        setup.plan = vec![kill(dead, KILLED)];
        setup.down.insert(ReplicaId(dead as u8));
        let report = run("a city dies", stopping(setup, END));
        let names = matrix("india3").sites().to_vec();
        for city in (0..3).filter(|city| *city != dead) {
            let normal = normal_p99(&report, city, KILLED);
            let windows = windows(&report, city, KILLED, END);
            let worst = at_city(&report, city).map(executed).max().unwrap();
            let after = settled_after(&windows, KILLED, 2 * normal);
            let late = at_city(&report, city)
                .filter(|a| a.asked_us >= KILLED + 3 * SECOND && a.answered_us < END);
            println!(
                "  {} dead, {}: normal p99 {:.1} ms, below twice that after {:.2} s, worst command \
                 {:.0} ms; then {}",
                names[dead],
                names[city],
                normal as f64 / 1e3,
                after as f64 / 1e6,
                worst as f64 / 1e3,
                Figures::of(late.map(executed)),
            );
            assert!(after <= 3 * SECOND, "{} settled after {after} us", names[city]);
        }
    }
}

/// Clients issue commands until `end_us` only.
fn stopping(mut setup: Setup, end_us: u64) -> Setup {
    setup.workload.until_us = Some(end_us);
    setup
}

/// (c) With f of five down for good, everything that a client of the others asks for is answered.
#[test]
fn with_f_down_for_good_every_command_of_the_others_is_answered() {
    const END: u64 = 12 * SECOND;
    let mut setup = production("india5");
    setup.workload.commands = 60_000;
    setup.safety_us = END;
    setup.plan = vec![kill(1, 4 * SECOND), kill(3, 4_500 * MS)];
    setup.down = [ReplicaId(1), ReplicaId(3)].into_iter().collect();
    let report = run("two of five die", stopping(setup, END));
    let (mut asked, mut answered) = (HashSet::new(), HashSet::new());
    for event in report.history.iter().filter(|event| ![1, 3].contains(&event.replica.0)) {
        match event.kind {
            ClientEventKind::Invoke(_) => asked.insert(event.op),
            ClientEventKind::Return(_) => answered.insert(event.op),
            ClientEventKind::Refused(_)
            | ClientEventKind::NotApplied(_)
            | ClientEventKind::Unknown => false,
        };
    }
    let unanswered: Vec<_> = asked.difference(&answered).collect();
    assert!(unanswered.is_empty(), "{} of {} not answered", unanswered.len(), asked.len());
    assert!(asked.len() > 5_000, "only {} commands", asked.len());
    println!("india5, backbone, delhi and chennai dead for good: all {} answered", asked.len());
    let names = matrix("india5").sites().to_vec();
    for city in [0, 2, 4] {
        let phase = |from, to| {
            let within = move |a: &&Answer| (from..to).contains(&a.asked_us);
            Figures::of(at_city(&report, city).filter(within).map(executed))
        };
        println!("  {}: before {}", names[city], phase(WARM_UP, 3_800 * MS));
        println!("    the three seconds after {}", phase(4 * SECOND, 7 * SECOND));
        println!("    then {}", phase(7 * SECOND, END));
        let (normal, then) = (phase(WARM_UP, 3_800 * MS).at(990), phase(8 * SECOND, END).at(990));
        assert!(then < 4 * normal, "{}: p99 {then} us, before {normal} us", names[city]);
    }
}

/// (d) Two cities against one: the two go on, the one decides nothing, and catches up by itself.
#[test]
fn a_city_cut_off_decides_nothing_and_catches_up_by_itself() {
    const CUT: u64 = 5 * SECOND;
    const HEALED: u64 = 15 * SECOND;
    const END: u64 = 25 * SECOND;
    println!("india3, backbone, one city cut off for 10 s:");
    for alone in 0..3 {
        let mut setup = production("india3");
        setup.workload.commands = 60_000;
        setup.safety_us = END;
        let cut = Fault::Cut { links: isolate(3, alone), us: HEALED - CUT };
        setup.plan = vec![Planned { at_us: CUT, fault: cut }];
        let report = run("two against one", stopping(setup, END));
        let names = matrix("india3").sites().to_vec();
        for city in (0..3).filter(|city| *city != alone) {
            // What the lost city had proposed holds the others up until they have recovered it.
            let answers = at_city(&report, city);
            let within = CUT + 3 * SECOND..HEALED;
            let figures =
                Figures::of(answers.filter(|a| within.contains(&a.answered_us)).map(executed));
            println!(
                "  {} alone, {}: {} answers, {figures}",
                names[alone],
                names[city],
                figures.0.len()
            );
            assert!(figures.0.len() > 500, "the majority goes on");
        }
        // A reply that was under way when the links were cut may still arrive.
        let cut_off = CUT + 50 * MS..HEALED;
        let own = || at_city(&report, alone);
        let decided = own()
            .filter(|a| a.committed.is_some_and(|(at_us, _)| cut_off.contains(&at_us)))
            .count();
        assert_eq!(decided, 0, "{} decides alone", names[alone]);
        assert_eq!(own().filter(|a| cut_off.contains(&a.answered_us)).count(), 0);
        let stuck = own().filter(|a| a.asked_us < HEALED && a.answered_us >= HEALED);
        let waited: Vec<_> = stuck.map(|a| a.answered_us - HEALED).collect();
        assert!(!waited.is_empty(), "somebody had asked");
        let (missed, caught_up) = catch_up(&report, alone, HEALED);
        let normal = normal_p99(&report, alone, CUT);
        let mut settled = settled_after(&windows(&report, alone, HEALED, END), HEALED, 2 * normal);
        for city in (0..3).filter(|city| *city != alone) {
            let normal = normal_p99(&report, city, CUT);
            let all = windows(&report, city, HEALED, END);
            settled = settled.max(settled_after(&all, HEALED, 2 * normal));
        }
        println!(
            "  {} alone: missed {missed} commands, had executed them all {:.2} s after the heal; its \
             {} waiting clients were answered within {:.2} s; all cities back below twice their \
             normal p99 after {:.2} s",
            names[alone],
            caught_up as f64 / 1e6,
            waited.len(),
            waited.iter().max().copied().unwrap_or(0) as f64 / 1e6,
            settled as f64 / 1e6,
        );
        assert!(caught_up <= 5 * SECOND, "caught up after {caught_up} us");
        assert!(settled <= 5 * SECOND, "settled after {settled} us");
    }
}

/// How many of the commands that others had executed by `healed_us` the city `alone` had not, and
/// how long it took until it had them all.
fn catch_up(report: &Report, alone: usize, healed_us: u64) -> (usize, u64) {
    let by_others = report.executions.iter().filter(|e| e.replica.index() != alone);
    let mut missing: HashSet<InstanceId> =
        by_others.filter(|e| e.at_us < healed_us).map(|e| e.id).collect();
    let own = || report.executions.iter().filter(|e| e.replica.index() == alone);
    own().filter(|e| e.at_us < healed_us).for_each(|e| _ = missing.remove(&e.id));
    let missed = missing.len();
    let mut last = healed_us;
    for execution in own().filter(|e| e.at_us >= healed_us) {
        if missing.remove(&execution.id) {
            last = execution.at_us;
        }
    }
    assert!(missing.is_empty(), "{} commands were never executed", missing.len());
    (missed, last - healed_us)
}
