//! The report of an experiment: what was run, what was found, and whether it can be trusted.

use serde::Serialize;

use super::compare::Compared;
use super::point::PointReport;
use super::run::Engine;
use super::simulate;
use super::spec::{Axis, Experiment, Setpoint};
use crate::machine::Machine;

/// The layout of the JSON.
const FORMAT: u32 = 1;

/// An experiment and what it found.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The layout of this file.
    pub format: u32,
    /// The experiment's name.
    pub name: String,
    /// What it is headed with.
    pub title: String,
    /// What it was to find out.
    pub question: String,
    /// What was run.
    pub conditions: Conditions,
    /// What it found, in sentences.
    pub findings: Vec<String>,
    /// Every run.
    pub points: Vec<PointReport>,
    /// What ran on both engines, side by side.
    pub compared: Vec<Compared>,
    /// Whether all replicas of all runs agreed and all checks that do not depend on the machine held.
    pub ok: bool,
}

/// What was run.
#[derive(Clone, Debug, Serialize)]
pub struct Conditions {
    /// The code's git commit.
    pub commit: String,
    /// What ran it.
    pub engines: Vec<Engine>,
    /// The cities, unless varied.
    pub set: String,
    /// The weather, unless varied.
    pub profile: String,
    /// The workload.
    pub workload: String,
    /// Keys it chooses from.
    pub keys: u32,
    /// The skew of the choice.
    pub zipf: Option<f64>,
    /// Bytes of payload.
    pub payload_bytes: usize,
    /// Share of commands on one common key.
    pub conflict_percent: f64,
    /// How commands came.
    pub load: String,
    /// What "durable" meant.
    pub durability: String,
    /// Measured time of each run.
    pub duration_s: f64,
    /// Time before it.
    pub warm_up_s: f64,
    /// Runs of each point.
    pub repetitions: u32,
    /// The first seed.
    pub seed: u64,
    /// What was varied.
    pub axis: Option<String>,
    /// What stands under plots over it.
    pub axis_label: Option<String>,
    /// Over which values.
    pub values: Vec<String>,
    /// What failed on purpose.
    pub faults: Vec<String>,
    /// What the simulated engine takes a replica's processor and disk to be, in words.
    pub simulated_machine: Option<String>,
    /// The machine that the real engine ran on.
    pub machine: Option<Machine>,
}

impl Report {
    pub(super) fn new(
        experiment: &Experiment,
        engines: &[Engine],
        points: Vec<PointReport>,
        compared: Vec<Compared>,
        findings: Vec<String>,
    ) -> Self {
        let simulated = |point: &PointReport| point.engine == Engine::Simulated;
        let held = |point: &PointReport| {
            point.ok && (!simulated(point) || point.checks.iter().all(|check| check.passed))
        };
        Self {
            format: FORMAT,
            name: experiment.name.clone(),
            title: experiment.title.clone(),
            question: experiment.question.clone(),
            conditions: Conditions::of(experiment, engines),
            findings,
            ok: points.iter().all(held),
            points,
            compared,
        }
    }
}

impl Conditions {
    fn of(experiment: &Experiment, engines: &[Engine]) -> Self {
        let shape = &experiment.shape;
        let sweep = experiment.sweep.as_ref();
        let axis = sweep.map(|sweep| sweep.axis);
        let machine = simulate::machine(experiment.load, experiment.durability);
        let simulated_machine = engines.contains(&Engine::Simulated).then(|| {
            format!(
                "each city its own: {:.1} µs for a message, {:.1} for a proposal, {:.1} for an \
                 execution, {:.1} for a turn; a sync {} µs in the median",
                machine.cost.message_ns as f64 / 1e3,
                machine.cost.proposal_ns as f64 / 1e3,
                machine.cost.execution_ns as f64 / 1e3,
                machine.cost.turn_ns as f64 / 1e3,
                machine.sync.median_us,
            )
        });
        Self {
            commit: crate::COMMIT.to_owned(),
            engines: engines.to_vec(),
            set: experiment.set.clone(),
            profile: experiment.profile.clone(),
            workload: experiment.kind.to_string(),
            keys: shape.keys,
            zipf: shape.zipf,
            payload_bytes: shape.payload_bytes,
            conflict_percent: shape.conflict_percent,
            load: experiment.load.to_string(),
            durability: crate::durability_name(experiment.durability).to_owned(),
            duration_s: experiment.duration.as_secs_f64(),
            warm_up_s: experiment.warm_up.as_secs_f64(),
            repetitions: experiment.repetitions,
            seed: experiment.seed,
            axis: axis.map(|axis| axis.name().to_owned()),
            axis_label: axis.map(|axis: Axis| axis.label().to_owned()),
            values: sweep.map_or_else(Vec::new, |sweep| {
                sweep.values.iter().map(Setpoint::to_string).collect()
            }),
            faults: experiment.faults.clone(),
            simulated_machine,
            machine: engines.contains(&Engine::Real).then(Machine::now),
        }
    }
}
