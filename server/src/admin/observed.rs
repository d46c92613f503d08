//! What is known of a replica: now, and some seconds ago, so that figures can be of lately.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use panchayat::topology::Topology;
use panchayat::{Metrics, Stopped};
use parking_lot::Mutex;

use super::cluster::Peer;
use crate::resp::Service;

/// Figures are of so many seconds at most.
const WINDOW: Duration = Duration::from_secs(10);
/// How often one is kept.
const INTERVAL: Duration = Duration::from_secs(1);
/// A replica's thread that takes longer to say how it goes is stuck.
const PATIENCE: Duration = Duration::from_secs(2);
/// Who was not heard of for so long is not reached; heartbeats come much more often.
const SILENCE: Duration = Duration::from_secs(2);

/// A replica, observed.
#[derive(Debug)]
pub(crate) struct Observed {
    pub(crate) service: Arc<Service>,
    /// The admin ports of all members, as far as they are known, in seat order.
    pub(super) peers: Vec<Peer>,
    /// Degrees north and east of each member, if the topology says.
    topology: Topology,
    pub(super) began: Instant,
    kept: Mutex<VecDeque<Sample>>,
}

/// What was measured at a moment, of each workload.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    pub(super) at: Instant,
    /// `None` of one whose thread does not answer.
    pub(super) workloads: Vec<Option<Metrics>>,
}

impl Observed {
    /// The replica behind `service`, whose members are sites of `topology`.
    pub(crate) fn new(service: Arc<Service>, peers: Vec<Peer>, topology: &Topology) -> Arc<Self> {
        let (began, kept) = (Instant::now(), Mutex::default());
        let topology = topology.clone();
        Arc::new(Self { service, peers, topology, began, kept })
    }

    /// Where a city is, if the topology says.
    pub(super) fn coordinates(&self, name: &str) -> Option<(f64, f64)> {
        self.topology.sites().iter().find(|site| site.name == name)?.coordinates
    }

    /// Measures now.
    pub(super) async fn sample(&self) -> Sample {
        let mut workloads = Vec::new();
        for workload in &self.service.workloads {
            let measured = tokio::time::timeout(PATIENCE, workload.store.metrics()).await;
            workloads.push(measured.ok().flatten());
        }
        Sample { at: Instant::now(), workloads }
    }

    /// The oldest that is kept: what figures of lately are counted from.
    pub(super) fn before(&self) -> Option<Sample> {
        self.kept.lock().front().cloned()
    }

    /// Keeps what figures of lately need, for ever.
    pub(super) async fn watch(&self) {
        loop {
            let sample = self.sample().await;
            {
                let mut kept = self.kept.lock();
                let old = |kept: &Sample| sample.at.duration_since(kept.at) > WINDOW;
                while kept.front().is_some_and(old) {
                    kept.pop_front();
                }
                kept.push_back(sample);
            }
            tokio::time::sleep(INTERVAL).await;
        }
    }

    /// Why the replica stopped by itself.
    pub(super) fn stopped(&self) -> Option<Stopped> {
        self.service.workloads.iter().find_map(|workload| workload.store.stopped())
    }

    /// How many members it reaches, itself included.
    pub(super) fn reached(&self) -> usize {
        let service = &self.service;
        let mesh = service.workloads[0].store.mesh();
        let (cluster, own) = (service.cluster(), service.node());
        let others = cluster.members.iter().filter(|member| member.node != own);
        let heard = |node| mesh.last_heard(node).is_some_and(|silence| silence < SILENCE);
        usize::from(service.is_member())
            + others.filter(|other| mesh.is_up(other.node) && heard(other.node)).count()
    }

    /// How many members are a majority.
    pub(super) fn majority(&self) -> usize {
        self.service.cluster().members.len() / 2 + 1
    }

    /// Why it cannot reach a quorum, or does not vote; `None` if it can.
    pub(super) fn unhealthy(&self) -> Option<String> {
        if let Some(why) = self.stopped() {
            return Some(format!("the replica has stopped: {why}"));
        }
        let (reached, majority) = (self.reached(), self.majority());
        let members = self.service.cluster().members.len();
        (reached < majority).then(|| {
            format!("only {reached} of {members} members can be reached, and {majority} are needed")
        })
    }

    /// Why it does not serve; empty if it does.
    pub(super) fn not_ready(&self, sample: &Sample) -> Vec<String> {
        let mut reasons: Vec<_> = self.unhealthy().into_iter().collect();
        for (workload, metrics) in self.service.workloads.iter().zip(&sample.workloads) {
            let name = match &workload.name[..] {
                "" => "the replica".to_owned(),
                name => format!("workload {name}"),
            };
            match metrics {
                None => reasons.push(format!("{name} does not answer")),
                Some(metrics) if metrics.core.snapshots.behind => {
                    reasons.push(format!("{name} has fallen behind and fetches a peer's state"));
                }
                Some(_) => {}
            }
        }
        if self.service.workloads.iter().any(|workload| workload.store.is_disk_full()) {
            reasons.push("there is no space for the journal: writes are refused".to_owned());
        }
        reasons
    }
}
