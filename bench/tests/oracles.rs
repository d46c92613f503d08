//! The simulated engine against the published table and its closed forms: with the profile `ideal`,
//! no disk and one client, every city of every set commits and executes to the microsecond when the
//! formula says, under each of the protocols and every leader.

use panchayat::kv::{KvCommand, KvOp};
use panchayat::topology::Matrix;
use panchayat::{
    FastPaxosChoice, Leader, Learning, MultiPaxosChoice, Path, ProtocolChoice, Topology,
};
use panchayat_bench::simulated::{Cluster, Machine};
use panchayat_sim::lab::{Load, Lost, Pace, Served};

const SETS: [&str; 3] = ["india3", "india5", "asia-europe5"];
/// Long enough for a leader to be found, and for each of five cities to be visited three times.
const RUN_US: (u64, u64) = (5_000_000, 20_000_000);

/// One client that writes a new key each time.
#[derive(Default)]
struct Visits {
    keys: u64,
    served: Vec<Served>,
    lost: u64,
}

impl Load for Visits {
    fn command(&mut self, _seat: usize, _client: u32) -> KvCommand {
        self.keys += 1;
        let key = self.keys.to_be_bytes().to_vec().into();
        KvCommand::One(KvOp::Mix { key, salt: vec![7; 16].into() })
    }

    fn served(&mut self, served: &Served) {
        if served.began_us >= RUN_US.0 {
            self.served.push(*served);
        }
    }

    fn lost(&mut self, _seat: usize, _began_us: u64, _why: Lost) {
        self.lost += 1;
    }
}

/// Runs `protocol` and holds every command against `oracle_us`, by city.
fn check(set: &str, protocol: ProtocolChoice, oracle_us: &[u64]) {
    let topology = Topology::builtin();
    let pace = Pace::Solo { rest_us: 600_000 };
    let name = format!("{set}, {protocol}");
    let cluster =
        Cluster::new(&topology, (set, "ideal"), protocol, Machine::IDEAL, pace, RUN_US).unwrap();
    let mut visits = Visits::default();
    let outcome = cluster.run(&mut visits).unwrap();
    assert!(outcome.agreed, "{name}: {:?}", outcome.states);
    assert_eq!((visits.lost, outcome.unanswered), (0, 0), "{name}");
    for (seat, oracle_us) in oracle_us.iter().enumerate() {
        let own: Vec<_> = visits.served.iter().filter(|served| served.seat == seat).collect();
        assert!(own.len() >= 3, "{name}: city {seat} was visited {} times", own.len());
        for served in own {
            let commit_us = served.committed_us - served.began_us;
            let execute_us = served.executed_us - served.began_us;
            assert_eq!((commit_us, execute_us), (*oracle_us, *oracle_us), "{name}, city {seat}");
            // Who waits for the leader's word is not fast by definition.
            let told = name.contains("naive");
            assert_eq!(served.path == Path::Fast, !told, "{name}, city {seat}");
        }
    }
}

fn matrix(set: &str) -> Matrix {
    Topology::builtin().matrix(set).unwrap()
}

/// What the closed form says of every city.
fn form(set: &str, protocol: &ProtocolChoice) -> Vec<u64> {
    let matrix = matrix(set);
    (0..matrix.len()).map(|city| protocol.commit_us(&matrix, city).unwrap()).collect()
}

fn led(city: &str, learning: Learning) -> ProtocolChoice {
    let leader = Leader::At(city.into());
    ProtocolChoice::MultiPaxos(MultiPaxosChoice { leader, learning, ..MultiPaxosChoice::default() })
}

#[test]
fn epaxos_in_every_city() {
    for (set, ms) in [
        ("india3", vec![24, 27, 24]),
        ("india5", vec![24, 28, 10, 12, 12]),
        ("asia-europe5", vec![27, 37, 37, 62, 147]),
    ] {
        let oracle_us: Vec<u64> = ms.iter().map(|ms| ms * 1_000).collect();
        assert_eq!(form(set, &ProtocolChoice::EPaxos), oracle_us, "{set}: table and formula");
        check(set, ProtocolChoice::EPaxos, &oracle_us);
    }
}

#[test]
fn fast_paxos_in_every_city() {
    let protocol = || ProtocolChoice::FastPaxos(FastPaxosChoice::default());
    for (set, ms) in [("india3", vec![27, 37, 37]), ("india5", vec![25, 37, 24, 25, 18])] {
        let oracle_us: Vec<u64> = ms.iter().map(|ms| ms * 1_000).collect();
        assert_eq!(form(set, &protocol()), oracle_us, "{set}: table and formula");
    }
    for set in SETS {
        check(set, protocol(), &form(set, &protocol()));
    }
}

#[test]
fn multi_paxos_with_every_leader_and_either_way_to_learn() {
    let table: [(&str, Learning, [u64; 3]); 6] = [
        ("mumbai", Learning::Origin, [24_000, 27_000, 24_000]),
        ("mumbai", Learning::Leader, [24_000, 51_000, 48_000]),
        ("delhi", Learning::Origin, [27_000, 27_000, 37_000]),
        ("delhi", Learning::Leader, [54_000, 27_000, 64_000]),
        ("bangalore", Learning::Origin, [24_000, 37_000, 24_000]),
        ("bangalore", Learning::Leader, [48_000, 61_000, 24_000]),
    ];
    for (city, learning, row) in table {
        assert_eq!(form("india3", &led(city, learning)), row, "{city}: table and formula");
    }
    let origin = |city| form("india5", &led(city, Learning::Origin));
    assert_eq!(origin("mumbai"), [24_000, 36_500, 26_000, 27_500, 26_000]);
    assert_eq!(origin("delhi"), [36_500, 28_000, 37_500, 42_500, 36_500]);
    assert_eq!(origin("bangalore"), [26_000, 37_500, 10_000, 15_500, 15_500]);
    assert_eq!(origin("chennai"), [27_500, 42_500, 15_500, 12_000, 15_500]);
    assert_eq!(origin("hyderabad"), [26_000, 36_500, 15_500, 15_500, 12_000]);
    for set in SETS {
        for city in matrix(set).sites() {
            for learning in [Learning::Origin, Learning::Leader] {
                check(set, led(city, learning), &form(set, &led(city, learning)));
            }
        }
    }
}
