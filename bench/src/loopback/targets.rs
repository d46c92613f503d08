//! What the project asks of itself, held against what was measured.
//!
//! A target applies only where its conditions do; the rest of a report is figures. All of them are
//! for a quiet machine of two cores, as the median of five runs of ten seconds, and each line says
//! over how many runs of what length it was measured.

use super::{Conditions, Load, Report};
use crate::geo::Check;

/// Clients at each replica.
const CLIENTS: u32 = 128;
const PAYLOAD_BYTES: usize = 100;
const KEYS: u32 = 1_000_000;
const CONFLICT_PERCENT: f64 = 2.0;

/// n = 3, memory.
const COMMANDS_PER_S_MIN: f64 = 60_000.0;
const COMMANDS_PER_S_AIM: f64 = 150_000.0;
const CPU_US_MAX: f64 = 30.0;
const CPU_US_AIM: f64 = 10.0;
/// n = 3, fsync: this, or what two syncs one after the other leave of the clients' time.
const SYNCED_PER_S_MIN: f64 = 40_000.0;
const SYNCED_SHARE_MIN: f64 = 0.6;
/// Of the figure at 2 %.
const ALL_CONFLICTING_SHARE_MIN: f64 = 0.5;
/// Of the figure at n = 3.
const FIVE_REPLICAS_SHARE_MIN: f64 = 0.6;
/// Of EPaxos' figure under the same load, with a leader that all commands go through.
const LEADER_SHARE_MIN: f64 = 0.8;
/// How its reports call it.
const EPAXOS: &str = "epaxos";
/// From the first to the last third of a long open-loop run.
const P99_GROWTH_MAX: f64 = 1.5;
const MEMORY_GROWTH_MAX: f64 = 1.1;
const LONG_RUN_S: f64 = 60.0;

/// What must hold of one report.
pub fn targets(report: &Report) -> Vec<Check> {
    let figures = &report.median;
    let asked = asked(report);
    let failed: f64 = report.runs.iter().map(|run| run.failed).sum();
    let overloaded: f64 = report.runs.iter().map(|run| run.overloaded).sum();
    let mut checks = vec![
        Check::new("all replicas end in the same state", report.ok, "in every run".to_owned()),
        Check::new(
            "every command was answered",
            failed == 0.0,
            format!("{failed:.0} without a result, {overloaded:.0} refused as overloaded"),
        ),
    ];
    let (c, rate) = (&report.conditions, figures.commands_per_s);
    if c.protocol != EPAXOS {
        let elections: f64 = report.runs.iter().map(|run| run.elections).sum();
        checks.push(Check::new(
            "no election under load",
            elections == 0.0,
            format!("{elections:.0} in the measured time of all runs"),
        ));
    }
    let usual = is_usual(c) && c.replicas == 3 && c.conflict_percent == CONFLICT_PERCENT;
    if usual && c.durability == "memory" {
        checks.push(Check::new(
            format!("n=3, memory: at least {COMMANDS_PER_S_MIN:.0} commands/s"),
            rate >= COMMANDS_PER_S_MIN,
            format!("{rate:.0}/s; aim {COMMANDS_PER_S_AIM:.0}; {asked}"),
        ));
        let cpu = figures.cpu_us_per_command;
        checks.push(Check::new(
            format!("n=3, memory: at most {CPU_US_MAX:.0} CPU-µs per command"),
            cpu <= CPU_US_MAX,
            format!("{cpu:.1} µs; aim {CPU_US_AIM:.0}; {asked}"),
        ));
    }
    if usual && c.durability == "fsync" {
        let in_flight = f64::from(CLIENTS) * c.replicas as f64;
        let syncs_s = 2.0 * figures.sync_p50_ms / 1e3;
        let min = SYNCED_PER_S_MIN.min(SYNCED_SHARE_MIN * in_flight / syncs_s);
        checks.push(Check::new(
            format!(
                "n=3, fsync: at least {SYNCED_PER_S_MIN:.0} commands/s, or {:.0} % of {in_flight} \
                 ÷ two syncs",
                SYNCED_SHARE_MIN * 100.0
            ),
            rate >= min,
            format!(
                "{rate:.0}/s of {min:.0}/s; sync p50 under load {:.3} ms; {asked}",
                figures.sync_p50_ms
            ),
        ));
    }
    if matches!(c.load, Load::Open { .. }) && c.duration_s >= LONG_RUN_S {
        let (first, last) = (figures.p99_first_third_ms, figures.p99_last_third_ms);
        checks.push(Check::new(
            format!("p99 stable: the last third at most {P99_GROWTH_MAX} × the first"),
            last <= first * P99_GROWTH_MAX,
            format!("{first:.2} ms, then {last:.2} ms; {asked}"),
        ));
        if let Some((begin, end)) = memory_grown(report) {
            checks.push(Check::new(
                format!(
                    "memory flat: at most {MEMORY_GROWTH_MAX} × that after a third of the time"
                ),
                end <= begin * MEMORY_GROWTH_MAX,
                format!("{begin:.0} MiB, then {end:.0} MiB; {asked}"),
            ));
        }
    }
    checks
}

/// What must hold between reports of different protocols under the same load.
pub fn against_epaxos(reports: &[Report]) -> Vec<Check> {
    let Some(base) = reports.iter().find(|report| report.conditions.protocol == EPAXOS) else {
        return Vec::new();
    };
    let others = reports.iter().filter(|report| report.conditions.protocol != EPAXOS);
    let check = |other: &Report| {
        let (rate, of) = (other.median.commands_per_s, base.median.commands_per_s);
        let (cpu, of_cpu) = (other.median.cpu_us_per_command, base.median.cpu_us_per_command);
        Check::new(
            format!(
                "{}: at least {:.0} % of EPaxos' commands/s",
                other.conditions.protocol,
                LEADER_SHARE_MIN * 100.0
            ),
            rate >= of * LEADER_SHARE_MIN,
            format!(
                "{rate:.0}/s of {of:.0}/s: {:.0} %; {cpu:.2} and {of_cpu:.2} CPU-µs per command; \
                 runs in turn, {}",
                100.0 * rate / of,
                asked(other)
            ),
        )
    };
    others.map(check).collect()
}

/// Memory after a third of a run, when the state has most of its keys, and at its end; of the run
/// in which it grew most. Nothing if rows are too long to tell.
fn memory_grown(report: &Report) -> Option<(f64, f64)> {
    let third_s = report.conditions.duration_s / 3.0;
    let of_run = |run: usize| {
        let rows = || report.rows.iter().filter(move |row| row.run == run);
        let begin = rows().find(|row| row.end_s >= third_s)?;
        let end = rows().next_back().filter(|end| end.end_s > begin.end_s)?;
        Some((begin.memory_mib, end.memory_mib))
    };
    let runs = (1..=report.runs.len()).filter_map(of_run);
    runs.max_by(|a, b| (a.1 / a.0).total_cmp(&(b.1 / b.0)))
}

/// What must hold between reports: of those that differ only in what is compared.
pub fn compared(reports: &[Report]) -> Vec<Check> {
    let find = |replicas, conflict_percent: f64| {
        reports.iter().find(|report| {
            let c = &report.conditions;
            is_usual(c)
                && c.durability == "memory"
                && (c.replicas, c.conflict_percent) == (replicas, conflict_percent)
        })
    };
    let Some(base) = find(3, CONFLICT_PERCENT) else { return Vec::new() };
    let against_base = |other: Option<&Report>, what: &str, share_min: f64| {
        let other = other?;
        let (rate, of) = (other.median.commands_per_s, base.median.commands_per_s);
        Some(Check::new(
            format!("{what}: at least {:.0} % of n=3 at 2 %", share_min * 100.0),
            rate >= of * share_min,
            format!("{rate:.0}/s of {of:.0}/s: {:.0} %; {}", 100.0 * rate / of, asked(other)),
        ))
    };
    let all_conflicting =
        against_base(find(3, 100.0), "100 % conflicts", ALL_CONFLICTING_SHARE_MIN);
    let five = against_base(find(5, CONFLICT_PERCENT), "n=5", FIVE_REPLICAS_SHARE_MIN);
    all_conflicting.into_iter().chain(five).collect()
}

/// The load that every target is for.
fn is_usual(conditions: &Conditions) -> bool {
    conditions.protocol == EPAXOS
        && conditions.load == Load::Closed { clients: CLIENTS }
        && conditions.payload_bytes == PAYLOAD_BYTES
        && conditions.keys == KEYS
}

fn asked(report: &Report) -> String {
    let runs = match report.runs.len() {
        1 => "1 run".to_owned(),
        runs => format!("median of {runs} runs"),
    };
    format!("{runs} of {} s", report.conditions.duration_s)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loopback::{Figures, LoopbackConfig, Row};
    use crate::machine::Machine;

    fn report(change: fn(&mut LoopbackConfig), commands_per_s: f64) -> Report {
        let mut config = LoopbackConfig::default();
        change(&mut config);
        let median = Figures {
            commands_per_s,
            cpu_us_per_command: 20.0,
            sync_p50_ms: 4.0,
            ..Figures::default()
        };
        Report {
            conditions: config.conditions(Machine { cores: 2, load_average: 0.0 }),
            median,
            threads: Vec::new(),
            runs: vec![median],
            rows: Vec::new(),
            checks: Vec::new(),
            ok: true,
        }
    }

    fn verdicts(checks: &[Check]) -> Vec<bool> {
        checks.iter().map(|check| check.passed).collect()
    }

    #[test]
    fn targets_apply_under_their_conditions_only() {
        let ours = targets(&report(|_| {}, 59_999.0));
        assert_eq!(verdicts(&ours), [true, true, false, true]);
        let ours = targets(&report(|_| {}, 60_000.0));
        assert_eq!(verdicts(&ours), [true; 4]);
        for other in [
            report(|config| config.load = Load::Closed { clients: 127 }, 1.0),
            report(|config| config.payload_bytes = 99, 1.0),
            report(|config| config.conflict_percent = 3.0, 1.0),
            report(|config| config.replicas = 5, 1.0),
        ] {
            assert_eq!(targets(&other).len(), 2);
        }
    }

    #[test]
    fn memory_is_held_against_that_of_a_state_with_its_keys() {
        let mut report = report(
            |config| {
                config.load = Load::Open { rate: 1.0 };
                config.duration = std::time::Duration::from_secs(90);
            },
            1.0,
        );
        assert_eq!(memory_grown(&report), None);
        let row = |(end_s, memory_mib)| Row { run: 1, end_s, memory_mib, ..Row::default() };
        report.rows = [(29.0, 50.0), (59.0, 100.0), (90.0, 111.0)].map(row).into();
        assert_eq!(memory_grown(&report), Some((100.0, 111.0)));
        let checks = targets(&report);
        let memory = checks.iter().find(|check| check.name.starts_with("memory flat"));
        assert!(memory.is_some_and(|check| !check.passed), "{checks:?}");
    }

    #[test]
    fn the_synced_target_follows_the_disk() {
        let synced = |rate| {
            let fsync = |config: &mut LoopbackConfig| {
                config.durability = panchayat::Durability::Fsync;
            };
            verdicts(&targets(&report(fsync, rate)))[2]
        };
        // 60 % of 384 ÷ 8 ms.
        assert!(synced(28_800.0) && !synced(28_799.0));
    }

    #[test]
    fn a_leader_is_held_against_epaxos_under_the_same_load() {
        let multipaxos = |config: &mut LoopbackConfig| {
            config.protocol = panchayat::ProtocolChoice::MultiPaxos(Default::default());
        };
        for (rate, passes) in [(80.0, true), (79.0, false)] {
            let reports = [report(multipaxos, rate), report(|_| {}, 100.0)];
            assert_eq!(verdicts(&against_epaxos(&reports)), [passes]);
        }
        assert!(against_epaxos(&[report(|_| {}, 100.0)]).is_empty());
        let mut deposed = report(multipaxos, 1.0);
        deposed.runs[0].elections = 1.0;
        assert_eq!(verdicts(&targets(&deposed)), [true, true, false]);
    }

    #[test]
    fn shares_are_taken_of_three_replicas_at_two_percent() {
        let reports = [
            report(|_| {}, 100.0),
            report(|config| config.conflict_percent = 100.0, 50.0),
            report(|config| config.replicas = 5, 59.0),
        ];
        assert_eq!(verdicts(&compared(&reports)), [true, false]);
        assert!(compared(&reports[1..]).is_empty());
    }
}
