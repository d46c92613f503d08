//! What must hold in every run, and what must hold in the runs that a formula predicts.

use serde::{Deserialize, Serialize};

use super::report::{Report, SiteReport};
use super::timeline::{FaultReport, RECOVERED_FACTOR, RECOVERY_MAX, Recovery};
use crate::histogram::ms;
use crate::load::Failures;

/// The emulator's tolerance: above it a measurement is worth nothing.
pub const LATENESS_P99_MS_MAX: f64 = 0.5;

/// How far a median may be from its closed form, as a share of it.
const BOUND_TOLERANCE: f64 = 0.05;

/// Records on the way to a durable decision: the coordinator's, a peer's vote, the decision.
const SYNCS_PER_COMMIT: f64 = 3.0;

/// Something that must hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// What.
    pub name: String,
    /// Whether it did.
    pub passed: bool,
    /// The figures.
    pub figures: String,
}

impl Check {
    pub(crate) fn new(name: impl Into<String>, passed: bool, figures: String) -> Self {
        Self { name: name.into(), passed, figures }
    }
}

/// Everything that can be said about `report`. `formula_applies`: without jitter, loss, conflict
/// and queueing, so that the closed form predicts the median.
pub(super) fn checks(report: &Report, formula_applies: bool) -> Vec<Check> {
    let mut checks = vec![
        Check::new(same_state(report), report.ok, states(report)),
        Check::new("every command was answered", answered(report), failures(report)),
        Check::new(
            format!("emulator late by at most {LATENESS_P99_MS_MAX} ms (p99)"),
            report.emulator.valid,
            format!(
                "p50 {:.3} ms, p99 {:.3} ms, max {:.3} ms of {} packets",
                report.emulator.lateness.p50_ms,
                report.emulator.lateness.p99_ms,
                report.emulator.lateness.max_ms,
                report.emulator.lateness.packets
            ),
        ),
    ];
    let kills = report.faults.iter().filter(|fault| fault.kind == "kill");
    checks.extend(kills.filter(|kill| !kill.recovery.is_empty()).map(recovery));
    if formula_applies {
        let sync_ms = report.disk.map_or(0.0, |disk| disk.sync_p50_ms);
        checks.extend(report.sites.iter().map(|site| median(site, sync_ms)));
    }
    checks
}

fn median(site: &SiteReport, sync_ms: f64) -> Check {
    let slack = site.bound_ms * BOUND_TOLERANCE;
    let syncs = SYNCS_PER_COMMIT * sync_ms;
    let (low, high) = (site.bound_ms - slack, site.bound_ms + slack + syncs);
    let found = site.commit_ms.p50;
    let allowance = if syncs > 0.0 {
        format!(" + {SYNCS_PER_COMMIT} × {sync_ms:.3} ms sync")
    } else {
        String::new()
    };
    Check::new(
        format!("{} commits at the bound", site.site),
        (low..=high).contains(&found),
        format!(
            "p50 {found:.2} ms; bound {:.2} ms ± {:.0} %{allowance}: {low:.2} to {high:.2} ms",
            site.bound_ms,
            BOUND_TOLERANCE * 100.0
        ),
    )
}

/// Whoever is left at the end.
fn same_state(report: &Report) -> &'static str {
    if report.state_hashes.iter().any(String::is_empty) {
        "all surviving replicas end in the same state"
    } else {
        "all replicas end in the same state"
    }
}

fn states(report: &Report) -> String {
    let states = report.state_hashes.iter().zip(&report.executed);
    let state = |(hash, executed): (&String, &u64)| match hash.as_str() {
        "" => "killed".to_owned(),
        hash => format!("{hash} ({executed})"),
    };
    let states: Vec<_> = states.map(state).collect();
    let settled = if report.faults.is_empty() {
        String::new()
    } else {
        format!("; {:.2} s after the last answer", report.settled_after_ms / 1e3)
    };
    format!("state (commands executed): {}{settled}", states.join(", "))
}

/// How soon the other cities were over a loss.
fn recovery(kill: &FaultReport) -> Check {
    let in_time = |recovery: &Recovery| {
        recovery.after_ms.is_some_and(|after_ms| after_ms <= ms(RECOVERY_MAX))
    };
    let figure = |recovery: &Recovery| {
        let after = match recovery.after_ms {
            Some(after_ms) => format!("{:.1} s", after_ms / 1e3),
            None => "never".to_owned(),
        };
        let slowest = recovery.slowest_ms.map_or_else(String::new, |slowest_ms| {
            format!("slowest command meanwhile {slowest_ms:.0} ms, ")
        });
        format!("{} {after} ({slowest}normal p99 {:.1} ms)", recovery.site, recovery.normal_p99_ms)
    };
    let figures: Vec<_> = kill.recovery.iter().map(figure).collect();
    Check::new(
        format!(
            "after `{}` the others' p99 is under {RECOVERED_FACTOR} × normal within {} s",
            kill.fault,
            RECOVERY_MAX.as_secs()
        ),
        kill.recovery.iter().all(in_time),
        figures.join(", "),
    )
}

/// What kills cost is told apart.
fn answered(report: &Report) -> bool {
    let failed = |failures: Failures| failures.not_applied + failures.unknown;
    let all: u64 = report.sites.iter().map(|site| failed(site.failures)).sum();
    report.unanswered == 0 && all == failed(killed(report))
}

/// What clients of killed replicas have no result of.
fn killed(report: &Report) -> Failures {
    let kills = report.faults.iter().filter_map(|fault| fault.failures);
    kills.fold(Failures::default(), |sum, one| sum.plus(one))
}

fn failures(report: &Report) -> String {
    let all = report.sites.iter().map(|site| site.failures);
    let killed = killed(report);
    let others = all.fold(Failures::default(), Failures::plus).since(killed);
    let at_killed = if report.faults.iter().any(|fault| fault.failures.is_some()) {
        format!(
            "; at killed replicas {} unknown, {} not applied",
            killed.unknown, killed.not_applied
        )
    } else {
        String::new()
    };
    format!(
        "{} answered; {} unanswered, {} unknown, {} not applied, {} refused as overload{at_killed}",
        report.sites.iter().map(|site| site.commands).sum::<u64>(),
        report.unanswered,
        others.unknown,
        others.not_applied,
        others.overloaded,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::histogram::Quantiles;

    fn site(p50: f64) -> SiteReport {
        SiteReport {
            site: "delhi".to_owned(),
            bound_ms: 20.0,
            fibre_ms: None,
            commands: 1,
            fast_path_rate: 1.0,
            commit_ms: Quantiles { p50, ..Quantiles::default() },
            execute_ms: Quantiles::default(),
            commit_over_bound: p50 / 20.0,
            commit_over_fibre: None,
            failures: Failures::default(),
        }
    }

    #[test]
    fn a_median_passes_within_its_tolerance_and_the_syncs_it_pays_for() {
        for (p50, sync_ms, passes) in [
            (19.01, 0.0, true),
            (18.9, 0.0, false),
            (20.99, 0.0, true),
            (21.1, 0.0, false),
            (21.1, 0.1, true),
            (21.4, 0.1, false),
            (18.9, 9.0, false),
        ] {
            assert_eq!(median(&site(p50), sync_ms).passed, passes, "{p50} with {sync_ms}");
        }
        assert_eq!(
            median(&site(20.5), 0.1).figures,
            "p50 20.50 ms; bound 20.00 ms ± 5 % + 3 × 0.100 ms sync: 19.00 to 21.30 ms"
        );
    }
}
