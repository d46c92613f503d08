//! All ways to run a group in a set of cities, ranked, and what to take for which workload.

use panchayat::topology::NotFound;
use panchayat::{
    FastPaxosChoice, Leader, Learning, MultiPaxosChoice, ProtocolChoice, ProtocolError, Quorums,
    Topology,
};
use serde::Serialize;
use thiserror::Error;

use super::contention::Contention;
use super::forecast::{Forecast, mean};
use crate::workload::{Kind, Workload, WorkloadError};

/// Most cities whose choices of replicas are all looked at: 2^n of them.
const CITIES_MAX: usize = 9;
/// Below this share two means count as equal.
const EQUAL: f64 = 0.02;

/// A plan for a set of cities.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    /// The set.
    pub set: String,
    /// Its cities: where clients are, and where replicas may be.
    pub cities: Vec<String>,
    /// Every protocol and leader with replicas in all cities, the smallest mean first.
    pub all_cities: Vec<Forecast>,
    /// The best of each choice of fewer replicas, the smallest mean first.
    pub subsets: Vec<Forecast>,
    /// What to take.
    pub recommendations: Vec<Recommendation>,
    /// The load that recommendations assume, in commands a second over all cities.
    pub rate_per_s: f64,
}

/// What to take for a workload.
#[derive(Clone, Debug, Serialize)]
pub struct Recommendation {
    /// The workload.
    pub workload: String,
    /// Share of pairs of its commands that conflict.
    pub conflict_share: f64,
    /// EPaxos' predicted mean time to an answer, over all cities.
    pub epaxos_ms: f64,
    /// Share of EPaxos' commands that take a second round.
    pub epaxos_slow_share: f64,
    /// Multi-Paxos', led from the best city.
    pub multipaxos_ms: f64,
    /// Fast Paxos' without collisions.
    pub fastpaxos_ms: f64,
    /// The protocol.
    pub protocol: String,
    /// Who leads, if it is led.
    pub leader: Option<String>,
    /// Why.
    pub reason: String,
}

/// Why there is no plan.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PlanError {
    /// The topology has no such set.
    #[error(transparent)]
    NotFound(#[from] NotFound),
    /// A protocol does not fit the set.
    #[error(transparent)]
    Protocol(#[from] ProtocolError),
    /// The workload makes no sense.
    #[error(transparent)]
    Workload(#[from] WorkloadError),
    /// Too many cities to look at every choice.
    #[error("{0} cities: a plan looks at every choice of replicas among at most {CITIES_MAX}")]
    TooMany(usize),
}

impl Plan {
    /// A plan for `set`, recommending for each of `kinds` under `rate_per_s` commands a second over
    /// all cities.
    ///
    /// # Errors
    /// [`PlanError`].
    pub fn new(
        topology: &Topology,
        set: &str,
        kinds: &[Kind],
        rate_per_s: f64,
    ) -> Result<Self, PlanError> {
        let matrix = topology.matrix(set)?;
        let n = matrix.len();
        if n > CITIES_MAX {
            return Err(PlanError::TooMany(n));
        }
        let everywhere: Vec<usize> = (0..n).collect();
        let mut all_cities = Vec::new();
        for protocol in choices(matrix.sites()) {
            all_cities.push(Forecast::new(&matrix, &everywhere, &protocol)?);
        }
        sort(&mut all_cities);
        let mut subsets = Vec::new();
        for bits in 1u32..1 << n {
            let seats: Vec<usize> = (0..n).filter(|seat| bits >> seat & 1 == 1).collect();
            if seats.len() < 3 || seats.len() == n {
                continue;
            }
            let names: Vec<String> =
                seats.iter().map(|seat| matrix.sites()[*seat].clone()).collect();
            let mut own = Vec::new();
            for protocol in choices(&names) {
                own.push(Forecast::new(&matrix, &seats, &protocol)?);
            }
            sort(&mut own);
            subsets.extend(own.into_iter().next());
        }
        sort(&mut subsets);
        let plan = Self {
            set: set.to_owned(),
            cities: matrix.sites().to_vec(),
            all_cities,
            subsets,
            recommendations: Vec::new(),
            rate_per_s,
        };
        let mut recommendations = Vec::with_capacity(kinds.len());
        for kind in kinds {
            let contention = Contention::of(&Workload::of(*kind, &kind.shape(), 1)?);
            let fast = Quorums::for_replicas(n).map_err(ProtocolError::from)?.fast();
            let rate = rate_per_s / n as f64;
            let loaded = (0..n).filter_map(|city| contention.epaxos(&matrix, city, fast, rate));
            let loaded: Vec<_> = loaded.collect();
            let execute = mean(&loaded.iter().map(|city| city.execute_ms).collect::<Vec<_>>());
            let slow = mean(&loaded.iter().map(|city| city.slow_share).collect::<Vec<_>>());
            recommendations.push(plan.recommend(*kind, contention, execute, slow));
        }
        Ok(Self { recommendations, ..plan })
    }

    fn best(&self, protocol: &str) -> Option<&Forecast> {
        self.all_cities.iter().find(|forecast| forecast.protocol == protocol)
    }

    fn recommend(
        &self,
        kind: Kind,
        contention: Contention,
        epaxos_ms: f64,
        slow_share: f64,
    ) -> Recommendation {
        let of = |protocol| self.best(protocol).map_or(f64::INFINITY, |best| best.mean_ms);
        let (multipaxos_ms, fastpaxos_ms) = (of("multipaxos"), of("fastpaxos"));
        let leader = self.best("multipaxos").and_then(|best| best.leader.clone());
        let city = leader.as_deref().unwrap_or("the best city");
        let share = contention.share * 100.0;
        let led = epaxos_ms > multipaxos_ms * (1.0 + EQUAL);
        let reason = if led {
            format!(
                "of two commands {share:.2} % conflict, so {:.0} % of EPaxos' take a second round and \
                 others wait for them: {epaxos_ms:.1} ms on average against {multipaxos_ms:.1} in one \
                 line led from {city}",
                slow_share * 100.0
            )
        } else if multipaxos_ms > epaxos_ms * (1.0 + EQUAL) {
            format!(
                "of two commands only {share:.2} % conflict, so nearly all are decided by the nearest \
                 majority: {epaxos_ms:.1} ms on average against {multipaxos_ms:.1} by way of {city}"
            )
        } else {
            format!(
                "both take about {epaxos_ms:.1} ms on average ({share:.2} % of pairs conflict), and \
                 without a leader there is none to lose: under Multi-Paxos the loss of {city} means \
                 silence until another leads"
            )
        };
        let fast = match fastpaxos_ms > epaxos_ms {
            true => format!(
                "; Fast Paxos needs {fastpaxos_ms:.1} ms even without collisions, for its larger quorum"
            ),
            false => String::new(),
        };
        Recommendation {
            workload: kind.to_string(),
            conflict_share: contention.share,
            epaxos_ms,
            epaxos_slow_share: slow_share,
            multipaxos_ms,
            fastpaxos_ms,
            protocol: if led { "multipaxos" } else { "epaxos" }.to_owned(),
            leader: leader.filter(|_| led),
            reason: reason + &fast,
        }
    }
}

fn sort(forecasts: &mut [Forecast]) {
    forecasts.sort_by(|a, b| a.mean_ms.total_cmp(&b.mean_ms));
}

/// Every protocol, led from each of `cities` where it is led.
fn choices(cities: &[String]) -> Vec<ProtocolChoice> {
    let mut choices = vec![
        ProtocolChoice::EPaxos,
        // Its coordinator matters in classic rounds only; the best one is taken.
        ProtocolChoice::FastPaxos(FastPaxosChoice::default()),
    ];
    for learning in [Learning::Origin, Learning::Leader] {
        choices.extend(cities.iter().map(|city| {
            let leader = Leader::At(city.clone());
            ProtocolChoice::MultiPaxos(MultiPaxosChoice {
                leader,
                learning,
                ..MultiPaxosChoice::default()
            })
        }));
    }
    choices
}
