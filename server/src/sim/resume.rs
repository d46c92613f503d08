//! Runs that add up: which seeds were run, and what they showed.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use panchayat_sim::{Coverage, Violation};
use serde::{Deserialize, Serialize};

use crate::cli;
use crate::errors::CliError;

/// What has been run so far.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Done {
    /// The commit that ran, which protocol and load, and how many replicas. Runs of another do not
    /// add up.
    commit: String,
    protocol: String,
    load: String,
    replicas: usize,
    /// Disjoint, ascending.
    pub(crate) seeds: Vec<Range<u64>>,
    pub(crate) violations: Vec<Found>,
    pub(crate) coverage: BTreeMap<String, u64>,
    pub(crate) strengths: Vec<Strength>,
    pub(crate) seconds: f64,
}

/// A violation, as it is told to machines.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Found {
    pub(crate) seed: u64,
    pub(crate) invariant: String,
    pub(crate) step: u64,
    pub(crate) text: String,
}

/// How much happened in one run.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Strength {
    pub(crate) commands: u64,
    pub(crate) faults: u64,
    pub(crate) crashes: u64,
}

impl Found {
    pub(crate) fn of(violation: &Violation) -> Self {
        Self {
            seed: violation.seed,
            invariant: format!("{:?}", violation.flaw.invariant),
            step: violation.step,
            text: violation.to_string(),
        }
    }
}

impl Strength {
    pub(crate) fn of(strength: &panchayat_sim::Strength) -> Self {
        let panchayat_sim::Strength { commands, faults, crashes } = *strength;
        Self { commands, faults, crashes }
    }
}

impl Done {
    /// What the file at `path` says; nothing if there is none.
    ///
    /// # Errors
    /// If it cannot be read, or is of another commit or size.
    pub(crate) fn load(path: &Path, wanted: &cli::Sim) -> Result<Self, CliError> {
        let failed = |what: String| CliError::Resume { path: path.to_owned(), what };
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Self::default());
            }
            Err(error) => return Err(failed(error.to_string())),
        };
        let done: Self = serde_json::from_str(&text).map_err(|error| failed(error.to_string()))?;
        let (protocol, load, replicas) =
            (wanted.protocol.name(), wanted.load.name(), wanted.replicas);
        let held = (done.protocol.as_str(), done.load.as_str(), done.replicas);
        let same = held == (protocol, load, replicas);
        if done.commit != panchayat_bench::COMMIT || !same {
            return Err(failed(format!(
                "it holds runs of {} replicas of {} under {} load at commit {}, which do not add \
                 up with {replicas} of {protocol} under {load} load at {}",
                done.replicas,
                done.protocol,
                done.load,
                done.commit,
                panchayat_bench::COMMIT
            )));
        }
        Ok(done)
    }

    /// Writes it beside, then renames, so that an interrupted save loses nothing.
    pub(crate) fn save(&mut self, path: &Path, of: &cli::Sim) -> Result<(), CliError> {
        self.commit = panchayat_bench::COMMIT.to_owned();
        self.protocol = of.protocol.name().to_owned();
        self.load = of.load.name().to_owned();
        self.replicas = of.replicas;
        let beside = path.with_extension("new");
        let failed = |error: std::io::Error| CliError::Resume {
            path: path.to_owned(),
            what: error.to_string(),
        };
        let text = serde_json::to_string(self).map_err(|error| failed(error.into()))?;
        std::fs::write(&beside, text).map_err(failed)?;
        std::fs::rename(&beside, path).map_err(failed)
    }

    /// The seeds of `wanted` that were not run, in pieces of at most `chunk`.
    pub(crate) fn missing(&self, wanted: &Range<u64>, chunk: u64) -> Vec<Range<u64>> {
        let mut missing = Vec::new();
        let mut at = wanted.start;
        let beyond = wanted.end..wanted.end;
        for done in self.seeds.iter().chain([&beyond]) {
            let end = done.start.min(wanted.end);
            while at < end {
                let piece = at..end.min(at + chunk);
                at = piece.end;
                missing.push(piece);
            }
            at = at.max(done.end);
        }
        missing
    }

    /// Seeds run.
    pub(crate) fn runs(&self) -> u64 {
        self.seeds.iter().map(|seeds| seeds.end - seeds.start).sum()
    }

    /// The median of a number over all runs.
    pub(crate) fn median(&self, of: impl Fn(&Strength) -> u64) -> u64 {
        let mut values: Vec<_> = self.strengths.iter().map(of).collect();
        values.sort_unstable();
        values.get(values.len() / 2).copied().unwrap_or(0)
    }

    /// What all of it came to.
    pub(crate) fn coverage(&self) -> Coverage {
        Coverage(self.coverage.clone())
    }

    pub(super) fn note(&mut self, seeds: Range<u64>) {
        self.seeds.push(seeds);
        self.seeds.sort_by_key(|seeds| seeds.start);
        self.seeds.dedup_by(|later, earlier| {
            let touching = later.start <= earlier.end;
            if touching {
                earlier.end = earlier.end.max(later.end);
            }
            touching
        });
    }
}

#[cfg(test)]
#[allow(clippy::single_range_in_vec_init, reason = "lists of ranges are what is tested")]
mod tests {
    use super::*;
    use clap::Parser as _;

    #[test]
    fn what_was_run_is_not_run_again() {
        let mut done = Done::default();
        assert_eq!(done.missing(&(0..5), 2), [0..2, 2..4, 4..5]);
        done.note(4..6);
        done.note(0..2);
        assert_eq!(done.missing(&(0..10), 100), [2..4, 6..10]);
        done.note(2..4);
        assert_eq!(done.seeds, [0..6]);
        assert_eq!(done.missing(&(1..6), 100), []);
        assert_eq!(done.runs(), 6);
    }

    #[test]
    fn a_saved_run_comes_back_and_one_of_another_size_or_protocol_is_refused() {
        let sim_of = |protocol, replicas, load| {
            let words = [
                ["panchayat", "sim"],
                ["--protocol", protocol],
                ["--replicas", replicas],
                ["--load", load],
            ]
            .concat();
            match cli::Cli::parse_from(words).command {
                cli::Command::Sim(sim) => sim,
                other => panic!("{other:?}"),
            }
        };
        let sim = |protocol, replicas| sim_of(protocol, replicas, "drawn");
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("runs.json");
        let (three, five) = (sim("epaxos", "3"), sim("epaxos", "5"));
        let mut done = Done::load(&path, &three).unwrap();
        done.note(0..7);
        done.save(&path, &three).unwrap();
        assert_eq!(Done::load(&path, &three).unwrap().seeds, [0..7]);
        Done::load(&path, &sim("multipaxos", "3")).unwrap_err();
        Done::load(&path, &sim_of("epaxos", "3", "ledger")).unwrap_err();
        let refused = Done::load(&path, &five).unwrap_err().to_string();
        assert!(refused.contains("runs of 3 replicas"), "{refused}");
    }
}
