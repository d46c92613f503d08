//! `panchayat status`.

use std::process::ExitCode;

use super::ms;
use crate::admin::Cluster;
use crate::admin::status::Status;
use crate::cli_inspect;
use crate::errors::{CliError, FAILED};
use crate::table::table;

pub(crate) async fn run(arguments: cli_inspect::Status) -> Result<ExitCode, CliError> {
    let peers = arguments.of.peers()?;
    let cluster = Cluster::ask(&peers).await;
    if arguments.of.json {
        println!("{}", serde_json::to_string_pretty(&cluster).map_err(CliError::Json)?);
    } else {
        show(&cluster);
    }
    let serves = |status: &Option<Status>| status.as_ref().is_some_and(|status| status.ready);
    let all = cluster.replicas.iter().all(|replica| serves(&replica.status));
    Ok(if all { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}

fn show(cluster: &Cluster) {
    let mut replicas =
        table(&["city", "state", "reaches", "margin", "leader", "sync p99, ms", "up for"], 2);
    for replica in &cluster.replicas {
        let Some(status) = &replica.status else {
            replicas.add_row([&replica.city, "no answer", "–", "–", "–", "–", "–"]);
            continue;
        };
        let leaders = status.workloads.iter().filter_map(|workload| workload.leader.as_deref());
        let mut leaders: Vec<_> = leaders.collect();
        leaders.dedup();
        replicas.add_row([
            status.city.clone(),
            state(status).to_owned(),
            format!("{} of {}", status.reached, status.members.len()),
            status.quorum_margin.to_string(),
            if leaders.is_empty() { "–".to_owned() } else { leaders.join(", ") },
            format!("{:.1}", status.disk.sync_p99_ms),
            format!("{:.0} s", status.uptime_s),
        ]);
    }
    println!("{replicas}");
    show_workloads(cluster);
    for replica in &cluster.replicas {
        let unanswered = replica.error.iter().map(|why| format!("no answer: {why}"));
        let told =
            replica.status.iter().flat_map(|status| status.reasons.iter().chain(&status.slow));
        for why in unanswered.chain(told.cloned()) {
            println!("{}: {why}", replica.city);
        }
    }
}

fn show_workloads(cluster: &Cluster) {
    let header = [
        "workload",
        "city",
        "executed/s",
        "behind by",
        "open",
        "commit p50",
        "p99",
        "execute p50",
        "p99, ms",
        "fast path",
        "conflicts",
    ];
    let mut figures = table(&header, 2);
    let statuses: Vec<_> = cluster.replicas.iter().filter_map(|r| r.status.as_ref()).collect();
    let share = |share: Option<f64>| {
        share.map_or_else(|| "–".to_owned(), |share| format!("{:.0} %", share * 100.0))
    };
    let Some(names) = statuses.first().map(|status| &status.workloads) else { return };
    for name in names.iter().map(|workload| &workload.name) {
        let of = |status: &'_ Status| {
            status.workloads.iter().find(|workload| workload.name == *name).cloned()
        };
        let all: Vec<_> =
            statuses.iter().filter_map(|status| Some((status, of(status)?))).collect();
        let most = all.iter().map(|(_, workload)| workload.executed).max().unwrap_or_default();
        for (status, workload) in &all {
            let recent = &workload.recent;
            let behind = match workload.behind {
                true => "catching up".to_owned(),
                false => (most - workload.executed).to_string(),
            };
            figures.add_row([
                match &name[..] {
                    "" => workload.protocol.clone(),
                    name => format!("{name} ({})", workload.protocol),
                },
                status.city.clone(),
                format!("{:.0}", recent.executed_per_s),
                behind,
                workload.unexecuted.to_string(),
                ms(recent.commit.p50_ms),
                ms(recent.commit.p99_ms),
                ms(recent.execute.p50_ms),
                ms(recent.execute.p99_ms),
                share(recent.fast_path_rate),
                share(recent.conflict_rate),
            ]);
        }
        for (status, mode) in all.iter().filter_map(|(s, w)| Some((s, w.mode.as_ref()?))) {
            figures.add_row(["", &status.city, mode]);
        }
    }
    println!("{figures}");
}

fn state(status: &Status) -> &'static str {
    match (status.healthy, status.ready) {
        (_, true) => "serves",
        (true, false) => "not ready",
        (false, false) => "no quorum",
    }
}
