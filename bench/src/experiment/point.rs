//! What one run of an experiment found, on either engine.

use std::collections::BTreeMap;

use serde::Serialize;

use super::run::Engine;
use super::spec::{Carrier, Point};
use crate::geo::{
    Bucket, Check, Disk, Emulator, FaultReport, Overall, SiteReport, Standing, Stretch,
};
use crate::traffic::ratio;

/// One run.
#[derive(Clone, Debug, Serialize)]
pub struct PointReport {
    /// What ran it.
    pub engine: Engine,
    /// The line it is on.
    pub series: String,
    /// The protocol, in words.
    pub protocol: String,
    /// The city that leads while all is well, if one does.
    pub leader: Option<String>,
    /// What carried frames.
    pub transport: Carrier,
    /// The cities.
    pub set: String,
    /// The weather.
    pub profile: String,
    /// Where on the axis it is, in words.
    pub at: Option<String>,
    /// Where on the axis it is, if that is a number.
    pub x: Option<f64>,
    /// Which repetition.
    pub repetition: u32,
    /// Its seed.
    pub seed: u64,
    /// How commands came, in words.
    pub load: String,
    /// Votes that a command needs at least to be decided in one round trip.
    pub fast_votes: usize,
    /// What clients saw, by city.
    pub sites: Vec<SiteReport>,
    /// What they saw together.
    pub overall: Overall,
    /// Commands answered per second, over all cities.
    pub throughput_per_s: f64,
    /// Protocol messages per command.
    pub messages_per_command: f64,
    /// Bytes of their frames per command.
    pub bytes_per_command: f64,
    /// What executions had to wait for each other.
    pub components: Components,
    /// What the protocol counted.
    pub counters: BTreeMap<String, u64>,
    /// How replicas stood, in their protocol's words.
    pub standing: Vec<Standing>,
    /// The cities in every tenth of a second, if something failed on purpose.
    pub timeline: Vec<Bucket>,
    /// The cities between the moments at which something changed.
    pub stretches: Vec<Stretch>,
    /// What failed on purpose.
    pub faults: Vec<FaultReport>,
    /// How exact the emulated network was, measured in the same run.
    pub emulator: Option<Emulator>,
    /// The disk (real engine, when it is synced).
    pub disk: Option<Disk>,
    /// Fingerprints of the final states, by replica.
    pub state_hashes: Vec<String>,
    /// How long all took to come to the same state after the load.
    pub settled_after_ms: f64,
    /// Commands without any word in the end.
    pub unanswered: u64,
    /// What must hold, and whether it did.
    pub checks: Vec<Check>,
    /// Whether replicas agree.
    pub ok: bool,
}

/// Strongly connected components of the dependency graph with more than one command (EPaxos).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Components {
    /// Share of executions that were part of one.
    pub share: f64,
    /// Commands in one, on average.
    pub mean: f64,
    /// Commands in the largest, warm-up included.
    pub max: Option<u64>,
}

impl PointReport {
    /// Mean time to an answer of all commands answered between two moments at which something changed,
    /// in milliseconds; no number if there are none.
    pub fn mean_between_ms(&self, from_ms: f64, to_ms: f64) -> f64 {
        let within = |s: &&Stretch| s.from_ms >= from_ms && s.to_ms <= to_ms;
        let (mut sum, mut commands) = (0.0, 0.0);
        for stretch in self.stretches.iter().filter(within) {
            let count = stretch.commands_per_s * (stretch.to_ms - stretch.from_ms);
            sum += stretch.mean_ms.unwrap_or(0.0) * count;
            commands += count;
        }
        sum / commands
    }
}

impl Components {
    pub(super) fn of(counters: &BTreeMap<String, u64>) -> Self {
        let count = |name: &str| counters.get(name).copied().unwrap_or(0) as f64;
        Self {
            share: ratio(count("component_members"), count("executed")),
            mean: ratio(count("component_members"), count("components")),
            max: counters.get("component_max").copied(),
        }
    }
}

impl Point {
    /// Where on the axis it is, in words and as a number.
    pub(super) fn place(&self) -> (Option<String>, Option<f64>) {
        let at = self.at.as_ref();
        (at.map(ToString::to_string), at.and_then(super::Setpoint::number))
    }

    /// Votes that its protocol needs to decide in one round trip.
    pub(super) fn fast_votes(&self) -> usize {
        use panchayat::ProtocolChoice;
        let n = self.topology.set(&self.set).map_or(0, |set| set.sites.len());
        match &self.protocol {
            // Three quarters, rounded up.
            ProtocolChoice::FastPaxos(choice) => {
                choice.quorums.map_or((3 * n).div_ceil(4), |(_, fast, _)| fast)
            }
            _ => n / 2 + 1,
        }
    }
}
