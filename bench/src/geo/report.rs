//! What a run found, as data: the JSON that machines read, and what tables are drawn from.

use std::collections::BTreeMap;

use panchayat::topology::{Matrix, latency};
use panchayat::transport::wan;
use panchayat::{ProtocolChoice, Quorums, ReplicaId, Topology};
use serde::{Deserialize, Serialize};

use super::check::{Check, LATENESS_P99_MS_MAX};
use super::timeline::{Bucket, FaultReport, Stretch};
use super::{GeoConfig, GeoError};
use crate::histogram::{Quantiles, ms};
use crate::load::{Failures, Samples};
use crate::traffic::ratio;

/// One run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// What was run.
    pub conditions: Conditions,
    /// What clients saw, by city, in replica order.
    pub sites: Vec<SiteReport>,
    /// What they saw together.
    pub overall: Overall,
    /// Protocol messages per command, each counted once for each receiver; background traffic
    /// between replicas included.
    pub messages_per_command: f64,
    /// Bytes of the frames they travelled in, per command.
    pub bytes_per_command: f64,
    /// Bytes of UDP payload per command: QUIC's headers, acknowledgements, encryption and
    /// heartbeats included.
    pub udp_bytes_per_command: f64,
    /// What the protocol has counted in the measured window and until all was settled, over all
    /// replicas, by name; those that were killed up to their death.
    pub counters: BTreeMap<String, u64>,
    /// How the replicas stood, as their protocol says, just before each moment at which a fault began or
    /// ended, and at the end of the window; empty for a protocol that says nothing.
    pub standing: Vec<Standing>,
    /// Commands answered per second, over all cities.
    pub throughput_per_s: f64,
    /// How far the emulated network was from what was asked for.
    pub emulator: Emulator,
    /// The disk, where it was synced.
    pub disk: Option<Disk>,
    /// Commands executed, by replica, warm-up included; 0 for one that was killed for good.
    pub executed: Vec<u64>,
    /// Fingerprints of the final states, by replica; empty for one that was killed for good.
    pub state_hashes: Vec<String>,
    /// How long after the last answer all replicas had executed the same, in milliseconds; how
    /// long it was waited for if they never had.
    pub settled_after_ms: f64,
    /// Clients that had no answer when the patience after the end of the load was over.
    pub unanswered: u64,
    /// What went wrong on purpose.
    pub faults: Vec<FaultReport>,
    /// The cities between the moments at which faults began and ended; empty without faults.
    pub stretches: Vec<Stretch>,
    /// The cities in every tenth of a second; empty without faults.
    pub timeline: Vec<Bucket>,
    /// What must hold, and whether it did.
    pub checks: Vec<Check>,
    /// Whether all replicas (but those killed for good) executed the same commands and ended in
    /// the same state. The only
    /// thing that fails a run: everything else depends on the machine.
    pub ok: bool,
}

/// How a replica stood at a moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Standing {
    /// After the beginning of the measured window.
    pub at_ms: f64,
    /// The city.
    pub site: String,
    /// In the protocol's words.
    pub status: String,
}

/// What was run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Conditions {
    /// The code's git commit.
    pub commit: String,
    /// The protocol, in words.
    pub protocol: String,
    /// The city that leads while all is well, if one does.
    pub leader: Option<String>,
    /// The set of sites.
    pub set: String,
    /// The weather on the links.
    pub profile: String,
    /// What "durable" meant.
    pub durability: String,
    /// Bytes each command carried.
    pub payload_bytes: usize,
    /// Share of commands on one common key.
    pub conflict_percent: f64,
    /// Keys the other commands chose from.
    pub keys: u32,
    /// The skew of that choice, if any.
    pub zipf: Option<f64>,
    /// The workload.
    pub workload: String,
    /// How commands came, in words.
    pub load: String,
    /// Clients in each city, in a closed loop.
    pub clients: u32,
    /// The measured time.
    pub duration_s: f64,
    /// The time before it.
    pub warm_up_s: f64,
    /// The seed of keys, jitter, loss and outages.
    pub seed: u64,
}

/// What the clients of one city saw.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SiteReport {
    /// The city.
    pub site: String,
    /// The direct-path bound: one emulated round trip to the nearest fast quorum.
    pub bound_ms: f64,
    /// What the protocol's closed form predicts, nothing else going on.
    pub predicted_ms: f64,
    /// The bound over straight fibre, if the topology states distances.
    pub fibre_ms: Option<f64>,
    /// Commands measured.
    pub commands: u64,
    /// Share of them decided in one round trip.
    pub fast_path_rate: f64,
    /// From the proposal to the durable decision.
    pub commit_ms: Quantiles,
    /// From the proposal to the execution, which is when the client is answered.
    pub execute_ms: Quantiles,
    /// Median commit latency over the bound.
    pub commit_over_bound: f64,
    /// Median commit latency over the bound in straight fibre.
    pub commit_over_fibre: Option<f64>,
    /// Proposals without a result.
    pub failures: Failures,
    /// The distribution of commit latencies: milliseconds, and the share that took at most so long.
    pub commit_curve: Vec<[f64; 2]>,
    /// The same of execution.
    pub execute_curve: Vec<[f64; 2]>,
}

/// What the clients of all cities saw together.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Overall {
    /// Commands measured.
    pub commands: u64,
    /// Share of them decided in one round trip.
    pub fast_path_rate: f64,
    /// From the proposal to the durable decision.
    pub commit_ms: Quantiles,
    /// From the proposal to the execution.
    pub execute_ms: Quantiles,
    /// The mean of the cities' mean commit latencies: every city counts alike, though in a closed
    /// loop near ones send more.
    pub commit_mean_of_cities_ms: f64,
    /// The same of execution.
    pub execute_mean_of_cities_ms: f64,
    /// Proposals without a result.
    pub failures: Failures,
}

impl Overall {
    pub(crate) fn of(cities: &[Samples]) -> Self {
        let mut all = Samples::default();
        let served = || cities.iter().filter(|city| city.commands() > 0);
        let mean =
            |of: fn(&Samples) -> f64| ratio(served().map(of).sum::<f64>(), served().count() as f64);
        for city in cities {
            all.commit.add(&city.commit);
            all.execute.add(&city.execute);
            all.fast += city.fast;
            all.failures = all.failures.plus(city.failures);
        }
        Self {
            commands: all.commands(),
            fast_path_rate: ratio(all.fast as f64, all.commands() as f64),
            commit_ms: all.commit.quantiles(),
            execute_ms: all.execute.quantiles(),
            commit_mean_of_cities_ms: mean(|city| city.commit.mean_ms()),
            execute_mean_of_cities_ms: mean(|city| city.execute.mean_ms()),
            failures: all.failures,
        }
    }
}

/// How far the emulated network was from what was asked for, measured in the same run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Emulator {
    /// Each pair of cities.
    pub pairs: Vec<PairCheck>,
    /// How late packets left.
    pub lateness: Lateness,
    /// Whether 99 % of packets left at most half a millisecond late; in virtual time, whether no line
    /// was shorter than asked for. If not, do not trust the latencies: the machine was too busy.
    pub valid: bool,
}

/// One pair of cities.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PairCheck {
    /// The two.
    pub between: [String; 2],
    /// The round trip asked for, jitter not included.
    pub rtt_ms: f64,
    /// Median of heartbeat round trips, at the end where it was longer; in virtual time of frames.
    pub ping_p50_ms: f64,
    /// 99 of 100 took at most this long.
    pub ping_p99_ms: f64,
    /// How many were measured, at both ends.
    pub pings: u64,
}

/// How late the emulator let packets go.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Lateness {
    /// Packets.
    pub packets: u64,
    /// Half of them were at most this late.
    pub p50_ms: f64,
    /// 99 of 100 were at most this late.
    pub p99_ms: f64,
    /// The latest.
    pub max_ms: f64,
}

/// The disk under the journals.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Disk {
    /// Median of small writes with a sync each, one after the other, after the load.
    pub sync_p50_ms: f64,
    /// 99 of 100 of them took at most this long.
    pub sync_p99_ms: f64,
    /// Median of the journals' own syncs under load, at the replica where it was longest.
    pub journal_sync_p50_ms: f64,
}

impl Conditions {
    pub(super) fn of(config: &GeoConfig, distances: &Distances) -> Self {
        let leader = distances.leader.map(|seat| distances.matrix.sites()[seat.index()].clone());
        Self {
            commit: crate::COMMIT.to_owned(),
            protocol: config.protocol.to_string(),
            leader,
            set: config.set.clone(),
            profile: config.profile.clone(),
            durability: crate::durability_name(config.durability).to_owned(),
            payload_bytes: config.payload_bytes,
            conflict_percent: config.conflict_percent,
            keys: config.keys,
            zipf: config.zipf,
            workload: config.kind.to_string(),
            load: config.load().to_string(),
            clients: config.clients,
            duration_s: config.duration.as_secs_f64(),
            warm_up_s: config.warm_up.as_secs_f64(),
            seed: config.seed,
        }
    }
}

/// The geography of a run.
pub(crate) struct Distances {
    pub(crate) matrix: Matrix,
    fibre: Option<Matrix>,
    fast_quorum: usize,
    pub(crate) leader: Option<ReplicaId>,
    predicted_us: Vec<u64>,
}

impl Distances {
    pub(crate) fn of(
        topology: &Topology,
        set: &str,
        protocol: &ProtocolChoice,
    ) -> Result<Self, GeoError> {
        let matrix = topology.matrix(set)?;
        let fibre = topology.fibre_matrix(set)?;
        let fast_quorum = Quorums::for_replicas(matrix.len()).map_or(matrix.len(), Quorums::fast);
        let leader = protocol.leader(&matrix)?;
        let predicted = (0..matrix.len()).map(|seat| protocol.commit_us(&matrix, seat));
        let predicted_us = predicted.collect::<Result<_, _>>()?;
        Ok(Self { matrix, fibre, fast_quorum, leader, predicted_us })
    }

    pub(crate) fn site(&self, seat: usize, samples: &Samples) -> SiteReport {
        let bound = |matrix: &Matrix| {
            let bound_us = latency::direct_path(matrix, seat, self.fast_quorum)?;
            Some(bound_us as f64 / 1e3)
        };
        let bound_ms = bound(&self.matrix).unwrap_or_default();
        let fibre_ms = self.fibre.as_ref().and_then(bound);
        let commit_ms = samples.commit.quantiles();
        let commands = samples.commands();
        SiteReport {
            site: self.matrix.sites()[seat].clone(),
            bound_ms,
            predicted_ms: self.predicted_us[seat] as f64 / 1e3,
            fibre_ms,
            commands,
            fast_path_rate: ratio(samples.fast as f64, commands as f64),
            commit_ms,
            execute_ms: samples.execute.quantiles(),
            commit_over_bound: ratio(commit_ms.p50, bound_ms),
            commit_over_fibre: fibre_ms.map(|fibre_ms| ratio(commit_ms.p50, fibre_ms)),
            failures: samples.failures,
            commit_curve: samples.commit.curve(),
            execute_curve: samples.execute.curve(),
        }
    }
}

impl Emulator {
    pub(super) fn new(pairs: Vec<PairCheck>, lateness: wan::Lateness) -> Self {
        let lateness = Lateness {
            packets: lateness.packets,
            p50_ms: ms(lateness.p50),
            p99_ms: ms(lateness.p99),
            max_ms: ms(lateness.max),
        };
        Self { pairs, lateness, valid: lateness.p99_ms <= LATENESS_P99_MS_MAX }
    }
}
