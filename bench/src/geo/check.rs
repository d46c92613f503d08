//! What must hold in every run, and what must hold in the runs that a formula predicts.

use panchayat::ReplicaId;
use serde::{Deserialize, Serialize};

use super::GeoConfig;
use super::fault::Fault;
use super::report::{Report, SiteReport};
use super::timeline::{FaultReport, RECOVERED_FACTOR, RECOVERY_MAX, Recovery, SERVED_MAX, Silence};
use crate::histogram::ms;
use crate::load::Failures;

/// The emulator's tolerance: above it a measurement is worth nothing.
pub const LATENESS_P99_MS_MAX: f64 = 0.5;

/// How far a median may be from its closed form, as a share of it.
const PREDICTED_TOLERANCE: f64 = 0.05;

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

/// Everything that can be said about `report` of a run of `config`, led by `leader` as it began.
/// `formula_applies`: without jitter, loss, conflict and queueing, so that the closed form predicts
/// the median.
pub(super) fn checks(
    report: &Report,
    config: &GeoConfig,
    leader: Option<ReplicaId>,
    formula_applies: bool,
) -> Vec<Check> {
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
    checks.extend(kills.clone().filter(|kill| !kill.silence.is_empty()).map(served));
    checks.extend(kills.filter(|kill| !kill.recovery.is_empty()).map(recovery));
    let sites: Vec<_> = report.sites.iter().map(|site| site.site.as_str()).collect();
    let leader = leader.map(|seat| sites[seat.index()]);
    if let Some(leader) = leader.filter(|leader| can_lead(leader, &sites, &config.faults)) {
        checks.push(undeposed(report, leader));
    }
    if formula_applies {
        let sync_ms = report.disk.map_or(0.0, |disk| disk.sync_p50_ms);
        let syncs = f64::from(config.protocol.records_per_commit());
        checks.extend(report.sites.iter().map(|site| median(site, syncs, sync_ms)));
    }
    checks
}

fn median(site: &SiteReport, records: f64, sync_ms: f64) -> Check {
    let predicted = site.predicted_ms;
    let slack = predicted * PREDICTED_TOLERANCE;
    let syncs = records * sync_ms;
    let (low, high) = (predicted - slack, predicted + slack + syncs);
    let found = site.commit_ms.p50;
    let allowance =
        if syncs > 0.0 { format!(" + {records} × {sync_ms:.3} ms sync") } else { String::new() };
    Check::new(
        format!("{} commits as predicted", site.site),
        (low..=high).contains(&found),
        format!(
            "p50 {found:.2} ms; closed form {predicted:.2} ms ± {:.0} %{allowance}: {low:.2} to \
             {high:.2} ms",
            PREDICTED_TOLERANCE * 100.0
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

/// How soon the other cities were served again, whoever led before: after the longest silence, which
/// without a leader may come at any time and is short.
fn served(kill: &FaultReport) -> Check {
    let longest = |silence: &Silence| Some(silence.to_ms? - silence.from_ms);
    let in_time =
        |silence: &Silence| longest(silence).is_some_and(|length| length <= ms(SERVED_MAX));
    let figure = |silence: &Silence| match longest(silence) {
        Some(longest) => format!(
            "{} silent for at most {longest:.0} ms, from {:.0} ms after it",
            silence.site, silence.from_ms
        ),
        None => format!("{} not again", silence.site),
    };
    let figures: Vec<_> = kill.silence.iter().map(figure).collect();
    Check::new(
        format!(
            "after `{}` the others are served again within {} s",
            kill.fault,
            SERVED_MAX.as_secs()
        ),
        kill.silence.iter().all(in_time),
        figures.join(", "),
    )
}

/// Whether `leader` is alive and sees a majority all the time, whatever else fails.
fn can_lead(leader: &str, sites: &[&str], faults: &[Fault]) -> bool {
    let cut_off = |other: &str| {
        faults.iter().any(|fault| match fault {
            Fault::Kill { site, .. } => site == other,
            Fault::Cut { between: [a, b], .. } => {
                (a == leader && b == other) || (a == other && b == leader)
            }
            Fault::Slow { .. } | Fault::Rush { .. } => false,
        })
    };
    let lost = sites.iter().filter(|site| cut_off(site)).count();
    let killed = faults.iter().any(|f| matches!(f, Fault::Kill { site, .. } if site == leader));
    !killed && 2 * lost < sites.len()
}

/// Load and the troubles of others are no reason for an election.
fn undeposed(report: &Report, leader: &str) -> Check {
    let count = |name| report.counters.get(name).copied().unwrap_or_default();
    let names = ["elections_won", "prepares", "pre_votes", "resigned", "transferred"];
    let figures: Vec<_> = names.map(|name| format!("{name} {}", count(name))).into();
    Check::new(
        "no election: the leader was there all the time",
        count("elections_won") + count("prepares") == 0,
        format!("{leader} led; {}", figures.join(", ")),
    )
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
            predicted_ms: 20.0,
            fibre_ms: None,
            commands: 1,
            fast_path_rate: 1.0,
            commit_ms: Quantiles { p50, ..Quantiles::default() },
            execute_ms: Quantiles::default(),
            commit_over_bound: p50 / 20.0,
            commit_over_fibre: None,
            failures: Failures::default(),
            commit_curve: Vec::new(),
            execute_curve: Vec::new(),
        }
    }

    #[test]
    fn a_leader_with_a_majority_in_reach_must_stay() {
        let sites = ["mumbai", "delhi", "bangalore"].map(str::to_owned);
        let kill = |text| Fault::kill(text, &sites).unwrap();
        let cut = |text| Fault::cut(text, &sites).unwrap();
        for (faults, expected) in [
            (vec![], true),
            (vec![kill("delhi@1s")], true),
            (vec![kill("mumbai@1s")], false),
            (vec![cut("bangalore-mumbai@1s"), cut("delhi-bangalore@1s")], true),
            (vec![cut("bangalore-mumbai@1s"), cut("mumbai>delhi@1s")], false),
            (vec![cut("bangalore-mumbai@1s"), kill("delhi@1s")], false),
        ] {
            let names = ["mumbai", "delhi", "bangalore"];
            assert_eq!(can_lead("mumbai", &names, &faults), expected, "{faults:?}");
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
            assert_eq!(median(&site(p50), 3.0, sync_ms).passed, passes, "{p50} with {sync_ms}");
        }
        assert_eq!(
            median(&site(20.5), 3.0, 0.1).figures,
            "p50 20.50 ms; closed form 20.00 ms ± 5 % + 3 × 0.100 ms sync: 19.00 to 21.30 ms"
        );
    }
}
