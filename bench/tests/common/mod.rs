//! An experiment on the simulated engine, whose checks must hold.

use panchayat::Topology;
use panchayat_bench::experiment::{Engine, Experiment, Report, run};

pub(crate) fn simulated(experiment: &Experiment) -> Report {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let (engines, topology) = ([Engine::Simulated], Topology::builtin());
    let never = std::future::pending();
    let report = runtime.block_on(run(experiment, &topology, &engines, never, &|_| {})).unwrap();
    let failed = report.points.iter().flat_map(|point| &point.checks).filter(|c| !c.passed);
    assert!(report.ok, "{:?}", failed.collect::<Vec<_>>());
    report
}
