//! What both engines say of the same thing, side by side.

use serde::Serialize;

use super::point::PointReport;
use super::run::Engine;
use crate::traffic::ratio;

/// One city at one point, on both engines.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Compared {
    /// The line.
    pub series: String,
    /// Where on the axis.
    pub at: Option<String>,
    /// Which repetition.
    pub repetition: u32,
    /// The city.
    pub site: String,
    /// What the closed form predicts.
    pub predicted_ms: f64,
    /// Median commit latency in virtual time.
    pub simulated_p50_ms: f64,
    /// Median commit latency measured.
    pub real_p50_ms: f64,
    /// The second over the first.
    pub real_over_simulated_p50: f64,
    /// The same of the 99th percentiles.
    pub real_over_simulated_p99: f64,
}

/// Everything that ran on both engines.
pub(super) fn compare(points: &[PointReport]) -> Vec<Compared> {
    let of = |engine| points.iter().filter(move |point| point.engine == engine);
    let mut compared = Vec::new();
    for real in of(Engine::Real) {
        let same = |other: &&PointReport| {
            (&other.series, &other.at, other.repetition)
                == (&real.series, &real.at, real.repetition)
        };
        let Some(simulated) = of(Engine::Simulated).find(same) else { continue };
        let cities = simulated.sites.iter().zip(&real.sites);
        // Where one of them measured nothing there is nothing to compare.
        let cities = cities.filter(|(one, other)| one.commands.min(other.commands) > 0);
        compared.extend(cities.map(|(simulated, measured)| Compared {
            series: real.series.clone(),
            at: real.at.clone(),
            repetition: real.repetition,
            site: measured.site.clone(),
            predicted_ms: measured.predicted_ms,
            simulated_p50_ms: simulated.commit_ms.p50,
            real_p50_ms: measured.commit_ms.p50,
            real_over_simulated_p50: ratio(measured.commit_ms.p50, simulated.commit_ms.p50),
            real_over_simulated_p99: ratio(measured.commit_ms.p99, simulated.commit_ms.p99),
        }));
    }
    compared
}
