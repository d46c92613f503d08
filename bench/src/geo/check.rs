//! What must hold in every run, and what must hold in the runs that a formula predicts.

use serde::{Deserialize, Serialize};

use super::report::{Report, SiteReport};

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
    fn new(name: impl Into<String>, passed: bool, figures: String) -> Self {
        Self { name: name.into(), passed, figures }
    }
}

/// Everything that can be said about `report`. `formula_applies`: without jitter, loss, conflict
/// and queueing, so that the closed form predicts the median.
pub(super) fn checks(report: &Report, formula_applies: bool) -> Vec<Check> {
    let mut checks = vec![
        Check::new("all replicas end in the same state", report.ok, states(report)),
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

fn states(report: &Report) -> String {
    let states = report.state_hashes.iter().zip(&report.executed);
    let states: Vec<_> = states.map(|(hash, executed)| format!("{hash} ({executed})")).collect();
    format!("state (commands executed): {}", states.join(", "))
}

fn answered(report: &Report) -> bool {
    let failed = |site: &SiteReport| site.failures.not_applied + site.failures.unknown;
    report.unanswered == 0 && report.sites.iter().map(failed).sum::<u64>() == 0
}

fn failures(report: &Report) -> String {
    let sum = |count: fn(&SiteReport) -> u64| report.sites.iter().map(count).sum::<u64>();
    format!(
        "{} answered; {} unanswered, {} unknown, {} not applied, {} refused as overload",
        sum(|site| site.commands),
        report.unanswered,
        sum(|site| site.failures.unknown),
        sum(|site| site.failures.not_applied),
        sum(|site| site.failures.overloaded),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::histogram::Quantiles;
    use crate::load::Failures;

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
