//! `panchayat plan`: what a topology promises, as tables.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::ExitCode;

use panchayat::Topology;
use panchayat_bench::planner::{Forecast, Plan};
use panchayat_bench::workload::Kind;

use crate::cli_lab::PlanArguments;
use crate::errors::CliError;
use crate::table::table;

/// Choices of fewer replicas that are shown.
const SUBSETS_SHOWN: usize = 8;

pub(crate) fn run(arguments: &PlanArguments) -> Result<ExitCode, CliError> {
    let topology = match &arguments.topology {
        Some(file) => Topology::load(file)?,
        None => Topology::builtin(),
    };
    let kinds = match &arguments.workload[..] {
        [] => Kind::all().collect(),
        some => some.to_vec(),
    };
    let plan = Plan::new(&topology, &arguments.set, &kinds, arguments.rate)?;
    let text = if arguments.json {
        serde_json::to_string_pretty(&plan).map_err(|error| CliError::Print(error.into()))? + "\n"
    } else {
        draw(&plan)
    };
    std::io::stdout().write_all(text.as_bytes()).map_err(CliError::Print)?;
    Ok(ExitCode::SUCCESS)
}

fn draw(plan: &Plan) -> String {
    let mut text = format!(
        "Predicted from the topology alone: commit latency in ms, no load, no jitter, no disk; clients in \
         {}.\n\nReplicas in all cities\n{}\n",
        plan.cities.join(", "),
        forecasts(plan, &plan.all_cities)
    );
    if !plan.subsets.is_empty() {
        let shown = &plan.subsets[..plan.subsets.len().min(SUBSETS_SHOWN)];
        let _ = writeln!(
            text,
            "\nFewer replicas: the best protocol and leader of each choice, {} of {}\n{}",
            shown.len(),
            plan.subsets.len(),
            forecasts(plan, shown)
        );
    }
    let _ = writeln!(text, "\nOne city down, replicas in all cities\n{}", losses(plan));
    let _ = writeln!(
        text,
        "\nWhich for which workload, at {} commands/s over all cities: mean ms to an answer\n{}",
        plan.rate_per_s,
        recommendations(plan)
    );
    for recommendation in &plan.recommendations {
        let led = recommendation.leader.as_ref().map(|city| format!(" led from {city}"));
        let _ = writeln!(
            text,
            "- {}: {}{}, since {}. Set to `adaptive` it {}.",
            recommendation.workload,
            recommendation.protocol,
            led.unwrap_or_default(),
            recommendation.reason,
            recommendation.adaptive
        );
    }
    text
}

fn ms(value: f64) -> String {
    format!("{value:.1}")
}

fn forecasts(plan: &Plan, forecasts: &[Forecast]) -> comfy_table::Table {
    let mut header = vec!["protocol", "leader", "replicas"];
    header.extend(plan.cities.iter().map(String::as_str));
    header.extend(["mean", "worst", "mean, one down"]);
    let mut rows = table(&header, 3);
    for forecast in forecasts {
        let replicas = match forecast.members.len() == plan.cities.len() {
            true => "all".to_owned(),
            false => forecast.members.join(" "),
        };
        let mut row =
            vec![forecast.protocol.clone(), forecast.leader.clone().unwrap_or_default(), replicas];
        row.extend(forecast.commit_ms.iter().map(|value| ms(*value)));
        row.extend([ms(forecast.mean_ms), ms(forecast.worst_ms)]);
        row.push(forecast.mean_with_one_down_ms().map_or_else(|| "none".to_owned(), ms));
        rows.add_row(row);
    }
    rows
}

/// For the best of each protocol, what every loss means.
fn losses(plan: &Plan) -> comfy_table::Table {
    let mut header = vec!["protocol", "leader", "down"];
    header.extend(plan.cities.iter().map(String::as_str));
    header.extend(["mean", "what changes"]);
    let mut rows = table(&header, 3);
    let mut seen: Vec<&str> = Vec::new();
    for forecast in &plan.all_cities {
        if seen.contains(&forecast.protocol.as_str()) {
            continue;
        }
        seen.push(&forecast.protocol);
        for down in &forecast.down {
            let mut row = vec![
                forecast.protocol.clone(),
                forecast.leader.clone().unwrap_or_default(),
                down.city.clone(),
            ];
            match &down.commit_ms {
                Some(all) => row.extend(all.iter().map(|value| ms(*value))),
                None => row.extend(plan.cities.iter().map(|_| "none".to_owned())),
            }
            row.push(down.mean_ms.map_or_else(|| "none".to_owned(), ms));
            row.push(down.note.clone());
            rows.add_row(row);
        }
    }
    rows
}

fn recommendations(plan: &Plan) -> comfy_table::Table {
    let header = [
        "workload",
        "take",
        "pairs in conflict",
        "EPaxos",
        "second rounds",
        "Multi-Paxos",
        "Fast Paxos",
    ];
    let mut rows = table(&header, 2);
    for recommendation in &plan.recommendations {
        rows.add_row([
            recommendation.workload.clone(),
            match &recommendation.leader {
                Some(city) => format!("{} ({city})", recommendation.protocol),
                None => recommendation.protocol.clone(),
            },
            format!("{:.3} %", recommendation.conflict_share * 100.0),
            ms(recommendation.epaxos_ms),
            format!("{:.1} %", recommendation.epaxos_slow_share * 100.0),
            ms(recommendation.multipaxos_ms),
            ms(recommendation.fastpaxos_ms),
        ]);
    }
    rows
}
