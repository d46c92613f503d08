//! What each way to order commands would cost now: who is alive, where clients are, how much conflicts.
//!
//! One function of measured or assumed numbers, so that a planner and a group that moves by itself cannot
//! come to different ends.

use std::fmt;

use crate::contention::{epaxos_loaded, fast_paxos_loaded};
use crate::latency::{multipaxos_leader_tells, multipaxos_origin_learns};
use crate::leader::Learning;
use crate::matrix::Matrix;

/// Below this many commands a second in all, nobody's latency says where the clients are: every site counts
/// alike.
const RATE_MIN_PER_S: f64 = 1e-3;

/// What is asked of a group.
#[derive(Clone, Debug, PartialEq)]
pub struct Demand {
    /// Commands a second from the clients of each site.
    pub rates_per_s: Vec<f64>,
    /// Linearizable queries of several keys, which EPaxos and Fast Paxos order like commands.
    pub wide_reads_per_s: Vec<f64>,
    /// Linearizable queries of one key, which only Fast Paxos orders.
    pub reads_per_s: Vec<f64>,
    /// The share of pairs of a command or a wide read and a command that must be ordered, 0 to 1.
    pub conflict_share: f64,
    /// The share of commands that collide under Fast Paxos, where it was measured.
    pub collisions: Option<f64>,
    /// Which sites' replicas answer.
    pub alive: Vec<bool>,
}

/// The sizes of quorums, those of the whole group whoever is alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Of EPaxos' fast path.
    pub epaxos_fast: usize,
    /// Of its slow path.
    pub epaxos_slow: usize,
    /// Of Multi-Paxos, if the group can run it.
    pub led: Option<Led>,
    /// Of Fast Paxos' classic rounds.
    pub classic: usize,
    /// Of Fast Paxos' fast rounds.
    pub fast_paxos: usize,
}

/// How Multi-Paxos is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Led {
    /// How many must promise to follow a new leader.
    pub promise: usize,
    /// How many must accept a command.
    pub accept: usize,
    /// Who counts the votes.
    pub learning: Learning,
}

/// A way to order commands. Sites are indices into the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// EPaxos*.
    EPaxos,
    /// Multi-Paxos, led from this site.
    MultiPaxos {
        /// The site.
        leader: usize,
    },
    /// Fast Paxos, with its coordinator at this site.
    FastPaxos {
        /// The site.
        coordinator: usize,
    },
}

impl Demand {
    /// So many commands a second from each site, of which so many conflict; everybody is alive.
    pub fn commands(rates_per_s: Vec<f64>, conflict_share: f64) -> Self {
        let n = rates_per_s.len();
        Self {
            rates_per_s,
            wide_reads_per_s: vec![0.0; n],
            reads_per_s: vec![0.0; n],
            conflict_share,
            collisions: None,
            alive: vec![true; n],
        }
    }
}

/// What a way would cost.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Prospect {
    /// The way.
    pub way: Way,
    /// Mean time to an answer over all commands, in microseconds.
    pub mean_us: f64,
    /// The share of commands that take a second round.
    pub slow_share: f64,
}

/// Every way that can decide anything with who is alive, the best first; of equals the one without a
/// leader, then the earlier site. Empty if the numbers do not fit the table, or too few are alive.
pub fn prospects(matrix: &Matrix, sizes: Sizes, demand: &Demand) -> Vec<Prospect> {
    let n = matrix.len();
    let rates = [&demand.rates_per_s, &demand.wide_reads_per_s, &demand.reads_per_s];
    if rates.iter().any(|rates| rates.len() != n) || demand.alive.len() != n {
        return Vec::new();
    }
    let sites: Vec<usize> = (0..n).filter(|site| demand.alive[*site]).collect();
    if sites.is_empty() {
        return Vec::new();
    }
    let left = (0..n).rev().filter(|site| !demand.alive[*site]);
    let matrix = left.fold(matrix.clone(), |matrix, dead| matrix.without(dead));
    // Of commands, and of all that clients wait for.
    let [commands, all] = [1, 3].map(|kinds| {
        let sum = |site: &usize| rates[..kinds].iter().map(|rates| rates[*site].max(0.0)).sum();
        let rates: Vec<f64> = sites.iter().map(sum).collect();
        let enough = rates.iter().sum::<f64>() >= RATE_MIN_PER_S;
        if enough { rates } else { vec![RATE_MIN_PER_S; sites.len()] }
    });
    let among = Among { matrix: &matrix, sizes, commands, all, demand };
    let ways = std::iter::once(Way::EPaxos)
        .chain((0..sites.len()).map(|leader| Way::MultiPaxos { leader }))
        .chain((0..sites.len()).map(|coordinator| Way::FastPaxos { coordinator }));
    let named = |way| match way {
        Way::EPaxos => Way::EPaxos,
        Way::MultiPaxos { leader } => Way::MultiPaxos { leader: sites[leader] },
        Way::FastPaxos { coordinator } => Way::FastPaxos { coordinator: sites[coordinator] },
    };
    let mut prospects: Vec<Prospect> = ways
        .filter_map(|way| {
            let (mean_us, slow_share) = among.mean(way)?;
            Some(Prospect { way: named(way), mean_us, slow_share })
        })
        .collect();
    prospects.sort_by(|a, b| a.mean_us.total_cmp(&b.mean_us));
    prospects
}

/// The sites that are alive.
struct Among<'a> {
    matrix: &'a Matrix,
    sizes: Sizes,
    /// How many commands a second others of each site may meet.
    commands: Vec<f64>,
    /// How many answers a second count in a mean. Under Fast Paxos all of them race for a place.
    all: Vec<f64>,
    demand: &'a Demand,
}

impl Among<'_> {
    /// Means over all commands: of the time to an answer, and of second rounds.
    fn mean(&self, way: Way) -> Option<(f64, f64)> {
        let at = (0..self.matrix.len()).map(|origin| self.at(way, origin));
        let at: Vec<(f64, f64)> = at.collect::<Option<_>>()?;
        let total: f64 = self.all.iter().sum();
        let mean = |of: fn(&(f64, f64)) -> f64| {
            at.iter().zip(&self.all).map(|(at, rate)| of(at) * rate).sum::<f64>() / total
        };
        Some((mean(|at| at.0), mean(|at| at.1)))
    }

    fn at(&self, way: Way, origin: usize) -> Option<(f64, f64)> {
        let Self { matrix, sizes, ref commands, ref all, demand, .. } = *self;
        let loaded = match way {
            Way::MultiPaxos { leader } => {
                let Led { promise, accept, learning } = sizes.led?;
                let formula = match learning {
                    Learning::OriginLearns => multipaxos_origin_learns,
                    Learning::LeaderTells => multipaxos_leader_tells,
                };
                // Whoever is dead neither votes nor helps a leader into office.
                let can = matrix.len() >= promise.max(accept);
                let us = can.then(|| formula(matrix, leader, origin, accept)).flatten()?;
                return Some((us as f64, 0.0));
            }
            Way::EPaxos => {
                let quorums = (sizes.epaxos_fast, sizes.epaxos_slow);
                epaxos_loaded(matrix, origin, quorums, commands, demand.conflict_share)?
            }
            Way::FastPaxos { coordinator } => {
                let quorums = (sizes.fast_paxos, sizes.classic);
                let collisions = demand.collisions;
                fast_paxos_loaded(matrix, origin, quorums, coordinator, all, collisions)?
            }
        };
        Some((loaded.execute_us, loaded.slow_share))
    }
}

impl Way {
    /// Its name and its leader's, among the sites of `matrix`.
    pub fn named<'a>(&self, matrix: &'a Matrix) -> Named<'a> {
        let (protocol, leader) = match *self {
            Self::EPaxos => ("epaxos", None),
            Self::MultiPaxos { leader } => ("multipaxos", Some(leader)),
            Self::FastPaxos { coordinator } => ("fastpaxos", Some(coordinator)),
        };
        Named { protocol, leader: leader.map(|site| &*matrix.sites()[site]) }
    }
}

/// A way, in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Named<'a> {
    /// The protocol's name.
    pub protocol: &'static str,
    /// Who leads or coordinates.
    pub leader: Option<&'a str>,
}

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.protocol)?;
        match self.leader {
            Some(leader) => write!(f, " led from {leader}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Topology;
    use crate::leader::best_leader;

    const LED: Led = Led { promise: 2, accept: 2, learning: Learning::OriginLearns };
    const OF_THREE: Sizes =
        Sizes { epaxos_fast: 2, epaxos_slow: 2, led: Some(LED), classic: 2, fast_paxos: 3 };

    fn india() -> Matrix {
        Topology::builtin().matrix("india3").unwrap()
    }

    fn demand(rates_per_s: [f64; 3], conflict_share: f64) -> Demand {
        Demand::commands(rates_per_s.to_vec(), conflict_share)
    }

    fn best(demand: &Demand) -> String {
        let matrix = india();
        prospects(&matrix, OF_THREE, demand)[0].way.named(&matrix).to_string()
    }

    #[test]
    fn what_is_asked_decides() {
        assert_eq!(best(&demand([100.0; 3], 0.0)), "epaxos");
        assert_eq!(best(&demand([0.0; 3], 0.0)), "epaxos", "nobody is there");
        assert!(best(&demand([100.0; 3], 1.0)).starts_with("multipaxos led from"));
        for city in 0..3 {
            let mut rates = [0.0; 3];
            rates[city] = 200.0;
            assert_eq!(best(&demand(rates, 1.0)), "epaxos", "nobody conflicts with oneself");
            rates[(city + 1) % 3] = 20.0;
            let weights = rates.map(|rate| rate as u32);
            let leader = best_leader(&india(), 2, Learning::OriginLearns, &weights).unwrap().leader;
            let expected = Way::MultiPaxos { leader }.named(&india()).to_string();
            assert_eq!(best(&demand(rates, 1.0)), expected, "where most clients are");
        }
    }

    #[test]
    fn the_dead_neither_vote_nor_lead() {
        let alive = vec![true, true, false];
        let ways = prospects(&india(), OF_THREE, &Demand { alive, ..demand([50.0; 3], 1.0) });
        assert!(!ways.is_empty());
        for prospect in &ways {
            assert_ne!(prospect.way, Way::MultiPaxos { leader: 2 });
            assert!(!matches!(prospect.way, Way::FastPaxos { .. }), "it needs all three");
        }
        for alive in [[true, false, false], [false; 3]] {
            let nobody = Demand { alive: alive.to_vec(), ..demand([50.0; 3], 1.0) };
            assert_eq!(prospects(&india(), OF_THREE, &nobody), []);
        }
        let other = Demand { alive: vec![true; 2], ..demand([50.0; 3], 1.0) };
        assert_eq!(prospects(&india(), OF_THREE, &other), [], "it is of another table");
    }

    #[test]
    fn a_leader_whose_quorums_need_the_dead_is_no_way() {
        let alive = vec![true, true, false];
        let demand = Demand { alive, ..demand([50.0; 3], 1.0) };
        let led = |promise, accept| {
            let sizes = Sizes { led: Some(Led { promise, accept, ..LED }), ..OF_THREE };
            let ways = prospects(&india(), sizes, &demand);
            ways.iter().any(|prospect| matches!(prospect.way, Way::MultiPaxos { .. }))
        };
        assert!(led(2, 2));
        assert!(!led(3, 1) && !led(1, 3));
    }

    #[test]
    fn waiting_for_the_leaders_word_costs_more() {
        let of = |learning| {
            let sizes = Sizes { led: Some(Led { learning, ..LED }), ..OF_THREE };
            let ways = prospects(&india(), sizes, &demand([50.0; 3], 1.0));
            let led = ways.iter().find(|way| matches!(way.way, Way::MultiPaxos { .. }));
            led.unwrap().mean_us
        };
        assert!(of(Learning::LeaderTells) > of(Learning::OriginLearns));
    }

    #[test]
    fn measured_collisions_count_more_than_expected_ones() {
        let of = |collisions| {
            let demand = Demand { collisions, ..demand([100.0; 3], 0.0) };
            let ways = prospects(&india(), OF_THREE, &demand);
            let fast = ways.iter().filter(|way| matches!(way.way, Way::FastPaxos { .. }));
            fast.map(|way| way.mean_us).fold(f64::INFINITY, f64::min)
        };
        assert!(of(Some(0.0)) < of(None) && of(None) < of(Some(1.0)) + 1.0);
    }

    #[test]
    fn queries_of_one_key_race_under_fast_paxos_alone() {
        let quiet = demand([1.0; 3], 1.0);
        let asked = Demand { reads_per_s: vec![200.0; 3], ..quiet.clone() };
        let mean = |demand: &Demand, is: fn(&Way) -> bool| {
            let ways = prospects(&india(), OF_THREE, demand);
            ways.iter().find(|way| is(&way.way)).unwrap().mean_us
        };
        let fast: fn(&Way) -> bool = |way| matches!(way, Way::FastPaxos { .. });
        assert!(mean(&asked, fast) > mean(&quiet, fast) * 1.1);
        let others: [fn(&Way) -> bool; 2] =
            [|way| *way == Way::EPaxos, |way| matches!(way, Way::MultiPaxos { .. })];
        for other in others {
            assert!((mean(&asked, other) - mean(&quiet, other)).abs() < 1.0);
        }
        let nowhere = Demand { reads_per_s: Vec::new(), ..quiet };
        assert_eq!(prospects(&india(), OF_THREE, &nowhere), []);
    }
}
