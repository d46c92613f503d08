//! The emulated links of a local cluster, and what is done to them while it runs.
//!
//! Several causes can cut or slow one link at once: an outage of its profile, a killed replica, a
//! partition or a delay that an experiment asked for. None may undo what another one did, so cuts
//! are counted and delays add up; each cause takes back its own.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use panchayat_consensus::NodeId;
use panchayat_topology::{Link, TimeRange};
use panchayat_transport::wan::{Jitter, LinkParams, WanControl};
use parking_lot::Mutex;
use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{RngCore, SeedableRng};
use tokio::task::JoinHandle;

use crate::cluster::Cluster;

/// All links between the members of a cluster. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct LocalLinks {
    wan: WanControl,
    links: Arc<Mutex<BTreeMap<(NodeId, NodeId), Now>>>,
}

/// One directed link.
#[derive(Clone, Copy, Debug)]
struct Now {
    params: LinkParams,
    cuts: u32,
    extra: Duration,
}

impl LocalLinks {
    /// The links of `cluster` as its profile describes them.
    pub(crate) fn new(links: &[Link], cluster: &Cluster, seed: u64) -> Self {
        let wan = WanControl::new(seed);
        let links = links.iter().map(|link| {
            let ends = ends(link, cluster);
            let params = params(link);
            wan.set_link(ends.0, ends.1, params);
            (ends, Now { params, cuts: 0, extra: Duration::ZERO })
        });
        let links = Arc::new(Mutex::new(links.collect()));
        Self { wan, links }
    }

    /// Emulates the links of one more member too: those of `links` that touch it, between nodes in the order
    /// of the links' sites.
    pub(crate) fn add(&self, links: &[Link], nodes: &[NodeId], node: NodeId) {
        for link in links {
            let ends = (nodes[link.from], nodes[link.to]);
            if ends.0 == node || ends.1 == node {
                let params = params(link);
                self.wan.set_link(ends.0, ends.1, params);
                let now = Now { params, cuts: 0, extra: Duration::ZERO };
                self.links.lock().insert(ends, now);
            }
        }
    }

    /// What the links are emulated by.
    pub(crate) fn wan(&self) -> &WanControl {
        &self.wan
    }

    /// Cuts the link from `from` to `to`, once more if it is cut already.
    pub(crate) fn cut(&self, from: NodeId, to: NodeId) {
        self.change(from, to, |now| now.cuts += 1);
    }

    /// Takes back one cut; packets pass again when none is left.
    pub(crate) fn heal(&self, from: NodeId, to: NodeId) {
        self.change(from, to, |now| now.cuts = now.cuts.saturating_sub(1));
    }

    /// Adds `by` to the delay of the link from `from` to `to`.
    pub(crate) fn slow(&self, from: NodeId, to: NodeId, by: Duration) {
        self.change(from, to, |now| now.extra += by);
    }

    /// Takes `by` off again.
    pub(crate) fn unslow(&self, from: NodeId, to: NodeId, by: Duration) {
        self.change(from, to, |now| now.extra = now.extra.saturating_sub(by));
    }

    /// Changes a link and tells the emulator, in one step. Links that are not emulated stay.
    fn change(&self, from: NodeId, to: NodeId, change: impl FnOnce(&mut Now)) {
        let mut links = self.links.lock();
        let Some(now) = links.get_mut(&(from, to)) else { return };
        change(now);
        let delay = now.params.delay + now.extra;
        self.wan.set_link(from, to, LinkParams { delay, ..now.params });
        self.wan.partition(from, to, now.cuts > 0);
    }
}

/// The nodes at both ends of a topology's link.
fn ends(link: &Link, cluster: &Cluster) -> (NodeId, NodeId) {
    (cluster.members[link.from].node, cluster.members[link.to].node)
}

fn params(link: &Link) -> LinkParams {
    let jitter = (link.jitter_median_us > 0).then(|| Jitter {
        median: Duration::from_micros(link.jitter_median_us),
        sigma: link.jitter_sigma,
    });
    LinkParams {
        delay: Duration::from_micros(link.one_way_us),
        jitter,
        loss: link.loss,
        loss_burst: link.burst_packets,
        bandwidth_bps: Some(link.bandwidth_bits_per_s),
        ..LinkParams::default()
    }
}

/// One task per pair whose profile has outages. Both directions fail together.
pub(crate) fn outages(
    links: &[Link],
    cluster: &Cluster,
    emulated: &LocalLinks,
    seed: u64,
) -> Vec<JoinHandle<()>> {
    let failing = links.iter().filter(|link| link.from < link.to);
    failing
        .filter_map(|link| {
            let flap = link.flap?;
            let (a, b) = ends(link, cluster);
            let emulated = emulated.clone();
            let stream = seed ^ (a.0 << 32 | b.0);
            let mut rng = Xoshiro256PlusPlus::seed_from_u64(stream);
            Some(tokio::spawn(async move {
                let mut draw = |range: TimeRange| {
                    let width = range.max_us.saturating_sub(range.min_us) + 1;
                    Duration::from_micros(range.min_us + rng.next_u64() % width)
                };
                loop {
                    tokio::time::sleep(draw(flap.up)).await;
                    emulated.cut(a, b);
                    emulated.cut(b, a);
                    tokio::time::sleep(draw(flap.down)).await;
                    emulated.heal(a, b);
                    emulated.heal(b, a);
                }
            }))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use panchayat_consensus::ClusterId;
    use panchayat_topology::Topology;

    use super::*;

    #[test]
    fn each_cause_takes_back_only_what_it_did() {
        let topology = Topology::builtin();
        let addrs = [SocketAddr::from(([127, 0, 0, 1], 1)); 3];
        let matrix = topology.matrix("india3").unwrap();
        let cluster = Cluster::of_sites(ClusterId(1), &matrix, &addrs);
        let links = LocalLinks::new(&topology.links("india3", "ideal").unwrap(), &cluster, 1);
        let (a, b) = (NodeId(1), NodeId(2));
        let now = |from, to| links.links.lock()[&(from, to)];
        let ms = Duration::from_millis;

        links.cut(a, b);
        links.cut(a, b);
        links.heal(a, b);
        assert_eq!((now(a, b).cuts, now(b, a).cuts), (1, 0));
        links.heal(a, b);
        links.heal(a, b);
        assert_eq!(now(a, b).cuts, 0);

        links.slow(a, b, ms(200));
        links.slow(a, b, ms(30));
        links.unslow(a, b, ms(200));
        assert_eq!((now(a, b).extra, now(b, a).extra), (ms(30), Duration::ZERO));
        links.unslow(a, b, ms(30));
        assert_eq!(now(a, b).extra, Duration::ZERO);
        // No such link: nothing happens.
        links.cut(a, NodeId(9));
    }
}
