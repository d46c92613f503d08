//! An experiment as data: who competes, where, under which load, and what is varied.

use std::fmt;
use std::time::Duration;

use panchayat::{
    Durability, FastPaxosChoice, Leader, Learning, MultiPaxosChoice, ProtocolChoice, Topology,
};
use serde::Serialize;

use super::ExperimentError;
use crate::load::LoadModel;
use crate::workload::{Kind, Shape};

/// Most points of one experiment: protocols × lanes × values × repetitions.
pub const POINTS_MAX: usize = 2_000;

/// An experiment.
#[derive(Clone, Debug, PartialEq)]
pub struct Experiment {
    /// Its name: of the file it came from, or of a shipped one.
    pub name: String,
    /// What a report is headed with.
    pub title: String,
    /// What it is to find out.
    pub question: String,
    /// The cities.
    pub set: String,
    /// The weather between them.
    pub profile: String,
    /// Who competes.
    pub contenders: Vec<Contender>,
    /// What frames travel in; each contender runs over each.
    pub lanes: Vec<Carrier>,
    /// What clients send.
    pub kind: Kind,
    /// How large and how skewed it is.
    pub shape: Shape,
    /// How commands come.
    pub load: LoadModel,
    /// What "durable" means.
    pub durability: Durability,
    /// Measured time.
    pub duration: Duration,
    /// Time before it.
    pub warm_up: Duration,
    /// How often every point is run, each time with a seed of its own.
    pub repetitions: u32,
    /// The first seed.
    pub seed: u64,
    /// What is varied.
    pub sweep: Option<Sweep>,
    /// What goes wrong on purpose, such as `kill delhi@4s..8s`.
    pub faults: Vec<String>,
}

/// A protocol as it competes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contender {
    /// What plots call it.
    pub label: String,
    /// Which.
    pub protocol: ProtocolKind,
    /// The city that leads or coordinates; `None` for the best.
    pub leader: Option<String>,
    /// Whether origins wait for the leader's word (Multi-Paxos only).
    pub naive: bool,
}

/// A protocol, without its choices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProtocolKind {
    /// EPaxos*.
    EPaxos,
    /// Multi-Paxos.
    MultiPaxos,
    /// Fast Paxos.
    FastPaxos,
    /// One of them, chosen anew by what is measured.
    Adaptive,
}

/// What carries frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Carrier {
    /// QUIC streams: what Panchayat uses unless told otherwise.
    Streams,
    /// QUIC datagrams for frames that fit one.
    Datagrams,
}

/// What is varied.
#[derive(Clone, Debug, PartialEq)]
pub struct Sweep {
    /// What.
    pub axis: Axis,
    /// Over which values.
    pub values: Vec<Setpoint>,
}

/// What can be varied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Axis {
    /// Share of commands on one common key, in percent.
    Conflict,
    /// The exponent of Zipf's law.
    Zipf,
    /// Commands a second over all cities, in an open loop.
    Rate,
    /// Bytes of payload.
    Payload,
    /// Clients in each city, in a closed loop.
    Clients,
    /// Packets lost, in percent, each on its own.
    Loss,
    /// The city that leads.
    Leader,
    /// What "durable" means.
    Durability,
    /// The weather.
    Profile,
    /// The cities.
    Set,
}

/// One value of an axis.
#[derive(Clone, Debug, PartialEq)]
pub enum Setpoint {
    /// A quantity.
    Number(f64),
    /// A name.
    Name(String),
}

/// One run of an experiment.
#[derive(Clone, Debug)]
pub struct Point {
    /// Sites, distances and weather, as varied.
    pub topology: Topology,
    /// The cities.
    pub set: String,
    /// The weather.
    pub profile: String,
    /// What plots call the line it is on.
    pub series: String,
    /// The protocol.
    pub protocol: ProtocolChoice,
    /// What carries frames.
    pub lane: Carrier,
    /// What clients send.
    pub kind: Kind,
    /// How large and how skewed it is.
    pub shape: Shape,
    /// How commands come.
    pub load: LoadModel,
    /// What "durable" means.
    pub durability: Durability,
    /// Where on the axis it is.
    pub at: Option<Setpoint>,
    /// Which repetition, from 0.
    pub repetition: u32,
    /// Draws everything that is left to chance.
    pub seed: u64,
}

impl Axis {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Conflict,
        Self::Zipf,
        Self::Rate,
        Self::Payload,
        Self::Clients,
        Self::Loss,
        Self::Leader,
        Self::Durability,
        Self::Profile,
        Self::Set,
    ];

    /// Its name, as it is written in a file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Conflict => "conflict",
            Self::Zipf => "zipf",
            Self::Rate => "rate",
            Self::Payload => "payload",
            Self::Clients => "clients",
            Self::Loss => "loss",
            Self::Leader => "leader",
            Self::Durability => "durability",
            Self::Profile => "profile",
            Self::Set => "set",
        }
    }

    /// What stands under a plot.
    pub fn label(self) -> &'static str {
        match self {
            Self::Conflict => "commands on one common key, %",
            Self::Zipf => "skew of the keys (exponent of Zipf's law)",
            Self::Rate => "commands offered per second, over all cities",
            Self::Payload => "payload, bytes",
            Self::Clients => "clients in each city",
            Self::Loss => "packets lost, %",
            Self::Leader => "leader",
            Self::Durability => "durability",
            Self::Profile => "profile",
            Self::Set => "cities",
        }
    }

    /// The bounds of its numbers; `None` if its values are names.
    pub(super) fn range(self) -> Option<std::ops::RangeInclusive<f64>> {
        match self {
            Self::Conflict => Some(0.0..=100.0),
            Self::Zipf => Some(0.0..=10.0),
            Self::Rate => Some(1.0..=1e6),
            Self::Payload => Some(0.0..=1e6),
            Self::Clients => Some(1.0..=1e4),
            Self::Loss => Some(0.0..=50.0),
            Self::Leader | Self::Durability | Self::Profile | Self::Set => None,
        }
    }
}

impl fmt::Display for Setpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Name(name) => f.write_str(name),
        }
    }
}

impl Setpoint {
    /// Where it stands on an axis of numbers.
    pub fn number(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Name(_) => None,
        }
    }
}

impl Carrier {
    /// Its name, as it is written in a file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Streams => "streams",
            Self::Datagrams => "datagrams",
        }
    }
}

impl ProtocolKind {
    /// Those that stay as they are.
    pub const PLAIN: [Self; 3] = [Self::EPaxos, Self::MultiPaxos, Self::FastPaxos];

    /// All of them.
    pub const ALL: [Self; 4] = [Self::EPaxos, Self::MultiPaxos, Self::FastPaxos, Self::Adaptive];

    /// Its name, as it is written in a file.
    pub fn name(self) -> &'static str {
        match self {
            Self::EPaxos => "epaxos",
            Self::MultiPaxos => "multipaxos",
            Self::FastPaxos => "fastpaxos",
            Self::Adaptive => "adaptive",
        }
    }
}

impl Contender {
    /// The protocol as it is started, led from `leader` unless it names one itself.
    pub fn choice(&self, leader: Option<&str>) -> ProtocolChoice {
        let at = self.leader.as_deref().or(leader);
        let leader = at.map_or(Leader::Auto, |city| Leader::At(city.to_owned()));
        match self.protocol {
            ProtocolKind::EPaxos => ProtocolChoice::EPaxos,
            ProtocolKind::Adaptive => ProtocolChoice::adaptive(),
            ProtocolKind::MultiPaxos => {
                let learning = if self.naive { Learning::Leader } else { Learning::Origin };
                let choice = MultiPaxosChoice { leader, learning, ..MultiPaxosChoice::default() };
                ProtocolChoice::MultiPaxos(choice)
            }
            ProtocolKind::FastPaxos => {
                let choice = FastPaxosChoice { coordinator: leader, ..FastPaxosChoice::default() };
                ProtocolChoice::FastPaxos(choice)
            }
        }
    }
}

impl Experiment {
    /// The same, cut down to see that it works: short, one repetition, at most three values.
    pub fn quick(mut self) -> Self {
        const SHORT: Duration = Duration::from_secs(2);
        // One client needs so long to see every city a few times.
        const VISITS: Duration = Duration::from_secs(12);
        if self.faults.is_empty() {
            let enough = if self.load == LoadModel::Solo { VISITS } else { SHORT };
            self.duration = self.duration.min(enough);
        }
        self.repetitions = 1;
        if let Some(sweep) = &mut self.sweep
            && let [first, .., last] = &sweep.values[..]
            && sweep.values.len() > 3
        {
            let middle = sweep.values[sweep.values.len() / 2].clone();
            sweep.values = vec![first.clone(), middle, last.clone()];
        }
        self
    }

    /// All its runs, over `topology`: by value, then by contender, so that what is compared runs
    /// close together.
    ///
    /// # Errors
    /// [`ExperimentError`] if it fits the topology nowhere, or has too many points.
    pub fn points(&self, topology: &Topology) -> Result<Vec<Point>, ExperimentError> {
        let values: Vec<Option<&Setpoint>> = match &self.sweep {
            Some(sweep) => sweep.values.iter().map(Some).collect(),
            None => vec![None],
        };
        let runs = values.len() * self.contenders.len() * self.lanes.len();
        let count = runs.saturating_mul(self.repetitions as usize);
        if count > POINTS_MAX {
            return Err(ExperimentError::TooMany(count));
        }
        let mut points = Vec::with_capacity(count);
        for at in values {
            for repetition in 0..self.repetitions {
                for contender in &self.contenders {
                    for lane in &self.lanes {
                        let point = self.point(topology, at, contender, *lane, repetition)?;
                        points.push(point);
                    }
                }
            }
        }
        Ok(points)
    }

    fn point(
        &self,
        topology: &Topology,
        at: Option<&Setpoint>,
        contender: &Contender,
        lane: Carrier,
        repetition: u32,
    ) -> Result<Point, ExperimentError> {
        let series = match self.lanes.len() {
            1 => contender.label.clone(),
            _ => format!("{}, {}", contender.label, lane.name()),
        };
        let mut point = Point {
            topology: topology.clone(),
            set: self.set.clone(),
            profile: self.profile.clone(),
            series,
            protocol: contender.choice(None),
            lane,
            kind: self.kind,
            shape: self.shape.clone(),
            load: self.load,
            durability: self.durability,
            at: at.cloned(),
            repetition,
            seed: self.seed + u64::from(repetition),
        };
        match (self.sweep.as_ref().map(|sweep| sweep.axis), at) {
            (None, _) | (_, None) => {}
            (Some(axis), Some(Setpoint::Number(number))) => vary(&mut point, axis, *number)?,
            (Some(Axis::Leader), Some(Setpoint::Name(city))) => {
                point.protocol = contender.choice(Some(city));
            }
            (Some(Axis::Profile), Some(Setpoint::Name(name))) => point.profile.clone_from(name),
            (Some(Axis::Set), Some(Setpoint::Name(name))) => point.set.clone_from(name),
            (Some(Axis::Durability), Some(Setpoint::Name(name))) => {
                point.durability = durability(name).unwrap_or(self.durability);
            }
            (Some(_), Some(Setpoint::Name(_))) => {}
        }
        let sites = &point.topology.set(&point.set)?.sites;
        point.topology.profile(&point.profile)?;
        point.protocol.commit_us(&point.topology.matrix(&point.set)?, 0)?;
        super::faults::read(&self.faults, sites)?;
        Ok(point)
    }
}

fn vary(point: &mut Point, axis: Axis, number: f64) -> Result<(), ExperimentError> {
    match axis {
        Axis::Conflict => point.shape.conflict_percent = number,
        Axis::Zipf => point.shape.zipf = Some(number),
        Axis::Rate => point.load = LoadModel::Open(number),
        Axis::Payload => point.shape.payload_bytes = number as usize,
        Axis::Clients => point.load = LoadModel::Closed(number as u32),
        Axis::Loss => point.topology = point.topology.with_loss(&point.profile, number / 100.0)?,
        Axis::Leader | Axis::Durability | Axis::Profile | Axis::Set => {}
    }
    Ok(())
}

/// A durability by its name.
pub(super) fn durability(name: &str) -> Option<Durability> {
    match name {
        "fsync" => Some(Durability::Fsync),
        "os" => Some(Durability::Os),
        "memory" => Some(Durability::Memory),
        _ => None,
    }
}
