//! The `panchayat` binary: experiments, a cluster on one machine, and its client commands.

#![forbid(unsafe_code)]

mod access;
mod admin;
mod backup;
mod bench;
mod bench_text;
mod certs;
mod cli;
mod cli_backup;
mod cli_client;
mod cli_inspect;
mod cli_lab;
mod client_batch;
mod client_commands;
mod description;
mod descriptors;
mod errors;
mod experiment;
mod experiment_markdown;
mod experiment_text;
mod geo;
mod geo_chart;
mod geo_text;
mod inspect;
mod measure;
mod operate;
mod ordering;
mod outcome;
mod plan;
mod redis;
mod redis_load;
mod resp;
mod serve;
mod signals;
mod sim;
mod table;
mod txn;
mod up;
mod user;

use std::io::IsTerminal as _;
use std::process::ExitCode;

use clap::Parser as _;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::FmtSpan;

use crate::cli::{Cli, Command, LogFormat};
use crate::cli_lab::GeoAction;
use crate::errors::CliError;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Threads for endpoints, clients and everything else that is not a replica's own.
const WORKER_THREADS: usize = 2;

fn main() -> ExitCode {
    let cli = Cli::parse();
    log_to_stderr(cli.log);
    descriptors::raise();
    match run(cli.command) {
        Ok(code) => code,
        Err(error) => error.report(),
    }
}

fn run(command: Command) -> Result<ExitCode, CliError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKER_THREADS)
        .thread_name("runtime")
        .enable_all()
        .build()
        .map_err(CliError::Runtime)?;
    runtime.block_on(async {
        match command {
            Command::Geo(arguments) => match arguments.action {
                Some(GeoAction::Experiment(arguments)) => experiment::run(arguments).await,
                Some(GeoAction::Measure(arguments)) => measure::run(arguments).await,
                None => geo::run(*arguments).await,
            },
            Command::Plan(arguments) => plan::run(&arguments),
            Command::Bench(arguments) => bench::run(arguments).await,
            Command::Sim(arguments) => sim::run(&arguments),
            Command::Up(arguments) => up::run(arguments).await,
            Command::Serve(arguments) => serve::run(arguments).await,
            Command::Certs(arguments) => certs::run(arguments),
            Command::User(arguments) => user::run(&arguments),
            Command::Status(arguments) => inspect::status(arguments).await,
            Command::Explain(arguments) => inspect::explain(arguments).await,
            Command::Snapshot(arguments) => backup::snapshot(arguments).await,
            Command::Restore(arguments) => {
                tokio::task::block_in_place(|| backup::restore(&arguments))
            }
            Command::Member(arguments) => operate::member(arguments).await,
            Command::Workload(arguments) => operate::workload(arguments).await,
            Command::Put(arguments) => client_commands::put(arguments).await,
            Command::Get(arguments) => client_commands::get(arguments).await,
            Command::Txn(arguments) => client_commands::txn(arguments).await,
        }
    })
}

/// Warnings and worse, unless `RUST_LOG` says otherwise; of spans their ends, with how long they
/// lasted.
fn log_to_stderr(format: LogFormat) {
    let filter = EnvFilter::builder()
        .with_default_directive(tracing::level_filters::LevelFilter::WARN.into())
        .from_env_lossy();
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_span_events(FmtSpan::CLOSE)
        .with_writer(std::io::stderr);
    match format {
        LogFormat::Text => lines.with_ansi(std::io::stderr().is_terminal()).init(),
        LogFormat::Json => lines.json().with_ansi(false).init(),
    }
}
