//! A long run, stretch by stretch: whether its latency is stable and its memory flat.
//!
//! One figure over five minutes hides what grows. Each row counts what was answered within it,
//! whenever it began, and what had grown between its two ends.

use serde::{Deserialize, Serialize};

use super::clients::Clients;
use super::run::Moment;
use crate::histogram::Latencies;
use crate::load::Failures;
use crate::traffic::{Traffic, ratio};

/// One stretch of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Which run, from 1.
    pub run: usize,
    /// When it ended, in seconds of measured time.
    pub end_s: f64,
    /// Commands answered per second.
    pub commands_per_s: f64,
    /// Half of the answers took at most this long, in milliseconds.
    pub p50_ms: f64,
    /// 99 of 100 took at most this long.
    pub p99_ms: f64,
    /// Proposals refused at a limit.
    pub overloaded: u64,
    /// Proposals without a result for another reason.
    pub failed: u64,
    /// Processor time of the whole process, in microseconds.
    pub cpu_us_per_command: f64,
    /// Protocol messages, each counted once for each receiver.
    pub messages_per_command: f64,
    /// Messages that replicas sent again.
    pub retransmissions: u64,
    /// Instances that replicas asked each other for.
    pub fetches: u64,
    /// Decided instances that replicas keep for each other, all together.
    pub kept: u64,
    /// Resident memory at the end, in MiB.
    pub memory_mib: f64,
}

/// Cuts a run into rows.
pub(super) struct Rows {
    run: usize,
    begin_s: f64,
    failures: Failures,
    pub(super) rows: Vec<Row>,
}

impl Rows {
    /// From now on.
    pub(super) fn begin(run: usize, clients: &Clients) -> Self {
        let (_, failures) = take_lately(clients);
        Self { run, begin_s: 0.0, failures, rows: Vec::new() }
    }

    /// The row between two moments ends.
    pub(super) fn end(&mut self, from: &Moment, to: &Moment, clients: &Clients) {
        let (latencies, failures) = take_lately(clients);
        let failed = failures.since(self.failures);
        self.failures = failures;
        let commands = latencies.count() as f64;
        let seconds = (to.at - from.at).as_secs_f64();
        let cpu_ns: u64 = to.usage.since(&from.usage).values().map(|spent| spent.cpu_ns).sum();
        let traffic = Traffic::so_far(&to.metrics).since(Traffic::so_far(&from.metrics));
        let counter = |name| to.counter(name).saturating_sub(from.counter(name));
        self.begin_s += seconds;
        self.rows.push(Row {
            run: self.run,
            end_s: self.begin_s,
            commands_per_s: ratio(commands, seconds),
            p50_ms: latencies.ms_at(0.5),
            p99_ms: latencies.ms_at(0.99),
            overloaded: failed.overloaded,
            failed: failed.not_applied + failed.unknown,
            cpu_us_per_command: ratio(cpu_ns as f64 / 1e3, commands),
            messages_per_command: ratio(traffic.messages as f64, commands),
            retransmissions: counter("retransmissions"),
            fetches: counter("fetches"),
            kept: to.counter("executed").saturating_sub(to.counter("collected")),
            memory_mib: to.usage.resident_bytes as f64 / f64::from(1 << 20),
        });
    }
}

/// What was answered since the last call, and what had failed in all.
fn take_lately(clients: &Clients) -> (Latencies, Failures) {
    let (mut latencies, mut failures) = (Latencies::default(), Failures::default());
    for tally in &clients.tallies {
        let mut tally = tally.lock();
        latencies.add(&std::mem::take(&mut tally.lately));
        failures = failures.plus(tally.failures);
    }
    (latencies, failures)
}
