//! `panchayat geo experiment`: runs an experiment and writes its report.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use indicatif::{ProgressBar, ProgressStyle};
use panchayat::Topology;
use panchayat_bench::experiment::{self, Engine, Experiment, Progress, Report};
use panchayat_bench::page;

use crate::cli_lab::{self, EngineName};
use crate::errors::{CliError, FAILED};
use crate::signals::Stop;
use crate::{experiment_markdown, experiment_text};

/// Steps of the bar for each run.
const STEPS: u64 = 100;

pub(crate) async fn run(arguments: cli_lab::Experiment) -> Result<ExitCode, CliError> {
    if arguments.list {
        print(&experiment_text::list())?;
        return Ok(ExitCode::SUCCESS);
    }
    let what = arguments.what.as_deref().unwrap_or_default();
    let (file, text) = text_of(what)?;
    if arguments.show {
        print(&text)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut wanted = experiment::parse(&file, &text).map_err(CliError::ExperimentFile)?;
    if arguments.quick {
        wanted = wanted.quick();
    }
    wanted.seed = arguments.seed.unwrap_or(wanted.seed);
    let topology = match &arguments.topology {
        Some(file) => Topology::load(file)?,
        None => Topology::builtin(),
    };
    let engines: &[Engine] = match arguments.engine {
        EngineName::Simulated => &[Engine::Simulated],
        EngineName::Real => &[Engine::Real],
        EngineName::Both => &[Engine::Simulated, Engine::Real],
    };
    let mut stop = Stop::listen()?;
    let bar = bar();
    let told = |progress: Progress| show(&bar, &progress);
    let report = experiment::run(&wanted, &topology, engines, stop.asked(), &told).await;
    bar.finish_and_clear();
    let report = report?;
    let written = write(&wanted, &report, &arguments.out)?;
    if arguments.json {
        print(&json(&report)?)?;
    } else if arguments.markdown {
        print(&experiment_markdown::draw(&report))?;
    } else {
        print(&experiment_text::draw(&report))?;
        print(&format!("\nReport: {}\n", written.display()))?;
    }
    Ok(if report.ok { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}

/// The file's name for diagnostics, and its text.
fn text_of(what: &str) -> Result<(String, String), CliError> {
    if let Some(text) = experiment::text_of(what) {
        return Ok((format!("{what}.yaml"), text.to_owned()));
    }
    let path = Path::new(what);
    match std::fs::read_to_string(path) {
        Ok(text) => Ok((what.to_owned(), text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let shipped = experiment::names().collect::<Vec<_>>().join(", ");
            Err(CliError::NoExperiment { name: what.to_owned(), shipped })
        }
        Err(source) => Err(CliError::File { path: path.to_owned(), source }),
    }
}

fn bar() -> ProgressBar {
    let bar = ProgressBar::new(0);
    // The template is constant; the default style is no loss if it were wrong.
    if let Ok(style) = ProgressStyle::with_template("{prefix:>8} {wide_bar} {eta:>4}  {msg}") {
        bar.set_style(style);
    }
    bar
}

fn show(bar: &ProgressBar, progress: &Progress) {
    bar.set_length(progress.runs as u64 * STEPS);
    bar.set_position(progress.done as u64 * STEPS + (progress.within * STEPS as f64) as u64);
    bar.set_prefix(format!("{}/{}", progress.done, progress.runs));
    bar.set_message(progress.what.clone());
}

fn json(report: &Report) -> Result<String, CliError> {
    let text = serde_json::to_string_pretty(report);
    Ok(text.map_err(|error| CliError::Print(error.into()))? + "\n")
}

/// Writes the page, the figures and the plots; where the page is.
fn write(experiment: &Experiment, report: &Report, dir: &Path) -> Result<PathBuf, CliError> {
    let at = |path: &Path| {
        let path = path.to_owned();
        move |source| CliError::File { path, source }
    };
    std::fs::create_dir_all(dir).map_err(at(dir))?;
    let put = |path: &Path, text: String| std::fs::write(path, text).map_err(at(path));
    for figure in page::plots(report) {
        put(&dir.join(format!("{}.svg", figure.name)), figure.file())?;
    }
    put(&dir.join(format!("{}.json", experiment.name)), json(report)?)?;
    let html = dir.join(format!("{}.html", experiment.name));
    put(&html, page::page(report))?;
    Ok(html)
}

fn print(text: &str) -> Result<(), CliError> {
    std::io::stdout().write_all(text.as_bytes()).map_err(CliError::Print)
}
