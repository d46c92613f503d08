//! From what was observed of a replica to what it says of itself.

use std::time::Duration;

use hdrhistogram::Histogram;
use panchayat::account::{Account, Subject};
use panchayat::transport::MeshStats;
use panchayat::{CoreMetrics, Metrics};

use super::explain;
use super::observed::{Observed, Sample};
use super::slow;
use super::status::{Disk, FORMAT, Figures, Latency, Member, Status, Workload};

/// How `observed` stands now.
pub(super) async fn status(observed: &Observed) -> Status {
    let sample = observed.sample().await;
    let before = observed.before();
    let service = &observed.service;
    let (reached, majority) = (observed.reached(), observed.majority());
    let reasons = observed.not_ready(&sample);
    let mesh = service.workloads[0].store.mesh().stats();
    let mut workloads = Vec::new();
    for at in 0..service.workloads.len() {
        let account = explain::account(observed, at, Subject::Oldest).await.unwrap_or_default();
        workloads.extend(workload(observed, at, &sample, before.as_ref(), &account));
    }
    let members = members(observed, &mesh, &sample);
    let disk = disk(observed, sample.workloads.iter().flatten().next());
    Status {
        format: FORMAT,
        city: service.name.clone(),
        node: service.node().0,
        cluster: service.cluster().id.to_string(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        uptime_s: observed.began.elapsed().as_secs_f64(),
        healthy: observed.unhealthy().is_none(),
        ready: reasons.is_empty(),
        reasons,
        slow: slow::reasons(&members, &workloads, disk.sync_p99_ms),
        reached,
        majority,
        quorum_margin: reached as i64 - majority as i64,
        members,
        workloads,
        disk,
    }
}

fn members(observed: &Observed, mesh: &MeshStats, sample: &Sample) -> Vec<Member> {
    let service = &observed.service;
    let cluster = service.cluster();
    let own = cluster.seat_of(service.node()).map(|seat| seat.index());
    let suspects = |seat: usize| {
        let mut of_workloads = sample.workloads.iter().flatten();
        of_workloads.any(|metrics| metrics.core.suspected.contains(&(seat as u8)))
    };
    let members = cluster.members.iter().enumerate();
    let described = members.map(|(seat, member)| {
        let this = Some(seat) == own;
        let peer = mesh.peers.get(&member.node).filter(|_| !this);
        let ping = peer.map(|peer| peer.ping).filter(|ping| ping.count > 0);
        Member {
            city: member.name.clone(),
            node: member.node.0,
            address: member.addr.to_string(),
            this,
            coordinates: observed.coordinates(&member.name),
            up: this || peer.is_some_and(|peer| peer.up),
            suspected: suspects(seat),
            rtt_ms: peer.and_then(|peer| peer.rtt).map(ms),
            heartbeat_p50_ms: ping.map(|ping| ms(ping.p50)),
            heartbeats: ping.map_or(0, |ping| ping.count),
            heartbeat_min_ms: ping.map(|ping| ms(ping.min)),
            heartbeat_p99_ms: ping.map(|ping| ms(ping.p99)),
            packets_sent: peer.map_or(0, |peer| peer.packets_sent),
            packets_lost: peer.map_or(0, |peer| peer.packets_lost),
            expected_rtt_ms: own.map_or(0.0, |own| ms(cluster.round_trips[own][seat])),
            last_heard_ms: peer.and_then(|peer| peer.last_heard).map(ms),
            queued_bytes: peer
                .map_or(0, |peer| peer.lanes.iter().map(|lane| lane.queue_bytes as u64).sum()),
            dropped_frames: peer.map_or(0, |peer| peer.dropped_full + peer.dropped_down),
        }
    });
    described.collect()
}

fn workload(
    observed: &Observed,
    at: usize,
    sample: &Sample,
    before: Option<&Sample>,
    account: &Account,
) -> Option<Workload> {
    let core = &sample.workloads[at].as_ref()?.core;
    let service = &observed.service;
    let old = before.and_then(|before| {
        let old = before.workloads.get(at)?.as_ref()?;
        Some((sample.at.duration_since(before.at), &old.core))
    });
    let cluster = service.cluster();
    let city = |seat: panchayat::ReplicaId| cluster.members.get(seat.index());
    Some(Workload {
        name: service.workloads[at].name.clone(),
        protocol: core.ordered_by.to_owned(),
        leader: core.leader.and_then(city).map(|member| member.name.clone()),
        mode: core.status.as_deref().map(|mode| with_names(observed, mode)),
        executed: core.executed,
        state: format!("{:?}", core.state_hash),
        unexecuted: account.unexecuted,
        waits: account.waiting.iter().map(|w| explain::told(observed, account, w)).collect(),
        in_flight: core.in_flight,
        behind: core.snapshots.behind,
        overloaded: core.overloaded,
        recent: figures(core, old, observed.began.elapsed()),
        since_start: figures(core, None, observed.began.elapsed()),
    })
}

/// `text` with the names of the members it calls by their seats, `r1` say.
fn with_names(observed: &Observed, text: &str) -> String {
    let cluster = observed.service.cluster();
    let members = &cluster.members;
    let named = |word: &str| {
        let bare = word.trim_end_matches([';', ',', '.']);
        let seat = bare.strip_prefix('r').and_then(|seat| seat.parse::<usize>().ok());
        let member = seat.and_then(|seat| members.get(seat));
        member.map_or_else(|| word.to_owned(), |m| format!("{}{}", m.name, &word[bare.len()..]))
    };
    text.split(' ').map(named).collect::<Vec<_>>().join(" ")
}

/// Figures since `old`, or since the start.
fn figures(new: &CoreMetrics, old: Option<(Duration, &CoreMetrics)>, uptime: Duration) -> Figures {
    let (span, old) = match old {
        Some((span, old)) => (span, Some(old)),
        None => (uptime, None),
    };
    let since = |name: &str| {
        new.counter(name).saturating_sub(old.map_or(0, |old| old.counter(name))) as f64
    };
    let executed = since("executed");
    let share = |part: f64, of: f64| (of > 0.0).then(|| part / of);
    let counts = |name: &str| new.protocol.iter().any(|(counter, _)| *counter == name);
    let (fast_path_rate, conflict_rate) = if counts("fast_commits") {
        let fast = since("fast_commits");
        (share(fast, fast + since("slow_commits")), share(since("contended"), since("proposed")))
    } else if counts("chosen_fast") {
        let fast = since("chosen_fast");
        let chosen = fast + since("chosen_classic");
        // Who does not coordinate settles nothing, and does not hear of it.
        let settles = new.counter("collisions") > 0;
        (share(fast, chosen), share(since("collisions"), chosen).filter(|_| settles))
    } else {
        (None, None)
    };
    let seconds = span.as_secs_f64();
    Figures {
        seconds,
        executed_per_s: share(executed, seconds).unwrap_or(0.0),
        fast_path_rate,
        conflict_rate,
        commit: latency(&new.commit_us, old.map(|old| &old.commit_us)),
        execute: latency(&new.execute_us, old.map(|old| &old.execute_us)),
    }
}

/// Percentiles of what `new` counts and `old` does not.
fn latency(new: &Histogram<u64>, old: Option<&Histogram<u64>>) -> Latency {
    let mut lately = new.clone();
    if let Some(old) = old
        && lately.subtract(old).is_err()
    {
        // Another run of the replica than the one before: everything it counts is of lately.
        lately = new.clone();
    }
    if lately.is_empty() {
        return Latency::default();
    }
    let at = |quantile| Some(lately.value_at_quantile(quantile) as f64 / 1e3);
    Latency {
        count: lately.len(),
        p50_ms: at(0.5),
        p90_ms: at(0.9),
        p99_ms: at(0.99),
        max_ms: at(1.0),
    }
}

fn disk(observed: &Observed, metrics: Option<&Metrics>) -> Disk {
    let Some(Metrics { journal, journal_file_bytes, .. }) = metrics else { return Disk::default() };
    Disk {
        ok: observed.stopped().is_none(),
        full: observed.service.workloads.iter().any(|workload| workload.store.is_disk_full()),
        journal_bytes: *journal_file_bytes,
        queued_bytes: journal.queue_bytes as u64,
        sync_p50_ms: journal.sync_ns.value_at_quantile(0.5) as f64 / 1e6,
        sync_p99_ms: journal.sync_ns.value_at_quantile(0.99) as f64 / 1e6,
    }
}

fn ms(span: Duration) -> f64 {
    span.as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_what_came_since() {
        let mut old = Histogram::new_with_bounds(1, 60_000_000, 2).unwrap();
        assert_eq!(latency(&old, None), Latency::default());
        old.record_n(900_000, 1_000).unwrap();
        let mut new = old.clone();
        new.record_n(25_000, 99).unwrap();
        new.record_n(50_000, 1).unwrap();
        let lately = latency(&new, Some(&old));
        assert_eq!(lately.count, 100);
        assert!((24.9..25.3).contains(&lately.p50_ms.unwrap()), "{lately:?}");
        assert!((49.9..50.5).contains(&lately.max_ms.unwrap()), "{lately:?}");
        assert_eq!(latency(&new, None).count, 1_100);
        // A replica that was started again counts from nothing.
        assert_eq!(latency(&old, Some(&new)).count, 1_000);
    }
}
