//! `panchayat geo`: runs the experiment and shows what it found.

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use panchayat::{Durability, Topology};
use panchayat_bench::geo::{self, Fault, FaultError, GeoConfig, GeoError, Phase, Progress};
use panchayat_bench::load::LoadModel;

use crate::cli::{DurabilityName, Geo, Place};
use crate::errors::{CliError, FAILED};
use crate::geo_text;
use crate::ordering::choice;
use crate::signals::Stop;

pub(crate) async fn run(arguments: Geo) -> Result<ExitCode, CliError> {
    let config = config(&arguments)?;
    let mut stop = Stop::listen()?;
    let bar = Bar::new();
    let report = geo::run(&config, stop.asked(), |progress| bar.show(progress)).await;
    bar.end();
    let report = report?;
    let text = if arguments.json {
        serde_json::to_string_pretty(&report).map_err(|error| CliError::Print(error.into()))? + "\n"
    } else {
        geo_text::draw(&report)
    };
    std::io::stdout().write_all(text.as_bytes()).map_err(CliError::Print)?;
    Ok(if report.ok { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}

fn config(arguments: &Geo) -> Result<GeoConfig, CliError> {
    let place = &arguments.place;
    let topology = topology(place)?;
    // Known before anything starts, and before a mistake in another flag is found.
    let sites = topology.set(&place.set)?.sites.clone();
    topology.profile(&place.profile)?;
    Ok(GeoConfig {
        set: place.set.clone(),
        profile: place.profile.clone(),
        protocol: choice(&arguments.ordering, &sites)?,
        conflict_percent: arguments.conflict,
        keys: arguments.keys,
        zipf: arguments.zipf,
        clients: arguments.clients,
        paced: arguments.solo.then_some(LoadModel::Solo),
        duration: arguments.duration,
        payload_bytes: arguments.payload,
        durability: durability(place.durability),
        seed: place.seed,
        data_dir: arguments.data_dir.clone(),
        faults: faults(arguments, &sites).map_err(GeoError::from)?,
        ..GeoConfig::new(topology)
    })
}

fn faults(arguments: &Geo, sites: &[String]) -> Result<Vec<Fault>, FaultError> {
    let kills = arguments.kill.iter().map(|text| Fault::kill(text, sites));
    let cuts = arguments.cut.iter().map(|text| Fault::cut(text, sites));
    let slows = arguments.slow.iter().map(|text| Fault::slow(text, sites));
    let rushes = arguments.rush.iter().map(|text| Fault::rush(text));
    kills.chain(cuts).chain(slows).chain(rushes).collect()
}

/// The topology that was asked for.
pub(crate) fn topology(place: &Place) -> Result<Topology, CliError> {
    Ok(match &place.topology {
        Some(file) => Topology::load(file)?,
        None => Topology::builtin(),
    })
}

pub(crate) fn durability(name: DurabilityName) -> Durability {
    match name {
        DurabilityName::Fsync => Durability::Fsync,
        DurabilityName::Os => Durability::Os,
        DurabilityName::Memory => Durability::Memory,
    }
}

/// A progress bar on stderr; nothing at all where that is no terminal.
struct Bar(ProgressBar);

impl Bar {
    fn new() -> Self {
        let bar = ProgressBar::new(0);
        // The template is constant; the default style is no loss if it were wrong.
        let template = "{msg:>12} {wide_bar} {pos:>3}/{len} s  {prefix}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        Self(bar)
    }

    fn show(&self, progress: Progress) {
        let bar = &self.0;
        bar.set_message(progress.phase.to_string());
        // A phase of no stated length shows an empty bar, not a full one.
        bar.set_length(round(progress.total).max(1));
        bar.set_position(round(progress.elapsed));
        if progress.phase != Phase::Starting {
            bar.set_prefix(format!("{} commands", progress.answered));
        }
    }

    fn end(self) {
        self.0.finish_and_clear();
    }
}

fn round(duration: Duration) -> u64 {
    duration.as_secs_f64().round() as u64
}
