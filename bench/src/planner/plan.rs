//! All ways to run a group in a set of cities, ranked, and what to take for which workload.

use panchayat::topology::prospect::{Demand, Prospect, Way, prospects};
use panchayat::topology::{Matrix, NotFound};
use panchayat::{
    AdaptiveChoice, FastPaxosChoice, Leader, Learning, MultiPaxosChoice, ProtocolChoice,
    ProtocolError, Topology,
};
use serde::Serialize;
use thiserror::Error;

use super::contention::Contention;
use super::forecast::Forecast;
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
    /// Fast Paxos', with the collisions that are to be expected.
    pub fastpaxos_ms: f64,
    /// The protocol.
    pub protocol: String,
    /// Who leads, if it is led.
    pub leader: Option<String>,
    /// Why.
    pub reason: String,
    /// What a group set to `adaptive` would do, begun with EPaxos.
    pub adaptive: String,
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
            let demand = Demand::commands(vec![rate_per_s / n as f64; n], contention.share);
            // What the members of an adaptive group would come to if they measured this.
            let ways = prospects(&matrix, AdaptiveChoice::default().sizes(n)?, &demand);
            recommendations.push(recommend(*kind, contention, &matrix, &ways));
        }
        Ok(Self { recommendations, ..plan })
    }
}

/// What to take for a workload, of the `ways` there are.
fn recommend(
    kind: Kind,
    contention: Contention,
    matrix: &Matrix,
    ways: &[Prospect],
) -> Recommendation {
    let best = |is: fn(&Way) -> bool| ways.iter().find(|prospect| is(&prospect.way));
    let ms = |found: Option<&Prospect>| found.map_or(f64::INFINITY, |best| best.mean_us / 1e3);
    let epaxos = best(|way| *way == Way::EPaxos);
    let multipaxos = best(|way| matches!(way, Way::MultiPaxos { .. }));
    let fastpaxos = best(|way| matches!(way, Way::FastPaxos { .. }));
    let (epaxos_ms, multipaxos_ms, fastpaxos_ms) = (ms(epaxos), ms(multipaxos), ms(fastpaxos));
    let slow_share = epaxos.map_or(1.0, |epaxos| epaxos.slow_share);
    let leader = multipaxos.and_then(|best| best.way.named(matrix).leader).map(str::to_owned);
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
        true => {
            format!("; Fast Paxos needs {fastpaxos_ms:.1} ms, for its larger quorum and collisions")
        }
        false => String::new(),
    };
    let gain = AdaptiveChoice::GAIN_PERCENT;
    let adaptive = match ways.first() {
        Some(best) if best.mean_us / 1e3 <= epaxos_ms * (1.0 - f64::from(gain) / 100.0) => {
            let (to, ms) = (best.way.named(matrix), best.mean_us / 1e3);
            format!("moves to {to}: {ms:.1} ms, more than {gain} % less than EPaxos")
        }
        _ => format!("stays with EPaxos: nothing promises {gain} % less"),
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
        adaptive,
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
