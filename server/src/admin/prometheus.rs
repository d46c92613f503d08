//! Figures for Prometheus, in the OpenMetrics text format. Everything is measured when it is asked
//! for; names are an interface, listed in `server/OPERATING.md`.

use std::fmt;

use hdrhistogram::Histogram;
use panchayat::Metrics;
use panchayat::transport::PeerStats;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use super::observed::Observed;

/// Upper bounds of latencies, in milliseconds: near the round trips between cities.
const LATENCY_BOUNDS_MS: [f64; 18] = [
    1.0, 2.0, 5.0, 10.0, 15.0, 20.0, 25.0, 30.0, 40.0, 50.0, 75.0, 100.0, 150.0, 200.0, 300.0,
    500.0, 1_000.0, 5_000.0,
];
/// Upper bounds of syncs, in milliseconds.
const SYNC_BOUNDS_MS: [f64; 11] = [0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 50.0, 200.0, 1_000.0];

/// The figures of a replica as Prometheus reads them.
pub(super) async fn exposition(observed: &Observed) -> Result<String, fmt::Error> {
    let sample = observed.sample().await;
    let reasons = observed.not_ready(&sample);
    let service = &observed.service;
    let names = service.workloads.iter().map(|workload| workload.name.clone());
    let workloads = names.zip(sample.workloads);
    let workloads: Vec<_> =
        workloads.filter_map(|(name, metrics)| Some((name, metrics?))).collect();
    let mesh = service.workloads[0].store.mesh().stats();
    let cluster = service.cluster();
    let peers = cluster.members.iter();
    let peers = peers
        .filter_map(|member| Some((member.name.clone(), mesh.peers.get(&member.node)?.clone())));
    let figures = Figures {
        city: service.name.clone(),
        healthy: observed.unhealthy().is_none(),
        ready: reasons.is_empty(),
        members: cluster.members.len(),
        reached: observed.reached(),
        majority: observed.majority(),
        disk_full: service.workloads.iter().any(|workload| workload.store.is_disk_full()),
        workloads,
        peers: peers.collect(),
    };
    let mut registry = Registry::default();
    registry.register_collector(Box::new(figures));
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry)?;
    Ok(text)
}

#[derive(Debug)]
struct Figures {
    city: String,
    healthy: bool,
    ready: bool,
    members: usize,
    reached: usize,
    majority: usize,
    disk_full: bool,
    workloads: Vec<(String, Metrics)>,
    peers: Vec<(String, PeerStats)>,
}

/// The latencies of a workload.
type Counted = fn(&Metrics) -> &Histogram<u64>;
/// A number of a workload or a peer.
type Of<T> = fn(&T) -> f64;

impl Collector for Figures {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let out = &mut encoder;
        self.replica(out)?;
        self.links(out)?;
        self.workloads(out)?;
        self.latencies(out)?;
        self.journal(out)
    }
}

impl Figures {
    fn replica(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let version = ("version", env!("CARGO_PKG_VERSION"));
        let labels = [("city", self.city.as_str()), version];
        let name = "panchayat_replica";
        gauge(out, name, "This replica; always 1", |each| each(&labels, 1.0))?;
        for (name, help, value) in [
            ("panchayat_healthy", "Whether a quorum can be reached", f64::from(self.healthy)),
            ("panchayat_ready", "Whether it has caught up and serves", f64::from(self.ready)),
            ("panchayat_members", "Members of the cluster", self.members as f64),
            ("panchayat_members_reached", "Members it hears of, itself too", self.reached as f64),
            ("panchayat_majority", "Members it takes to commit", self.majority as f64),
            ("panchayat_disk_full", "Whether writes wait for space", f64::from(self.disk_full)),
        ] {
            gauge(out, name, help, |each| each(&NONE, value))?;
        }
        Ok(())
    }

    fn links(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let gauges: [(&str, &str, Of<PeerStats>); 3] = [
            ("panchayat_link_up", "Whether there is a link", |peer| f64::from(peer.up)),
            ("panchayat_link_rtt_seconds", "Its smoothed round trip", |peer| {
                peer.rtt.map_or(f64::NAN, |rtt| rtt.as_secs_f64())
            }),
            ("panchayat_link_queued_bytes", "Waiting to be sent", |peer| {
                peer.lanes.iter().map(|lane| lane.queue_bytes as f64).sum()
            }),
        ];
        for (name, help, of) in gauges {
            gauge(out, name, help, |each| self.each_peer(each, of))?;
        }
        let counters: [(&str, &str, Of<PeerStats>); 6] = [
            ("panchayat_link_sent_bytes", "In UDP datagrams", |p| p.udp_bytes_sent as f64),
            ("panchayat_link_received_bytes", "In UDP datagrams", |p| p.udp_bytes_received as f64),
            ("panchayat_link_packets", "QUIC packets sent", |p| p.packets_sent as f64),
            ("panchayat_link_lost_packets", "QUIC packets lost", |p| p.packets_lost as f64),
            ("panchayat_link_dropped_frames", "Not queued: down, or too slow", |p| {
                (p.dropped_full + p.dropped_down) as f64
            }),
            ("panchayat_link_connections", "Links made so far", |p| p.links as f64),
        ];
        for (name, help, of) in counters {
            counter(out, name, help, |each| self.each_peer(each, of))?;
        }
        Ok(())
    }

    fn workloads(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let gauges: [(&str, &str, Of<Metrics>); 7] = [
            ("panchayat_in_flight", "Proposals without a result", |m| m.core.in_flight as f64),
            ("panchayat_held", "Effects that wait for the disk", |m| m.core.held as f64),
            ("panchayat_behind", "Whether it needs a peer's state", |m| {
                f64::from(m.core.snapshots.behind)
            }),
            ("panchayat_leader_seat", "Seat of who leads; -1 for nobody", |m| {
                m.core.leader.map_or(-1.0, |seat| f64::from(seat.0))
            }),
            ("panchayat_suspected", "Members suspected", |m| m.core.suspected.len() as f64),
            ("panchayat_requests_remembered", "Sessions' requests", |m| m.core.sessions as f64),
            ("panchayat_snapshot_bytes", "Length of the newest", |m| m.core.snapshots.bytes as f64),
        ];
        for (name, help, of) in gauges {
            gauge(out, name, help, |each| self.each_workload(each, of))?;
        }
        let counters: [(&str, &str, Of<Metrics>); 6] = [
            ("panchayat_executed_commands", "Since the cluster was born", |m| {
                m.core.executed as f64
            }),
            ("panchayat_overloaded", "Proposals refused as too many", |m| m.core.overloaded as f64),
            ("panchayat_messages_sent", "By the protocol, per receiver", |m| {
                m.core.messages_sent as f64
            }),
            ("panchayat_snapshots", "Taken and durable", |m| m.core.snapshots.taken as f64),
            ("panchayat_states_taken_over", "From peers", |m| {
                m.core.snapshots.states_taken_over as f64
            }),
            ("panchayat_turns", "Of the replica's thread", |m| m.core.turns as f64),
        ];
        for (name, help, of) in counters {
            counter(out, name, help, |each| self.each_workload(each, of))?;
        }
        let help = "What the protocol did since the start, by its own names";
        counter(out, "panchayat_protocol_events", help, |each| {
            for (name, metrics) in &self.workloads {
                for (event, count) in &metrics.core.protocol {
                    each(&[("workload", name.as_str()), ("event", event)], *count as f64)?;
                }
            }
            Ok(())
        })
    }

    fn latencies(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let kinds: [(&str, &str, Counted); 2] = [
            ("panchayat_commit_seconds", "From proposed here to decided", |m| &m.core.commit_us),
            ("panchayat_execute_seconds", "From proposed here to executed", |m| &m.core.execute_us),
        ];
        for (name, help, of) in kinds {
            let mut family = out.encode_descriptor(name, help, None, MetricType::Histogram)?;
            for (workload, metrics) in &self.workloads {
                let labels = [("workload", workload.as_str())];
                let latencies = of(metrics);
                histogram(family.encode_family(&labels)?, latencies, &LATENCY_BOUNDS_MS, 1e3)?;
            }
        }
        Ok(())
    }

    /// Workloads share it.
    fn journal(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let Some((_, Metrics { journal, journal_file_bytes, .. })) = self.workloads.first() else {
            return Ok(());
        };
        for (name, help, value) in [
            ("panchayat_journal_file_bytes", "That its files take", *journal_file_bytes as f64),
            ("panchayat_journal_queued_bytes", "Not yet durable", journal.queue_bytes as f64),
        ] {
            gauge(out, name, help, |each| each(&NONE, value))?;
        }
        for (name, help, value) in [
            ("panchayat_journal_records", "Made durable", journal.records),
            ("panchayat_journal_bytes", "Of these records", journal.bytes),
            ("panchayat_journal_syncs", "Batches synced", journal.syncs),
        ] {
            counter(out, name, help, |each| each(&NONE, value as f64))?;
        }
        let (name, help) = ("panchayat_journal_sync_seconds", "How long syncs took");
        let out = out.encode_descriptor(name, help, None, MetricType::Histogram)?;
        histogram(out, &journal.sync_ns, &SYNC_BOUNDS_MS, 1e6)
    }

    fn each_peer(&self, each: Each<'_>, of: Of<PeerStats>) -> fmt::Result {
        self.peers.iter().try_for_each(|(name, peer)| each(&[("peer", name.as_str())], of(peer)))
    }

    fn each_workload(&self, each: Each<'_>, of: Of<Metrics>) -> fmt::Result {
        let mut workloads = self.workloads.iter();
        workloads.try_for_each(|(name, metrics)| each(&[("workload", name.as_str())], of(metrics)))
    }
}

/// No labels.
const NONE: [(&str, &str); 0] = [];

/// Takes one value with its labels.
type Each<'a> = &'a mut dyn FnMut(&[(&str, &str)], f64) -> fmt::Result;

fn gauge(
    out: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    values: impl FnOnce(Each<'_>) -> fmt::Result,
) -> fmt::Result {
    let mut family = out.encode_descriptor(name, help, None, MetricType::Gauge)?;
    values(&mut |labels, value| family.encode_family(&Labels(labels))?.encode_gauge(&value))
}

fn counter(
    out: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    values: impl FnOnce(Each<'_>) -> fmt::Result,
) -> fmt::Result {
    let mut family = out.encode_descriptor(name, help, None, MetricType::Counter)?;
    values(&mut |labels, value| {
        family.encode_family(&Labels(labels))?.encode_counter::<NoLabelSet, f64, f64>(&value, None)
    })
}

/// `counted` in buckets of seconds; it counts in units of which `per_ms` are a millisecond.
fn histogram(
    mut out: MetricEncoder<'_>,
    counted: &Histogram<u64>,
    bounds_ms: &[f64],
    per_ms: f64,
) -> fmt::Result {
    let mut buckets = Vec::with_capacity(bounds_ms.len() + 1);
    let mut below = 0;
    for bound in bounds_ms {
        let upto = counted.count_between(0, (bound * per_ms) as u64);
        buckets.push((bound / 1e3, upto.saturating_sub(below)));
        below = below.max(upto);
    }
    buckets.push((f64::INFINITY, counted.len() - below));
    let sum = counted.mean() * counted.len() as f64 / per_ms / 1e3;
    out.encode_histogram::<NoLabelSet>(sum, counted.len(), &buckets, None)
}

/// Labels as they come.
#[derive(Debug)]
struct Labels<'a>(&'a [(&'a str, &'a str)]);

impl EncodeLabelSet for Labels<'_> {
    fn encode(
        &self,
        encoder: &mut prometheus_client::encoding::LabelSetEncoder<'_>,
    ) -> fmt::Result {
        use prometheus_client::encoding::EncodeLabel as _;
        self.0.iter().try_for_each(|label| label.encode(encoder.encode_label()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three latencies, as they are to be read.
    #[derive(Debug)]
    struct Three;

    impl Collector for Three {
        fn encode(&self, mut out: DescriptorEncoder<'_>) -> fmt::Result {
            let mut counted = Histogram::new_with_bounds(1, 60_000_000, 2).unwrap();
            for us in [900, 24_000, 59_000_000] {
                counted.record(us).unwrap();
            }
            let mut out = out.encode_descriptor("x", "help", None, MetricType::Histogram)?;
            let labels = Labels(&[("workload", "a\"b")]);
            histogram(out.encode_family(&labels)?, &counted, &[1.0, 25.0], 1e3)
        }
    }

    #[test]
    fn buckets_add_up_and_labels_are_quoted() {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Three));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for line in [
            "x_count{workload=\"a\\\"b\"} 3",
            "x_bucket{le=\"0.001\",workload=\"a\\\"b\"} 1",
            "x_bucket{le=\"0.025\",workload=\"a\\\"b\"} 2",
            "x_bucket{le=\"+Inf\",workload=\"a\\\"b\"} 3",
            "# EOF",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
        }
    }
}
