//! What a run is made of.

use panchayat_consensus::{Quorums, Span};
use panchayat_core::SessionConfig;
use panchayat_topology::Topology;

/// A run: first all members live, then as many as may are dead, then they return.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Members; the last f of them die.
    pub(crate) replicas: usize,
    /// Of everything that is drawn.
    pub(crate) seed: u64,
    /// The rate of the open loop, in virtual time.
    pub(crate) per_second: u64,
    /// Commands issued while all live.
    pub(crate) before: u64,
    /// Commands issued while f are dead.
    pub(crate) dead_for: u64,
    /// Commands issued, at least, after the dead were started again.
    pub(crate) after: u64,
    /// Keys drawn from, evenly.
    pub(crate) keys: u64,
    /// Of a hundred commands, those on one and the same key.
    pub(crate) conflict_percent: u64,
    /// Of a hundred commands, those that are requests of a session.
    pub(crate) session_percent: u64,
    /// Of a hundred requests, those tried twice, the second time at another replica.
    pub(crate) retry_percent: u64,
    /// The length of a command's payload.
    pub(crate) payload_bytes: usize,
    /// As [`SessionConfig::retention`].
    pub(crate) retention: Span,
    /// As the protocol's limit of that name.
    pub(crate) retained_max: usize,
    /// A snapshot is begun when the journal is so long.
    pub(crate) snapshot_journal_bytes: usize,
    /// How fast snapshots are written, and read at a start, in bytes per second.
    pub(crate) disk_bytes_per_s: u64,
    /// How fast states travel, in bytes per second.
    pub(crate) transfer_bytes_per_s: u64,
    /// How long a sync of the journal takes.
    pub(crate) sync_us: u64,
    /// The same while a snapshot is being written to the same disk.
    pub(crate) busy_sync_us: u64,
    /// How far apart turns of a replica are at least.
    pub(crate) turn_us: u64,
    /// After so many commands there is a row in the table.
    pub(crate) row_every: u64,
    /// If not 0: the survivors are born with a state of so many MiB, and the dead have nothing.
    pub(crate) state_mib: u64,
    /// Whether every replica's snapshots are kept, so that all can be restarted in the end.
    pub(crate) restart_all: bool,
}

impl Plan {
    /// Five million commands while one of three is dead.
    pub(crate) fn years(replicas: usize) -> Self {
        Self {
            replicas,
            seed: 1,
            per_second: 8_000,
            before: 250_000,
            dead_for: 5_000_000,
            after: 1_000_000,
            keys: 1_000_000,
            conflict_percent: 2,
            session_percent: 25,
            retry_percent: 5,
            payload_bytes: 100,
            retention: Span::from_ms(60_000),
            retained_max: 1 << 18,
            snapshot_journal_bytes: 64 << 20,
            disk_bytes_per_s: 200 << 20,
            transfer_bytes_per_s: 50_000_000,
            sync_us: 100,
            busy_sync_us: 400,
            turn_us: 200,
            row_every: 250_000,
            state_mib: 0,
            restart_all: true,
        }
    }

    /// A member that has nothing takes over a large state.
    pub(crate) fn large_state(replicas: usize, state_mib: u64) -> Self {
        Self {
            per_second: 5_000,
            before: 0,
            dead_for: 500_000,
            after: 300_000,
            row_every: 100_000,
            snapshot_journal_bytes: 256 << 20,
            state_mib,
            restart_all: false,
            ..Self::years(replicas)
        }
    }

    /// The members that die.
    pub(crate) fn mortal(&self) -> std::ops::Range<usize> {
        self.replicas - self.quorums().f()..self.replicas
    }

    /// Their thresholds.
    pub(crate) fn quorums(&self) -> Quorums {
        Quorums::for_replicas(self.replicas).expect("three or more replicas are a group")
    }

    /// How requests are remembered.
    pub(crate) fn sessions(&self) -> SessionConfig {
        let skew = Span(self.retention.0 / 4);
        SessionConfig { retention: self.retention, skew, ..SessionConfig::default() }
    }

    /// One-way delays.
    ///
    /// # Panics
    /// If the built-in topology has no such set.
    pub(crate) fn delays_us(&self) -> Vec<Vec<u64>> {
        let set = format!("india{}", self.replicas);
        let matrix = Topology::builtin().matrix(&set).expect("3 or 5 replicas");
        let delay = |a, b| if a == b { 0 } else { matrix.one_way_us(a, b) };
        let row = |a| (0..self.replicas).map(|b| delay(a, b)).collect();
        (0..self.replicas).map(row).collect()
    }
}
