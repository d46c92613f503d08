//! One way to run a group, and what every city sees of it: closed forms, nothing else going on.

use panchayat::topology::leader::{Learning, rank_leaders};
use panchayat::topology::{Matrix, latency};
use panchayat::{FastPaxosChoice, MultiPaxosChoice, ProtocolChoice, ProtocolError, Quorums};
use serde::Serialize;

/// A protocol among some of the cities, led from one of them if it is led.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Forecast {
    /// The protocol's name.
    pub protocol: String,
    /// Who leads or coordinates.
    pub leader: Option<String>,
    /// The cities with replicas.
    pub members: Vec<String>,
    /// Commit latency of a client in each city of the set, members or not; a client elsewhere asks
    /// the replica that answers soonest.
    pub commit_ms: Vec<f64>,
    /// Their mean.
    pub mean_ms: f64,
    /// The largest.
    pub worst_ms: f64,
    /// The same with each member down in turn, once the others have noticed.
    pub down: Vec<Down>,
}

/// What is left when a city's replica is down.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Down {
    /// The city.
    pub city: String,
    /// Commit latency in each city of the set; `None` if nothing can be decided.
    pub commit_ms: Option<Vec<f64>>,
    /// Their mean.
    pub mean_ms: Option<f64>,
    /// What changes, in words.
    pub note: String,
}

/// The replicas that are left of a group, by their seats in the whole set.
#[derive(Clone, Debug)]
struct Group<'a> {
    set: &'a Matrix,
    seats: Vec<usize>,
}

impl Group<'_> {
    fn matrix(&self) -> Matrix {
        let gone = (0..self.set.len()).rev().filter(|seat| !self.seats.contains(seat));
        gone.fold(self.set.clone(), |matrix, seat| matrix.without(seat))
    }

    /// What clients everywhere see, given what replicas' own clients see, in microseconds.
    fn everywhere(&self, own_us: &[u64]) -> Vec<f64> {
        let nearest = |city: usize| {
            let ways = self.seats.iter().zip(own_us);
            ways.map(|(seat, own_us)| self.set.rtt_us(city, *seat) + own_us).min().unwrap_or(0)
        };
        let own = |city: usize| self.seats.iter().position(|seat| *seat == city);
        (0..self.set.len())
            // Who has a replica at home asks it, though another might answer sooner.
            .map(|city| own(city).map_or_else(|| nearest(city), |at| own_us[at]))
            .map(|us| us as f64 / 1e3)
            .collect()
    }
}

impl Forecast {
    /// What `protocol` among the cities `seats` of `set` does.
    ///
    /// # Errors
    /// [`ProtocolError`] if it does not fit as many replicas.
    pub fn new(
        set: &Matrix,
        seats: &[usize],
        protocol: &ProtocolChoice,
    ) -> Result<Self, ProtocolError> {
        let group = Group { set, seats: seats.to_vec() };
        let matrix = group.matrix();
        let own = (0..matrix.len()).map(|seat| protocol.commit_us(&matrix, seat));
        let own = own.collect::<Result<Vec<u64>, _>>()?;
        let leader = protocol.leader(&matrix)?.map(|seat| seat.index());
        let down = (0..matrix.len()).map(|dead| down(&group, dead, protocol, leader));
        let commit_ms = group.everywhere(&own);
        Ok(Self {
            protocol: match protocol {
                ProtocolChoice::MultiPaxos(choice)
                    if choice.learning == panchayat::Learning::Leader =>
                {
                    "multipaxos, naive".to_owned()
                }
                other => other.name().to_owned(),
            },
            leader: leader.map(|seat| matrix.sites()[seat].clone()),
            members: matrix.sites().to_vec(),
            mean_ms: mean(&commit_ms),
            worst_ms: commit_ms.iter().copied().fold(0.0, f64::max),
            commit_ms,
            down: down.collect::<Result<_, _>>()?,
        })
    }

    /// The mean over the cities, averaged over which member is down; `None` if some loss stops
    /// everything.
    pub fn mean_with_one_down_ms(&self) -> Option<f64> {
        let means = self.down.iter().map(|down| down.mean_ms).collect::<Option<Vec<f64>>>()?;
        Some(mean(&means))
    }
}

pub(super) fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

/// What `group` does without its member `dead`, that was led from `leader`: quorums stay as large
/// as they were.
fn down(
    group: &Group<'_>,
    dead: usize,
    protocol: &ProtocolChoice,
    leader: Option<usize>,
) -> Result<Down, ProtocolError> {
    let whole = group.matrix();
    let mut seats = group.seats.clone();
    seats.remove(dead);
    let left = Group { set: group.set, seats };
    let matrix = left.matrix();
    let quorums = Quorums::for_replicas(whole.len())?;
    let all = |form: &dyn Fn(usize) -> Option<u64>| -> Option<Vec<u64>> {
        (0..matrix.len()).map(form).collect()
    };
    let (own, note) = match protocol {
        ProtocolChoice::MultiPaxos(choice) => led(&matrix, choice, (whole.len(), dead, leader)),
        ProtocolChoice::FastPaxos(choice) => {
            let (fast, classic) = fast_sizes(choice, whole.len());
            match all(&|origin| latency::fast_paxos(&matrix, origin, fast)) {
                Some(own) => (Some(own), "fast rounds go on; at best".to_owned()),
                None => {
                    let choice = MultiPaxosChoice {
                        leader: choice.coordinator.clone(),
                        quorums: Some((whole.len() + 1 - classic, classic)),
                        ..MultiPaxosChoice::default()
                    };
                    let (own, note) = led(&matrix, &choice, (whole.len(), dead, leader));
                    (own, format!("{fast} votes are out of reach: classic rounds, {note}"))
                }
            }
        }
        _ => {
            let fast = all(&|origin| latency::epaxos_fast(&matrix, origin, quorums.fast()));
            let slow = || all(&|origin| latency::epaxos_slow(&matrix, origin, quorums.slow()));
            match fast {
                Some(own) => (Some(own), "the others go on at once".to_owned()),
                None => (slow(), "two rounds for every command".to_owned()),
            }
        }
    };
    let commit_ms = own.map(|own| left.everywhere(&own));
    let mean_ms = commit_ms.as_deref().map(mean);
    let note = if commit_ms.is_some() { note } else { "nothing can be decided".to_owned() };
    Ok(Down { city: whole.sites()[dead].clone(), commit_ms, mean_ms, note })
}

/// The quorums of fast and of classic rounds.
fn fast_sizes(choice: &FastPaxosChoice, n: usize) -> (usize, usize) {
    let (_, fast, classic) = choice.quorums.unwrap_or((n / 2 + 1, (3 * n).div_ceil(4), n / 2 + 1));
    (fast, classic)
}

/// A closed form, of the round trips, the leader, the origin and the quorum.
type Form = fn(&Matrix, usize, usize, usize) -> Option<u64>;

/// Under a leader, the next best one if the leader is the dead.
fn led(
    matrix: &Matrix,
    choice: &MultiPaxosChoice,
    (n, dead, leader): (usize, usize, Option<usize>),
) -> (Option<Vec<u64>>, String) {
    let accept = choice.quorums.map_or(n / 2 + 1, |(_, accept)| accept);
    let (form, learning): (Form, _) = match choice.learning {
        panchayat::Learning::Origin => (latency::multipaxos_origin_learns, Learning::OriginLearns),
        panchayat::Learning::Leader => (latency::multipaxos_leader_tells, Learning::LeaderTells),
    };
    let moved = leader == Some(dead);
    let leads = match leader {
        Some(leader) if !moved => Some(leader - usize::from(leader > dead)),
        _ => rank_leaders(matrix, accept, learning, &vec![1; matrix.len()])
            .and_then(|ranked| Some(ranked.first()?.leader)),
    };
    let Some(leads) = leads else { return (None, String::new()) };
    let own = (0..matrix.len()).map(|origin| form(matrix, leads, origin, accept)).collect();
    let city = &matrix.sites()[leads];
    let note = match moved {
        true => format!("silence until another leads; forecast for {city}, the best left"),
        false => format!("{city} still leads"),
    };
    (own, note)
}
