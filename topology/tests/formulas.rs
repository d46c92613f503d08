//! The formulas against a small simulation that knows no formula: it sends the messages of each
//! protocol, delivers them in time order and counts votes.

use std::collections::{BTreeSet, BinaryHeap};
use std::ops::RangeInclusive;

use panchayat_topology::Matrix;
use panchayat_topology::latency::{
    direct_path, epaxos_slow, multipaxos_leader_tells, multipaxos_origin_learns,
};
use proptest::prelude::*;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Message {
    Forward,
    Accept,
    Accepted { by: usize },
    Decided,
}

/// Delivers messages until `on` reports the commit time.
struct Network<'a> {
    matrix: &'a Matrix,
    in_flight: BinaryHeap<std::cmp::Reverse<(u64, usize, Message)>>,
}

impl Network<'_> {
    fn send(&mut self, now: u64, from: usize, to: usize, message: Message) {
        let at = now + self.matrix.one_way_us(from, to);
        self.in_flight.push(std::cmp::Reverse((at, to, message)));
    }

    fn run(
        mut self,
        mut on: impl FnMut(&mut Self, u64, usize, Message) -> Option<u64>,
    ) -> Option<u64> {
        while let Some(std::cmp::Reverse((now, at, message))) = self.in_flight.pop() {
            if let Some(committed) = on(&mut self, now, at, message) {
                return Some(committed);
            }
        }
        None
    }
}

fn network(matrix: &Matrix) -> Network<'_> {
    Network { matrix, in_flight: BinaryHeap::new() }
}

/// Multi-Paxos: acceptors vote to the leader and, if `origin_learns`, to the origin as well.
fn multipaxos(
    matrix: &Matrix,
    leader: usize,
    origin: usize,
    quorum: usize,
    origin_learns: bool,
) -> Option<u64> {
    let n = matrix.len();
    let mut seen_by_origin = BTreeSet::new();
    let mut seen_by_leader = BTreeSet::new();
    let mut told = false;
    let mut net = network(matrix);
    net.send(0, origin, leader, Message::Forward);
    net.run(|net, now, at, message| {
        match message {
            Message::Forward => {
                seen_by_leader.insert(leader);
                for x in (0..n).filter(|&x| x != leader) {
                    net.send(now, leader, x, Message::Accept);
                }
            }
            Message::Accept => {
                if at == origin {
                    seen_by_origin.extend([leader, origin]);
                }
                net.send(now, at, leader, Message::Accepted { by: at });
                if origin_learns && at != origin && origin != leader {
                    net.send(now, at, origin, Message::Accepted { by: at });
                }
            }
            // Any vote proves the leader's own.
            Message::Accepted { by } if at == leader => {
                seen_by_leader.insert(by);
            }
            Message::Accepted { by } => seen_by_origin.extend([leader, by]),
            Message::Decided => return Some(now),
        }
        if origin_learns && origin != leader {
            return (seen_by_origin.len() >= quorum).then_some(now);
        }
        if !told && seen_by_leader.len() >= quorum {
            told = true;
            net.send(now, leader, origin, Message::Decided);
        }
        None
    })
}

/// The origin asks everyone `rounds` times, each time until a quorum has answered.
fn ask_all(matrix: &Matrix, origin: usize, quorum: usize, rounds: u64) -> Option<u64> {
    let mut now = 0;
    for _ in 0..rounds {
        let mut votes = BTreeSet::from([origin]);
        let mut net = network(matrix);
        for x in (0..matrix.len()).filter(|&x| x != origin) {
            net.send(now, origin, x, Message::Accept);
        }
        if votes.len() < quorum {
            now = net.run(|net, now, at, message| {
                if let Message::Accepted { by } = message {
                    votes.insert(by);
                } else {
                    net.send(now, at, origin, Message::Accepted { by: at });
                }
                (votes.len() >= quorum).then_some(now)
            })?;
        }
    }
    Some(now)
}

/// Symmetric tables of so many sites, triangle inequality violated more often than not.
fn matrices(sites: RangeInclusive<usize>) -> impl Strategy<Value = Matrix> {
    sites.prop_flat_map(|n| {
        prop::collection::vec(1u64..100_000, n * n).prop_map(move |cells| {
            let rtt = |a: usize, b: usize| match a.cmp(&b) {
                std::cmp::Ordering::Equal => 0,
                std::cmp::Ordering::Less => 2 * cells[a * n + b],
                std::cmp::Ordering::Greater => 2 * cells[b * n + a],
            };
            let rows: Vec<Vec<u64>> = (0..n).map(|a| (0..n).map(|b| rtt(a, b)).collect()).collect();
            Matrix::new((0..n).map(|i| format!("s{i}")).collect(), &rows).expect("a sound table")
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 300,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn every_formula_agrees_with_the_messages(m in matrices(1..=7)) {
        for origin in 0..m.len() {
            for quorum in 1..=m.len() {
                prop_assert_eq!(direct_path(&m, origin, quorum), ask_all(&m, origin, quorum, 1));
                prop_assert_eq!(epaxos_slow(&m, origin, quorum), ask_all(&m, origin, quorum, 2));
                // Alone the leader has decided when it has the command: nothing to simulate.
                if m.len() == 1 {
                    continue;
                }
                for leader in 0..m.len() {
                    prop_assert_eq!(
                        multipaxos_origin_learns(&m, leader, origin, quorum),
                        multipaxos(&m, leader, origin, quorum, true),
                        "leader {} origin {} quorum {}", leader, origin, quorum
                    );
                    prop_assert_eq!(
                        multipaxos_leader_tells(&m, leader, origin, quorum),
                        multipaxos(&m, leader, origin, quorum, false),
                        "naive: leader {} origin {} quorum {}", leader, origin, quorum
                    );
                }
            }
        }
    }

    /// The special form for three sites, as the design states it.
    #[test]
    fn three_sites_have_the_short_form(m in matrices(3..=3)) {
        for leader in 0..3 {
            for origin in (0..3).filter(|&o| o != leader) {
                let third = 3 - leader - origin;
                let around = m.rtt_us(origin, leader) + m.rtt_us(leader, third)
                    + m.rtt_us(third, origin);
                let short = m.rtt_us(origin, leader).min(around / 2);
                prop_assert_eq!(multipaxos_origin_learns(&m, leader, origin, 2), Some(short));
            }
        }
    }
}
