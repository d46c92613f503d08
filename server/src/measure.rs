//! `panchayat geo measure`: asks running replicas how far apart they are, and writes a topology.

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime};

use panchayat::Topology;
use panchayat_bench::survey::{Heard, Leg, Survey, SurveyError, Told, Weather};
use thiserror::Error;

use crate::admin::{AskError, Cluster, Member, get};
use crate::cli_lab::Measure;
use crate::errors::CliError;
use crate::signals::Stop;
use crate::table::table;

/// How often replicas are asked again.
const PAUSE: Duration = Duration::from_millis(500);

/// Why there is no topology.
#[derive(Debug, Error)]
pub(crate) enum MeasureError {
    /// Nobody is called so.
    #[error("{addr}: {source}")]
    Address { addr: String, source: std::io::Error },
    /// A replica cannot be asked.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// What they say is no topology, or not in time.
    #[error(transparent)]
    Survey(#[from] SurveyError),
    /// Something is there already.
    #[error("{0} exists already: name another file")]
    Exists(String),
}

pub(crate) async fn run(arguments: Measure) -> Result<ExitCode, CliError> {
    let base = match &arguments.topology {
        Some(file) => Topology::load(file)?,
        None => Topology::builtin(),
    };
    if arguments.out.exists() {
        return Err(MeasureError::Exists(arguments.out.display().to_string()).into());
    }
    let mut stop = Stop::listen()?;
    let (survey, legs) = tokio::select! {
        found = survey(&arguments) => found?,
        () = stop.asked() => return Ok(ExitCode::SUCCESS),
    };
    let place = (arguments.set.as_str(), &*today());
    let text = survey.topology(&base, place, &legs).map_err(MeasureError::Survey)?;
    write(&arguments.out, &text)?;
    print(&draw(&legs, &arguments))?;
    Ok(ExitCode::SUCCESS)
}

/// Asks until every pair has enough round trips, or time is up.
async fn survey(arguments: &Measure) -> Result<(Survey, Vec<Leg>), MeasureError> {
    let began = Instant::now();
    loop {
        let mut survey = Survey::default();
        for addr in &arguments.addrs {
            for members in ask(addr).await? {
                survey.hear(&members)?;
            }
        }
        match survey.legs(arguments.pings) {
            Ok(legs) => return Ok((survey, legs)),
            Err(SurveyError::Waiting { .. }) if began.elapsed() < arguments.timeout => {}
            Err(error) => return Err(error.into()),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// What the replica with the admin port `addr` says of the members, and those say that it can ask.
async fn ask(addr: &str) -> Result<Vec<Vec<Heard>>, MeasureError> {
    let unknown = |source| MeasureError::Address { addr: addr.to_owned(), source };
    let mut addrs = tokio::net::lookup_host(addr).await.map_err(unknown)?;
    let addr = addrs.next().ok_or_else(|| unknown(std::io::ErrorKind::NotFound.into()))?;
    let answer = get(addr, "/cluster").await?;
    let cluster: Cluster = serde_json::from_slice(&answer)
        .map_err(|source| MeasureError::Ask(AskError::Foreign { addr, source }))?;
    let said = cluster.replicas.iter().filter_map(|replica| replica.status.as_ref());
    Ok(said.map(|status| status.members.iter().enumerate().map(heard).collect()).collect())
}

fn heard((seat, member): (usize, &Member)) -> Heard {
    let us = |ms: Option<f64>| (ms.unwrap_or_default() * 1e3).round() as u64;
    let told = Told {
        up: member.up,
        pings: member.heartbeats,
        min_us: us(member.heartbeat_min_ms),
        p50_us: us(member.heartbeat_p50_ms),
        p99_us: us(member.heartbeat_p99_ms),
        packets_sent: member.packets_sent,
        packets_lost: member.packets_lost,
    };
    Heard { seat, name: member.city.clone(), told: (!member.this).then_some(told) }
}

fn write(path: &Path, text: &str) -> Result<(), CliError> {
    let failed = |source| CliError::File { path: path.to_owned(), source };
    let mut file = std::fs::File::create_new(path).map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)
}

fn draw(legs: &[Leg], arguments: &Measure) -> String {
    let weather = Weather::of(legs);
    let head = ["pair", "round trips", "min ms", "p50 ms", "p99 ms", "packets lost"];
    let mut rows = table(&head, 1);
    let ms = |us: u64| format!("{:.3}", us as f64 / 1e3);
    for Leg { between, told } in legs {
        rows.add_row([
            between.join("–"),
            told.pings.to_string(),
            ms(told.min_us),
            ms(told.p50_us),
            ms(told.p99_us),
            format!("{} of {}", told.packets_lost, told.packets_sent),
        ]);
    }
    let file = arguments.out.display();
    format!(
        "{rows}\njitter: median {} ms, sigma {:.2}; loss {:.4} %\n\nTopology: {file}, set `{set}`, \
         profile `measured`\n  panchayat plan --topology {file} --set {set}\n  panchayat geo \
         --topology {file} --set {set} --profile measured\n",
        ms(weather.jitter_median_us),
        weather.jitter_sigma,
        weather.loss * 100.0,
        set = arguments.set,
    )
}

/// The day in UTC, as in 2026-11-21.
fn today() -> String {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    date(since.as_secs() / 86_400)
}

/// The day `days` after 1970-01-01, in the Gregorian calendar: years are counted from March, so that
/// a leap day is the last of its year.
fn date(days: u64) -> String {
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let date = day - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    format!("{:04}-{month:02}-{date:02}", era * 400 + year + next)
}

fn print(text: &str) -> Result<(), CliError> {
    std::io::stdout().write_all(text.as_bytes()).map_err(CliError::Print)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_have_dates() {
        for (days, text) in [
            (0, "1970-01-01"),
            (58, "1970-02-28"),
            (59, "1970-03-01"),
            (11_016, "2000-02-29"),
            (11_322, "2000-12-31"),
            (20_778, "2026-11-21"),
            (47_540, "2100-02-28"),
            (47_541, "2100-03-01"),
        ] {
            assert_eq!(date(days), text);
        }
    }
}
