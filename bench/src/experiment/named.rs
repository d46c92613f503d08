//! The experiments that come with the program.

use panchayat::topology::Diagnostic;

use super::parse::parse;
use super::spec::Experiment;

/// By name, the text of each.
const SHIPPED: [(&str, &str); 12] = [
    ("closed-form", include_str!("../../experiments/closed-form.yaml")),
    ("latency", include_str!("../../experiments/latency.yaml")),
    ("conflict-sweep", include_str!("../../experiments/conflict-sweep.yaml")),
    ("zipf", include_str!("../../experiments/zipf.yaml")),
    ("throughput-latency", include_str!("../../experiments/throughput-latency.yaml")),
    ("kill-city", include_str!("../../experiments/kill-city.yaml")),
    ("slow-city", include_str!("../../experiments/slow-city.yaml")),
    ("loss", include_str!("../../experiments/loss.yaml")),
    ("leader-placement", include_str!("../../experiments/leader-placement.yaml")),
    ("five-sites", include_str!("../../experiments/five-sites.yaml")),
    ("weather", include_str!("../../experiments/weather.yaml")),
    ("adaptive", include_str!("../../experiments/adaptive.yaml")),
];

/// Their names.
pub fn names() -> impl Iterator<Item = &'static str> {
    SHIPPED.iter().map(|(name, _)| *name)
}

/// The text of the one called `name`.
pub fn text_of(name: &str) -> Option<&'static str> {
    SHIPPED.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}

/// The one called `name`.
///
/// # Errors
/// None that a release has: a test reads them all.
pub fn shipped(name: &str) -> Option<Result<Experiment, Box<Diagnostic>>> {
    text_of(name).map(|text| parse(&format!("{name}.yaml"), text))
}

#[cfg(test)]
mod tests {
    use panchayat::Topology;

    use super::*;

    #[test]
    fn every_shipped_experiment_fits_the_built_in_topology() {
        let topology = Topology::builtin();
        for name in names() {
            let experiment = shipped(name).unwrap().unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(experiment.name, name);
            assert!(!experiment.question.is_empty() && experiment.title != name, "{name}");
            let points = experiment.points(&topology).unwrap_or_else(|e| panic!("{name}: {e}"));
            let quick = experiment.clone().quick().points(&topology).unwrap();
            assert!(!points.is_empty() && quick.len() <= points.len(), "{name}");
        }
    }
}
