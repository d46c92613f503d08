//! What a run tells: a violation or none, coverage, and how much happened.

use std::collections::BTreeMap;
use std::fmt;

use panchayat_consensus::{InstanceId, ReplicaId};

use crate::client::{Answer, ClientEvent, ReadSeen};
use crate::flaw::Flaw;
use crate::trace::Line;

/// A flaw, and where in which run it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The run.
    pub seed: u64,
    /// How many replicas it had.
    pub replicas: usize,
    /// The number of the event.
    pub step: u64,
    /// Virtual time, in microseconds.
    pub at_us: u64,
    /// The replica at work.
    pub replica: Option<usize>,
    /// What is wrong.
    pub flaw: Flaw,
}

/// How often things happened, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coverage(pub BTreeMap<String, u64>);

impl Coverage {
    /// Adds `count` to `name`. Of names that end in `_max` the largest count stays.
    pub fn add(&mut self, name: &str, count: u64) {
        match self.0.get_mut(name) {
            Some(largest) if name.ends_with("_max") => *largest = count.max(*largest),
            Some(total) => *total += count,
            None => _ = self.0.insert(name.to_owned(), count),
        }
    }

    /// Adds another run's counts.
    pub fn merge(&mut self, other: &Self) {
        other.0.iter().for_each(|(name, count)| self.add(name, *count));
    }

    /// The count of `name`.
    pub fn get(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or(0)
    }
}

/// A command was executed somewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Execution {
    /// In virtual time.
    pub at_us: u64,
    /// Where.
    pub replica: ReplicaId,
    /// Which.
    pub id: InstanceId,
}

/// One run.
#[derive(Clone, Debug)]
pub struct Report {
    /// Its seed.
    pub seed: u64,
    /// What was found, if anything.
    pub violation: Option<Violation>,
    /// How often what happened.
    pub coverage: Coverage,
    /// The fingerprint of everything that happened: equal for equal runs.
    pub trace_hash: u64,
    /// Commands that clients issued.
    pub commands: u64,
    /// Those answered.
    pub acknowledged: u64,
    /// Faults injected.
    pub faults: u64,
    /// Deaths of replicas.
    pub crashes: u64,
    /// Virtual time at the end, in microseconds.
    pub virtual_us: u64,
    /// Events.
    pub steps: u64,
    /// What clients saw.
    pub history: Vec<ClientEvent>,
    /// How long answered operations took, in the order of their answers.
    pub answers: Vec<Answer>,
    /// Queries answered, in the order of their answers.
    pub readings: Vec<ReadSeen>,
    /// Who executed what when, those after a restart once more.
    pub executions: Vec<Execution>,
    /// The readable trace, if it was asked for.
    pub lines: Option<Vec<Line>>,
}

impl Report {
    /// The last `count` lines of the trace that touch the violation's instance, or failing one
    /// happened at its replica; and all faults, deaths and starts among them.
    pub fn explanation(&self, count: usize) -> Vec<&Line> {
        let (Some(violation), Some(lines)) = (&self.violation, &self.lines) else {
            return Vec::new();
        };
        let touches = |line: &&Line| match violation.flaw.instance {
            Some(id) => {
                line.instance == Some(id) || (line.instance.is_none() && is_landmark(&line.text))
            }
            None => line.replica.map(usize::from_id) == violation.replica,
        };
        let mut chosen: Vec<&Line> = lines.iter().filter(touches).collect();
        chosen.drain(..chosen.len().saturating_sub(count));
        chosen
    }
}

fn is_landmark(text: &str) -> bool {
    ["DIES", "STARTS", "fault:", "====="].iter().any(|mark| text.starts_with(mark))
}

trait FromId {
    fn from_id(id: panchayat_consensus::ReplicaId) -> Self;
}

impl FromId for usize {
    fn from_id(id: panchayat_consensus::ReplicaId) -> Self {
        id.index()
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "seed {} with {} replicas, step {}, {}.{:03} ms: {}",
            self.seed,
            self.replicas,
            self.step,
            self.at_us / 1_000,
            self.at_us % 1_000,
            self.flaw
        )
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, count) in &self.0 {
            writeln!(f, "  {name:<28} {count:>12}")?;
        }
        Ok(())
    }
}
