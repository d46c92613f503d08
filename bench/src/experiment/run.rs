//! Runs all points of an experiment, on either engine or on both.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use panchayat::Topology;
use serde::Serialize;

use super::ExperimentError;
use super::point::PointReport;
use super::report::Report;
use super::spec::{Experiment, Point};
use super::{compare, findings, real, simulate};

/// What runs an experiment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Engine {
    /// Replicas of production in virtual time.
    Simulated,
    /// QUIC, threads and disks, with emulated distance.
    Real,
}

/// How far an experiment is.
#[derive(Clone, Debug)]
pub struct Progress {
    /// Runs that are over.
    pub done: usize,
    /// Runs in all.
    pub runs: usize,
    /// What runs just now, or ran last.
    pub what: String,
    /// How far within it, from 0 to 1.
    pub within: f64,
}

impl Engine {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Simulated => "simulated",
            Self::Real => "real",
        }
    }
}

/// Runs `experiment` over `topology` on `engines`. `told` hears how far it is; when `cancel` is
/// ready first, nothing is left behind. Needs a tokio runtime.
///
/// # Errors
/// [`ExperimentError`]. A check that does not hold is no error.
pub async fn run(
    experiment: &Experiment,
    topology: &Topology,
    engines: &[Engine],
    cancel: impl Future<Output = ()>,
    told: &(dyn Fn(Progress) + Sync),
) -> Result<Report, ExperimentError> {
    let points = experiment.points(topology)?;
    let real = engines.contains(&Engine::Real);
    let simulated = if engines.contains(&Engine::Simulated) { points.len() } else { 0 };
    let runs = simulated + if real { points.len() } else { 0 };
    let mut found = Vec::with_capacity(runs);
    let mut cancel = std::pin::pin!(cancel);
    if simulated > 0 {
        let stop = AtomicBool::new(false);
        // Threads of their own: a run in virtual time never waits for anything.
        let reports = tokio::task::block_in_place(|| {
            let handle = tokio::runtime::Handle::current();
            std::thread::scope(|scope| {
                let worker = scope.spawn(|| simulate_all(experiment, &points, runs, &stop, told));
                handle.block_on(async {
                    while !worker.is_finished() {
                        let tick = tokio::time::sleep(Duration::from_millis(20));
                        tokio::select! {
                            () = &mut cancel => {
                                stop.store(true, Ordering::Relaxed);
                                break;
                            }
                            () = tick => {}
                        }
                    }
                });
                worker.join().unwrap_or_else(|panic| Err(panicked(&*panic)))
            })
        });
        found.extend(reports?);
    }
    if real {
        for (at, point) in points.iter().enumerate() {
            let total = experiment.warm_up + experiment.duration;
            let tell = |elapsed: Duration| {
                told(Progress {
                    done: simulated + at,
                    runs,
                    what: describe(Engine::Real, point),
                    within: (elapsed.as_secs_f64() / total.as_secs_f64()).min(1.0),
                });
            };
            found.push(real::measure(experiment, point, &mut cancel, &tell).await?);
        }
    }
    let compared = compare::compare(&found);
    let findings = findings::findings(experiment, &found);
    Ok(Report::new(experiment, engines, found, compared, findings))
}

fn describe(engine: Engine, point: &Point) -> String {
    let at = point.at.as_ref().map(|at| format!(" at {at}")).unwrap_or_default();
    format!("{}: {}{at}", engine.name(), point.series)
}

/// All points on as many threads as there are processors; reports in the order of the points.
fn simulate_all(
    experiment: &Experiment,
    points: &[Point],
    runs: usize,
    stop: &AtomicBool,
    told: &(dyn Fn(Progress) + Sync),
) -> Result<Vec<PointReport>, ExperimentError> {
    let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let slots: Vec<Mutex<Option<Result<PointReport, ExperimentError>>>> =
        points.iter().map(|_| Mutex::new(None)).collect();
    let work = || {
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(point) = points.get(at) else { return };
            if stop.load(Ordering::Relaxed) {
                return;
            }
            let total = (experiment.warm_up + experiment.duration).as_secs_f64();
            let tell = |now: Duration| {
                told(Progress {
                    done: done.load(Ordering::Relaxed),
                    runs,
                    what: describe(Engine::Simulated, point),
                    within: (now.as_secs_f64() / total).min(1.0),
                });
            };
            let run = std::panic::AssertUnwindSafe(|| simulate::simulate(experiment, point, &tell));
            let result = std::panic::catch_unwind(run);
            let result = result.unwrap_or_else(|panic| Err(panicked(&*panic)));
            *slots[at].lock().unwrap_or_else(|poison| poison.into_inner()) = Some(result);
            done.fetch_add(1, Ordering::Relaxed);
        }
    };
    let jobs = std::thread::available_parallelism().map_or(1, usize::from).min(points.len());
    std::thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(work);
        }
    });
    let reports = slots.into_iter().map(|slot| {
        let slot = slot.into_inner().unwrap_or_else(|poison| poison.into_inner());
        slot.unwrap_or(Err(ExperimentError::Cancelled))
    });
    reports.collect()
}

fn panicked(panic: &(dyn std::any::Any + Send)) -> ExperimentError {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    ExperimentError::Panicked(text.unwrap_or("a panic").to_owned())
}
