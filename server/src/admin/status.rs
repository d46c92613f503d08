//! How a replica stands, as it says itself. The names of fields are an interface: they are listed
//! in `server/OPERATING.md`, and new ones are added rather than old ones changed.

use serde::{Deserialize, Serialize};

/// Of these names.
pub(crate) const FORMAT: u32 = 1;

/// What `/status` answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Status {
    pub(crate) format: u32,
    /// The replica's name, usually its city.
    pub(crate) city: String,
    /// Its node, as its certificate says.
    pub(crate) node: u64,
    /// The cluster's id, in hexadecimal.
    pub(crate) cluster: String,
    pub(crate) version: String,
    pub(crate) uptime_s: f64,
    /// Whether it reaches a quorum and votes.
    pub(crate) healthy: bool,
    /// Whether it has caught up and serves.
    pub(crate) ready: bool,
    /// Why it is not.
    pub(crate) reasons: Vec<String>,
    /// What makes commands slower than they need to be, in words.
    pub(crate) slow: Vec<String>,
    /// Members it hears of, itself included.
    pub(crate) reached: usize,
    /// How many it takes to commit.
    pub(crate) majority: usize,
    /// How many of those reached may be lost before it stops serving; negative if too many are.
    pub(crate) quorum_margin: i64,
    pub(crate) members: Vec<Member>,
    pub(crate) workloads: Vec<Workload>,
    pub(crate) disk: Disk,
}

/// A member, as this replica sees it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Member {
    pub(crate) city: String,
    pub(crate) node: u64,
    /// Where it receives from the others.
    pub(crate) address: String,
    /// Whether it is this replica.
    pub(crate) this: bool,
    /// Degrees north and east, if the topology says.
    pub(crate) coordinates: Option<(f64, f64)>,
    /// Whether there is a link to it.
    pub(crate) up: bool,
    /// Whether it has been silent for too long.
    pub(crate) suspected: bool,
    /// The smoothed round trip of the link.
    pub(crate) rtt_ms: Option<f64>,
    /// Half of the heartbeats since the start came back so soon.
    pub(crate) heartbeat_p50_ms: Option<f64>,
    /// How many those are.
    #[serde(default)]
    pub(crate) heartbeats: u64,
    /// The soonest.
    #[serde(default)]
    pub(crate) heartbeat_min_ms: Option<f64>,
    /// 99 of 100 came back so soon.
    #[serde(default)]
    pub(crate) heartbeat_p99_ms: Option<f64>,
    /// QUIC packets sent to it since the start.
    #[serde(default)]
    pub(crate) packets_sent: u64,
    /// Those of them that were lost.
    #[serde(default)]
    pub(crate) packets_lost: u64,
    /// What the topology expects.
    pub(crate) expected_rtt_ms: f64,
    pub(crate) last_heard_ms: Option<f64>,
    /// Bytes queued to it.
    pub(crate) queued_bytes: u64,
    /// Frames to it that were dropped because the link was down or too slow.
    pub(crate) dropped_frames: u64,
}

/// A workload.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Workload {
    /// Empty for the only one of a replica without names.
    pub(crate) name: String,
    pub(crate) protocol: String,
    /// Who leads or coordinates, if anybody does and it is known.
    pub(crate) leader: Option<String>,
    /// How the protocol stands, in words.
    pub(crate) mode: Option<String>,
    /// Commands executed since the cluster was born.
    pub(crate) executed: u64,
    /// The state's fingerprint: equal where as much was executed.
    pub(crate) state: String,
    /// Instances known to exist and not executed here.
    pub(crate) unexecuted: u64,
    /// Proposals of this replica's clients without a result.
    pub(crate) in_flight: usize,
    /// Whether it has missed so much that it needs a peer's state.
    pub(crate) behind: bool,
    /// Proposals refused as too many since the start.
    pub(crate) overloaded: u64,
    /// What has waited longest, and for whom.
    pub(crate) waits: Vec<Wait>,
    /// Over the last seconds.
    pub(crate) recent: Figures,
    /// Since the replica was started.
    pub(crate) since_start: Figures,
}

/// A command that is not executed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Wait {
    /// `CITY/SLOT`, or `slot/SLOT` where there is one log; `null` of a command without a place.
    pub(crate) instance: Option<String>,
    /// `unknown`, `known`, `proposed`, `accepted`, `committed` or `executed`.
    pub(crate) stage: String,
    /// For how long it has been known to this replica.
    pub(crate) for_ms: Option<f64>,
    /// Instances that must be decided or executed before it.
    pub(crate) waits_on: Vec<String>,
    /// The city that has to act next.
    pub(crate) held_by: Option<String>,
    pub(crate) why: String,
}

/// What `/explain` answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Explanation {
    /// Whose view it is.
    pub(crate) city: String,
    /// One for each workload that it may be about.
    pub(crate) explained: Vec<Explained>,
}

/// What waits in a workload.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Explained {
    pub(crate) workload: String,
    pub(crate) protocol: String,
    pub(crate) unexecuted: u64,
    /// Of a key, the commands on it; of an instance, itself and what it waits for, link by link.
    pub(crate) waits: Vec<Wait>,
}

/// Figures over a span of time, of commands proposed at this replica.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Figures {
    /// The span.
    pub(crate) seconds: f64,
    /// Commands executed here, whoever proposed them.
    pub(crate) executed_per_s: f64,
    /// Of its own commands, the share decided in one round trip. `null` without any, and with
    /// Multi-Paxos, which has one path.
    pub(crate) fast_path_rate: Option<f64>,
    /// The share that met a conflicting command (EPaxos), or of slots in which votes collided (Fast
    /// Paxos, known to the coordinator). `null` as above.
    pub(crate) conflict_rate: Option<f64>,
    /// From being proposed to being decided.
    pub(crate) commit: Latency,
    /// From being proposed to being executed.
    pub(crate) execute: Latency,
}

/// Percentiles of latencies; `null` without any.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Latency {
    pub(crate) count: u64,
    pub(crate) p50_ms: Option<f64>,
    pub(crate) p90_ms: Option<f64>,
    pub(crate) p99_ms: Option<f64>,
    pub(crate) max_ms: Option<f64>,
}

/// The journal.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Disk {
    /// Whether it takes records; a failure stops the replica for good.
    pub(crate) ok: bool,
    /// Whether there is no space: writes are refused until there is.
    pub(crate) full: bool,
    pub(crate) journal_bytes: u64,
    /// Bytes written and not yet durable.
    pub(crate) queued_bytes: u64,
    pub(crate) sync_p50_ms: f64,
    pub(crate) sync_p99_ms: f64,
}
