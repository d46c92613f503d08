//! The trace of a run: always a fingerprint, and text when someone wants to read it.
//!
//! Text costs more than the simulation, so a run records only the fingerprint. A violation is then
//! explained by running its seed again with text: runs are deterministic.

use std::fmt;

use panchayat_consensus::{InstanceId, ReplicaId};

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Virtual time, in microseconds.
    pub at_us: u64,
    /// The number of the event that led to it.
    pub step: u64,
    /// Where it happened.
    pub replica: Option<ReplicaId>,
    /// The instance it touches.
    pub instance: Option<InstanceId>,
    /// What.
    pub text: String,
}

/// The trace of a run so far.
#[derive(Debug)]
pub struct Trace {
    hash: u64,
    lines: Option<Vec<Line>>,
    position: (u64, u64),
}

impl Trace {
    /// An empty trace; with text only if `text`.
    pub fn new(text: bool) -> Self {
        Self { hash: 0x243f_6a88_85a3_08d3, lines: text.then(Vec::new), position: (0, 0) }
    }

    /// What follows happens at `at_us` in `step`.
    pub(crate) fn at(&mut self, at_us: u64, step: u64) {
        self.position = (at_us, step);
        self.mix(at_us);
    }

    /// Adds `bits` to the fingerprint.
    pub(crate) fn mix(&mut self, bits: u64) {
        self.hash = (self.hash.rotate_left(23) ^ bits).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    /// Adds a line, if text is wanted. `text` is not called otherwise.
    pub(crate) fn line(
        &mut self,
        replica: Option<ReplicaId>,
        instance: Option<InstanceId>,
        text: impl FnOnce() -> String,
    ) {
        if let Some(lines) = &mut self.lines {
            let (at_us, step) = self.position;
            lines.push(Line { at_us, step, replica, instance, text: text() });
        }
    }

    /// The fingerprint of everything so far.
    pub fn hash(&self) -> u64 {
        self.hash ^ (self.hash >> 29)
    }

    /// The text so far, if it was wanted.
    pub fn into_lines(self) -> Option<Vec<Line>> {
        self.lines
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>6}.{:03}ms #{:<6} ", self.at_us / 1_000, self.at_us % 1_000, self.step)?;
        match self.replica {
            Some(replica) => write!(f, "{replica:<3} ")?,
            None => f.write_str("    ")?,
        }
        f.write_str(&self.text)
    }
}
