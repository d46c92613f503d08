//! The simulated engine: the replicas of a topology in virtual time, configured as production
//! configures them.
//!
//! [`panchayat_sim::lab`] runs them; this says what lines, disks and processors they have. With the
//! profile `ideal`, no disk and no cost it gives the closed forms to the microsecond.

mod geography;

use panchayat::topology::{Matrix, NotFound};
use panchayat::{ChangeError, ProtocolChoice, ProtocolError, ReplicaId, Topology, configured};
use panchayat_epaxos::EPaxos;

use panchayat_fastpaxos::FastPaxos;
use panchayat_multipaxos::MultiPaxos;
use panchayat_sim::lab::{self, Epochs, Event, Lane, Line, Load, Outcome, Pace, Setting};
use thiserror::Error;

pub use geography::{Machine, lines};

/// How often transports send heartbeats: what [`panchayat::transport`] does unless told otherwise.
const HEARTBEAT_US: u64 = 100_000;
/// How long all may take to come to the same state once the load has ended.
const PATIENCE_US: u64 = 60_000_000;

/// A cluster in virtual time.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// Round trips, by seat.
    pub matrix: Matrix,
    /// The protocol.
    pub protocol: ProtocolChoice,
    /// The run, without its load.
    pub setting: Setting,
}

/// Why there is no run.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SimulatedError {
    /// The topology has no such set or profile.
    #[error(transparent)]
    NotFound(#[from] NotFound),
    /// The protocol does not fit the set.
    #[error(transparent)]
    Protocol(#[from] ProtocolError),
    /// There can be no such group.
    #[error(transparent)]
    Group(#[from] ChangeError),
}

impl Cluster {
    /// The replicas of `set` under `profile` on `machine`s, under a load of `pace` that is measured
    /// from `begin_us` to `end_us`.
    ///
    /// # Errors
    /// [`SimulatedError`].
    pub fn new(
        topology: &Topology,
        (set, profile): (&str, &str),
        protocol: ProtocolChoice,
        machine: Machine,
        pace: Pace,
        (begin_us, end_us): (u64, u64),
    ) -> Result<Self, SimulatedError> {
        let matrix = topology.matrix(set)?;
        let lines = lines(topology, set, profile)?;
        Self::over(matrix, lines, protocol, machine, (pace, begin_us, end_us))
    }

    /// The same over any round trips, on lines that have nothing but their length.
    ///
    /// # Errors
    /// [`SimulatedError::Protocol`].
    pub fn ideal(
        matrix: Matrix,
        protocol: ProtocolChoice,
        pace: Pace,
        (begin_us, end_us): (u64, u64),
    ) -> Result<Self, SimulatedError> {
        let seats = 0..matrix.len();
        let row = |a: usize| seats.clone().map(move |b| (a, b));
        let line = |(a, b)| Line::ideal(matrix.one_way_us(a, b));
        let lines = seats.clone().map(|a| row(a).map(line).collect()).collect();
        Self::over(matrix, lines, protocol, Machine::IDEAL, (pace, begin_us, end_us))
    }

    fn over(
        matrix: Matrix,
        lines: Vec<Vec<Line>>,
        protocol: ProtocolChoice,
        machine: Machine,
        (pace, begin_us, end_us): (Pace, u64, u64),
    ) -> Result<Self, SimulatedError> {
        // Refused before anything runs.
        protocol.commit_us(&matrix, 0)?;
        let setting = Setting {
            seed: 1,
            lines,
            lane: Lane::Stream,
            sync: machine.sync,
            cost: machine.cost,
            heartbeat_us: HEARTBEAT_US,
            suspicion_us: configured::suspicion_timeout(&matrix).0,
            proposals_max: panchayat::Limits::default().proposals_max,
            pace,
            begin_us,
            end_us,
            patience_us: PATIENCE_US,
            events: Vec::new(),
        };
        Ok(Self { matrix, protocol, setting })
    }

    /// Draws chances from `seed`.
    pub fn seeded(mut self, seed: u64) -> Self {
        self.setting.seed = seed;
        self
    }

    /// Sends frames in `lane`.
    pub fn in_lane(mut self, lane: Lane) -> Self {
        self.setting.lane = lane;
        self
    }

    /// Lets `events` happen, at times from the beginning of the run.
    pub fn with_events(mut self, events: Vec<(u64, Event)>) -> Self {
        self.setting.events = events;
        self
    }

    /// Runs it under `load`.
    ///
    /// # Errors
    /// [`SimulatedError`].
    pub fn run(&self, load: &mut impl Load) -> Result<Outcome, SimulatedError> {
        let matrix = &self.matrix;
        let seats = || (0..matrix.len()).map(|seat| ReplicaId(seat as u8));
        let setting = &self.setting;
        Ok(match &self.protocol {
            ProtocolChoice::EPaxos => {
                let configs = seats().map(|seat| configured::epaxos(seat, matrix));
                let configs = configs.collect::<Result<Vec<_>, _>>()?;
                let seeded = |seat: ReplicaId, seed| {
                    let mut config = configs[seat.index()].clone();
                    config.seed = seed;
                    config
                };
                lab::run::<EPaxos>(setting, seeded, load)
            }
            ProtocolChoice::MultiPaxos(choice) => {
                let configs = seats().map(|seat| configured::multipaxos(choice, seat, matrix));
                let configs = configs.collect::<Result<Vec<_>, _>>()?;
                let seeded = |seat: ReplicaId, seed| {
                    let mut config = configs[seat.index()].clone();
                    config.seed = seed;
                    config
                };
                lab::run::<MultiPaxos>(setting, seeded, load)
            }
            ProtocolChoice::FastPaxos(choice) => {
                let configs = seats().map(|seat| configured::fastpaxos(choice, seat, matrix));
                let configs = configs.collect::<Result<Vec<_>, _>>()?;
                let seeded = |seat: ReplicaId, seed| {
                    let mut config = configs[seat.index()].clone();
                    config.seed = seed;
                    config
                };
                lab::run::<FastPaxos>(setting, seeded, load)
            }
            ProtocolChoice::Adaptive(_) => {
                let configs = seats().map(|seat| configured::epochs(&self.protocol, seat, matrix));
                let configs = configs.collect::<Result<Vec<_>, _>>()?;
                // What is left to chance of its protocols follows from the epoch alone.
                lab::run::<Epochs>(setting, |seat, _| configs[seat.index()].clone(), load)
            }
            other => unreachable!("{other} is not in this library"),
        })
    }
}
