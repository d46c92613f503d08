//! The planner's predictions against the simulated engine: exact where nothing conflicts, and with
//! the error stated where commands do.

use panchayat::kv::KvCommand;
use panchayat::topology::contention::epaxos_loaded;
use panchayat::topology::{Matrix, latency};
use panchayat::{
    FastPaxosChoice, Leader, Learning, MultiPaxosChoice, ProtocolChoice, Quorums, Topology,
};
use panchayat_bench::planner::Forecast;
use panchayat_bench::simulated::Cluster;
use panchayat_bench::workload::{Kind, Shape, Stream, Workload};
use panchayat_sim::lab::{Event, Load, Lost, Pace, Served};

const SECOND: u64 = 1_000_000;

/// Clients that send a workload, and how long they waited, by city, in microseconds.
struct Clients {
    workload: Workload,
    from_us: u64,
    streams: Vec<Option<Stream>>,
    commit_us: Vec<Vec<u64>>,
    execute_us: Vec<Vec<u64>>,
}

impl Clients {
    fn new(conflict_percent: f64, cities: usize, from_us: u64) -> Self {
        let shape = Shape { conflict_percent, ..Kind::Mix.shape() };
        Self {
            workload: Workload::of(Kind::Mix, &shape, 1).unwrap(),
            from_us,
            streams: vec![None; cities],
            commit_us: vec![Vec::new(); cities],
            execute_us: vec![Vec::new(); cities],
        }
    }
}

impl Load for Clients {
    fn command(&mut self, seat: usize, _client: u32) -> KvCommand {
        let stream = || self.workload.stream(seat as u64);
        self.streams[seat].get_or_insert_with(stream).command()
    }

    fn served(&mut self, served: &Served) {
        if served.began_us >= self.from_us {
            self.commit_us[served.seat].push(served.committed_us - served.began_us);
            self.execute_us[served.seat].push(served.executed_us - served.began_us);
        }
    }

    fn lost(&mut self, _seat: usize, _began_us: u64, _why: Lost) {}
}

/// Commit latency in each city, nothing else going on, with `dead` down; `None` where nothing is
/// answered.
fn measured(matrix: &Matrix, protocol: &ProtocolChoice, dead: Option<usize>) -> Vec<Option<u64>> {
    // Dead long enough to be missed, replaced and, under Fast Paxos, given up for fast rounds.
    let from_us = 30 * SECOND;
    let window = (from_us, from_us + 15 * SECOND);
    let pace = Pace::Solo { rest_us: 600_000 };
    let cluster = Cluster::ideal(matrix.clone(), protocol.clone(), pace, window).unwrap();
    let kill = dead.map(|dead| (3 * SECOND, Event::Kill(dead)));
    let mut clients = Clients::new(0.0, matrix.len(), from_us);
    let outcome = cluster.with_events(kill.into_iter().collect()).run(&mut clients).unwrap();
    assert!(outcome.agreed);
    let city = |own: &Vec<u64>| {
        let last = own.last().copied();
        assert!(own.iter().all(|us| Some(*us) == last), "{protocol}: {own:?}");
        last
    };
    clients.commit_us.iter().map(city).collect()
}

fn choices(cities: &[String]) -> Vec<ProtocolChoice> {
    let led = |city: &String| {
        let leader = Leader::At(city.clone());
        ProtocolChoice::MultiPaxos(MultiPaxosChoice { leader, ..MultiPaxosChoice::default() })
    };
    let best = MultiPaxosChoice { learning: Learning::Leader, ..MultiPaxosChoice::default() };
    let fast = ProtocolChoice::FastPaxos(FastPaxosChoice::default());
    let others = [ProtocolChoice::EPaxos, fast, ProtocolChoice::MultiPaxos(best)];
    others.into_iter().chain(cities.iter().map(led)).collect()
}

fn us(ms: f64) -> u64 {
    (ms * 1e3).round() as u64
}

#[test]
fn forecasts_without_load_are_exact() {
    for set in ["india3", "india5", "asia-europe5"] {
        let matrix = Topology::builtin().matrix(set).unwrap();
        let all: Vec<usize> = (0..matrix.len()).collect();
        for protocol in choices(matrix.sites()) {
            let forecast = Forecast::new(&matrix, &all, &protocol).unwrap();
            let expected: Vec<_> = forecast.commit_ms.iter().map(|ms| Some(us(*ms))).collect();
            assert_eq!(measured(&matrix, &protocol, None), expected, "{set}, {protocol}");
        }
    }
}

#[test]
fn forecasts_of_fewer_replicas_are_exact_for_their_own_clients() {
    let whole = Topology::builtin().matrix("india5").unwrap();
    for gone in [[0, 1], [1, 3], [2, 4]] {
        let seats: Vec<usize> = (0..5).filter(|seat| !gone.contains(seat)).collect();
        let matrix = whole.without(gone[1]).without(gone[0]);
        for protocol in choices(matrix.sites()) {
            let forecast = Forecast::new(&whole, &seats, &protocol).unwrap();
            let found = measured(&matrix, &protocol, None);
            for (seat, found) in seats.iter().zip(found) {
                assert_eq!(found, Some(us(forecast.commit_ms[*seat])), "{protocol}, city {seat}");
            }
            // Everybody else asks the replica that answers soonest.
            for city in gone {
                let ways = seats
                    .iter()
                    .map(|seat| us(forecast.commit_ms[*seat]) + whole.rtt_us(city, *seat));
                assert_eq!(us(forecast.commit_ms[city]), ways.min().unwrap());
            }
        }
    }
}

#[test]
fn forecasts_with_one_city_down_are_exact_but_for_slots_by_arrival() {
    for set in ["india3", "india5"] {
        let matrix = Topology::builtin().matrix(set).unwrap();
        let all: Vec<usize> = (0..matrix.len()).collect();
        let auto = ProtocolChoice::MultiPaxos(MultiPaxosChoice::default());
        let fast = ProtocolChoice::FastPaxos(FastPaxosChoice::default());
        for protocol in [ProtocolChoice::EPaxos, auto, fast] {
            let forecast = Forecast::new(&matrix, &all, &protocol).unwrap();
            for dead in 0..matrix.len() {
                let down = &forecast.down[dead];
                let expected = down.commit_ms.as_ref().unwrap();
                let found = measured(&matrix, &protocol, Some(dead));
                if down.note.contains("silence") {
                    // Whoever is first to notice leads; the forecast is of the best.
                    assert!(is_led(&matrix, dead, &found), "{set}, {protocol}: {found:?}");
                    continue;
                }
                for city in (0..matrix.len()).filter(|city| *city != dead) {
                    let name = format!("{set}, {protocol}, {} down, city {city}", down.city);
                    let (found, expected) = (found[city].unwrap(), us(expected[city]));
                    if matches!(protocol, ProtocolChoice::FastPaxos(_)) {
                        // Acceptors vote when a command should have reached a fast quorum, and that
                        // is estimated with the dead one in mind: later than at best.
                        println!("{name}: {found} us, predicted {expected}");
                        let late = found as f64 / expected as f64;
                        assert!((1.0..1.3).contains(&late), "{name}: {late:.3}, {}", down.note);
                    } else {
                        assert_eq!(found, expected, "{name}: {}", down.note);
                    }
                }
            }
        }
    }
}

/// Whether one of the living leads, with origins that learn and a majority of all, by what each city
/// measures.
fn is_led(matrix: &Matrix, dead: usize, found: &[Option<u64>]) -> bool {
    let (left, majority) = (matrix.without(dead), matrix.len() / 2 + 1);
    let mut living = found.to_vec();
    living.remove(dead);
    (0..left.len()).any(|leader| {
        let row = (0..left.len())
            .map(|origin| latency::multipaxos_origin_learns(&left, leader, origin, majority));
        row.eq(living.iter().copied())
    })
}

/// What conflicts do to EPaxos, predicted and measured, in virtual time without jitter.
#[test]
fn forecasts_under_light_contention_state_their_error() {
    let mean = |all: &[u64]| all.iter().sum::<u64>() as f64 / all.len() as f64 / 1e3;
    let (mut commit_worst, mut execute_worst) = (0.0f64, 0.0f64);
    for (set, rate) in [("india3", 200.0), ("india5", 100.0)] {
        let matrix = Topology::builtin().matrix(set).unwrap();
        let n = matrix.len();
        let quorums = Quorums::for_replicas(n).unwrap();
        let quorums = (quorums.fast(), quorums.slow());
        for percent in [5.0, 10.0, 20.0] {
            let window = (2 * SECOND, 22 * SECOND);
            let pace = Pace::Open(vec![rate; n]);
            let cluster =
                Cluster::ideal(matrix.clone(), ProtocolChoice::EPaxos, pace, window).unwrap();
            let mut clients = Clients::new(percent, n, window.0);
            cluster.run(&mut clients).unwrap();
            let (rates, share) = (vec![rate; n], (percent / 100.0f64).powi(2));
            for city in 0..n {
                let predicted = epaxos_loaded(&matrix, city, quorums, &rates, share).unwrap();
                let (commit_ms, execute_ms) =
                    (predicted.commit_us / 1e3, predicted.execute_us / 1e3);
                let commit = mean(&clients.commit_us[city]);
                let execute = mean(&clients.execute_us[city]);
                let error = commit_ms / commit - 1.0;
                let waiting = execute_ms / execute - 1.0;
                println!(
                    "{set}, {percent:>4} % hot, {}: commit {commit:.2} ms, predicted {:.2} \
                     ({:+.1} %); execution {execute:.2}, predicted {:.2} ({:+.1} %)",
                    matrix.sites()[city],
                    commit_ms,
                    error * 100.0,
                    execute_ms,
                    waiting * 100.0,
                );
                commit_worst = commit_worst.max(error.abs());
                execute_worst = execute_worst.max(waiting.abs());
            }
        }
    }
    println!(
        "worst: commit {:.1} %, execution {:.1} %",
        commit_worst * 100.0,
        execute_worst * 100.0
    );
    assert!(commit_worst < 0.15, "commit: {commit_worst}");
    assert!(execute_worst < 0.25, "execution: {execute_worst}");
}
