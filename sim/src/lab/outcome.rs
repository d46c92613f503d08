//! What a run for figures tells besides what its clients saw.

use std::collections::BTreeMap;

use panchayat_core::StateHash;

/// How a replica stood at a moment, in its protocol's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// In virtual time.
    pub at_us: u64,
    /// The replica.
    pub seat: usize,
    /// What it said.
    pub status: String,
}

/// What a run did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Messages sent in the measured time, each counted once for each receiver.
    pub messages: u64,
    /// Frames they travelled in.
    pub frames: u64,
    /// Bytes of these frames.
    pub bytes: u64,
    /// Frames that never arrived.
    pub frames_lost: u64,
    /// Round trips of frames on the lines, in microseconds, as found with every heartbeat in the
    /// measured time: `[a][b]` with a < b. What the lines did, to be held against what they were told.
    pub pings_us: Vec<Vec<Vec<u64>>>,
    /// Syncs of all journals, in the measured time.
    pub syncs: u64,
    /// What the protocols counted from the beginning of the measured time to the end of the run,
    /// over all replicas; of names that end in `_max` the largest.
    pub counters: BTreeMap<String, u64>,
    /// Commands executed, by seat; `None` for the dead.
    pub executed: Vec<Option<u64>>,
    /// The final states, likewise.
    pub states: Vec<Option<StateHash>>,
    /// Whether all living ended with the same number of executions and in the same state.
    pub agreed: bool,
    /// Commands without any word when patience ended.
    pub unanswered: u64,
    /// How long after the end of the load all had come to the same state, in microseconds.
    pub settled_us: u64,
    /// Replicas that fell so far behind that they need a peer's state, which a run for figures does
    /// not bring them.
    pub needs_state: Vec<usize>,
    /// How the replicas stood before each event and at the end of the load, if their protocol says.
    pub standing: Vec<Standing>,
    /// Things that happened in the world.
    pub steps: u64,
}
