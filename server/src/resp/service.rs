//! What all connections of a replica share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use panchayat::transport::Mesh;
use panchayat::{Cluster, NodeId, Replica, WallTime};

use super::health::Health;
use super::limits::{Held, Limits};
use super::registry::Registry;
use crate::access::Access;
use crate::redis::{Reply, Store};

/// A workload, as connections see it.
#[derive(Debug)]
pub(crate) struct WorkloadHandle {
    /// Empty for the only one of a replica without names.
    pub(crate) name: String,
    pub(crate) store: Replica<Store>,
}

/// Keys that begin with `prefix` belong to a workload.
#[derive(Clone, Debug)]
pub(crate) struct Route {
    pub(crate) prefix: Bytes,
    /// Its place among the workloads.
    pub(crate) workload: usize,
}

/// A replica that clients talk to.
#[derive(Debug)]
pub(crate) struct Service {
    /// The replica's name, usually its city.
    pub(crate) name: String,
    pub(crate) workloads: Vec<WorkloadHandle>,
    /// The longest prefix first.
    routes: Vec<Route>,
    /// Where keys belong that no prefix claims.
    rest: usize,
    pub(crate) limits: Limits,
    pub(crate) access: Arc<Access>,
    pub(super) held: Held,
    pub(super) registry: Registry,
    pub(super) health: Health,
    pub(super) counters: Counters,
    pub(super) began: Instant,
    port: AtomicU16,
    /// Keys, and those of them that expire, as of the last look.
    keyspace: [AtomicU64; 2],
}

/// What has happened since the start.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) connections: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) handshakes_failed: AtomicU64,
    pub(super) commands: AtomicU64,
    pub(super) timeouts: AtomicU64,
}

impl Service {
    /// The workloads of the replica called `name`. Keys that no route claims belong to workload `rest`.
    pub(crate) fn new(
        name: &str,
        workloads: Vec<WorkloadHandle>,
        mut routes: Vec<Route>,
        rest: usize,
        limits: Limits,
        access: Arc<Access>,
    ) -> Arc<Self> {
        assert!(
            rest < workloads.len() && routes.iter().all(|route| route.workload < workloads.len())
        );
        routes.sort_by_key(|route| std::cmp::Reverse(route.prefix.len()));
        Arc::new(Self {
            name: name.to_owned(),
            workloads,
            routes,
            rest,
            limits,
            access,
            held: Held::default(),
            registry: Registry::default(),
            health: Health::default(),
            counters: Counters::default(),
            began: Instant::now(),
            port: AtomicU16::new(0),
            keyspace: Default::default(),
        })
    }

    /// The workload of `key`.
    pub(crate) fn workload_of(&self, key: &[u8]) -> usize {
        let route = self.routes.iter().find(|route| key.starts_with(&route.prefix));
        route.map_or(self.rest, |route| route.workload)
    }

    /// The workload of all of `keys`; without any, that of the rest.
    pub(super) fn workload_of_all<'a>(
        &self,
        keys: impl IntoIterator<Item = &'a Bytes>,
    ) -> Result<usize, Reply> {
        let mut keys = keys.into_iter();
        let Some(first) = keys.next() else { return Ok(self.rest) };
        let workload = self.workload_of(first);
        match keys.find(|key| self.workload_of(key) != workload) {
            None => Ok(workload),
            Some(other) => Err(self.crosses(first, other)),
        }
    }

    /// The error of what would span two workloads.
    pub(super) fn crosses(&self, first: &[u8], other: &[u8]) -> Reply {
        let name = |key: &[u8]| self.workloads[self.workload_of(key)].name.as_str();
        Reply::error(format!(
            "CROSSSLOT key '{}' is in workload {} and key '{}' in {}: a command or transaction stays \
             within one workload; nothing was applied",
            String::from_utf8_lossy(first),
            name(first),
            String::from_utf8_lossy(other),
            name(other),
        ))
    }

    /// The mesh, which all workloads share.
    pub(super) fn mesh(&self) -> &Mesh {
        self.workloads[0].store.mesh()
    }

    /// Where clients connect.
    pub(super) fn port(&self) -> u16 {
        self.port.load(Ordering::Relaxed)
    }

    pub(super) fn set_port(&self, port: u16) {
        self.port.store(port, Ordering::Relaxed);
    }

    /// How many keys there are, and how many of them expire, as of a moment ago.
    pub(super) fn keyspace(&self) -> [u64; 2] {
        [0, 1].map(|at| self.keyspace[at].load(Ordering::Relaxed))
    }

    pub(super) fn set_keyspace(&self, counts: [u64; 2]) {
        for (count, counted) in self.keyspace.iter().zip(counts) {
            count.store(counted, Ordering::Relaxed);
        }
    }

    /// The members of now; those of the first workload stand for all.
    pub(crate) fn cluster(&self) -> Arc<Cluster> {
        self.workloads[0].store.cluster()
    }

    /// This replica's number.
    pub(crate) fn node(&self) -> NodeId {
        self.mesh().node()
    }

    /// Whether this replica is one of the members of now.
    pub(crate) fn is_member(&self) -> bool {
        self.cluster().seat_of(self.node()).is_some()
    }

    /// The place of this replica among the members.
    pub(super) fn seat(&self) -> usize {
        self.cluster().seat_of(self.node()).map_or(0, |seat| seat.index())
    }
}

/// This machine's clock.
pub(super) fn wall_now() -> WallTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    WallTime(since.as_micros() as u64)
}
