//! A run of an experiment on the real engine: `panchayat geo`'s.

use std::time::Duration;

use super::ExperimentError;
use super::point::{Components, PointReport};
use super::run::Engine;
use super::spec::{Carrier, Experiment, Point};
use crate::geo::{self, GeoConfig};

/// Runs `point` of `experiment`; `told` hears how far it is.
pub(super) async fn measure(
    experiment: &Experiment,
    point: &Point,
    cancel: impl Future<Output = ()>,
    told: &(dyn Fn(Duration) + Sync),
) -> Result<PointReport, ExperimentError> {
    let sites = &point.topology.set(&point.set)?.sites;
    let config = GeoConfig {
        set: point.set.clone(),
        profile: point.profile.clone(),
        protocol: point.protocol.clone(),
        kind: point.kind,
        conflict_percent: point.shape.conflict_percent,
        keys: point.shape.keys,
        zipf: point.shape.zipf,
        payload_bytes: point.shape.payload_bytes,
        paced: Some(point.load),
        warm_up: experiment.warm_up,
        duration: experiment.duration,
        durability: point.durability,
        datagrams: point.lane == Carrier::Datagrams,
        seed: point.seed,
        faults: super::faults::read(&experiment.faults, sites)?,
        ..GeoConfig::new(point.topology.clone())
    };
    let warm_up = experiment.warm_up;
    let progress = |progress: geo::Progress| {
        told(match progress.phase {
            geo::Phase::Starting => Duration::ZERO,
            geo::Phase::WarmUp => progress.elapsed,
            geo::Phase::Measuring => warm_up + progress.elapsed,
            geo::Phase::Settling => warm_up + experiment.duration,
        });
    };
    let found = geo::run(&config, cancel, progress).await.map_err(|error| match error {
        geo::GeoError::Cancelled => ExperimentError::Cancelled,
        error => ExperimentError::Real(error),
    })?;
    let (at, x) = point.place();
    Ok(PointReport {
        engine: Engine::Real,
        series: point.series.clone(),
        protocol: found.conditions.protocol,
        leader: found.conditions.leader,
        transport: point.lane,
        set: point.set.clone(),
        profile: point.profile.clone(),
        at,
        x,
        repetition: point.repetition,
        seed: point.seed,
        load: point.load.to_string(),
        fast_votes: point.fast_votes(),
        sites: found.sites,
        overall: found.overall,
        throughput_per_s: found.throughput_per_s,
        messages_per_command: found.messages_per_command,
        bytes_per_command: found.bytes_per_command,
        components: Components::of(&found.counters),
        counters: found.counters,
        standing: found.standing,
        timeline: found.timeline,
        stretches: found.stretches,
        faults: found.faults,
        emulator: Some(found.emulator),
        disk: found.disk,
        state_hashes: found.state_hashes,
        settled_after_ms: found.settled_after_ms,
        unanswered: found.unanswered,
        checks: found.checks,
        ok: found.ok,
    })
}
