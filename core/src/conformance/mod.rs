//! Conformance suites for state machines: the rules of [`StateMachine`] as a test.
//!
//! A replica believes what its state machine says of itself: that `apply` is deterministic, that a
//! footprint names everything that is touched, that a snapshot is the state. A mistake there makes
//! replicas differ without anybody noticing for a while. A [`Suite`] plays random scripts of
//! commands, which a generator of yours draws, and checks every [`Rule`] as far as it can be
//! observed from outside:
//!
//! * the same script twice, side by side;
//! * scripts in other orders that keep conflicting commands as they are, which is what other
//!   replicas execute in;
//! * the state frozen somewhere, written while commands go on, read back, and gone on with;
//! * queries around commands that do not conflict with them.
//!
//! What it finds is a [`Violation`] that names the commands. What it does not find may still be
//! wrong: draw few keys, so that commands meet, and every command there is.
//!
//! ```
//! use panchayat_core::conformance::Suite;
//! use panchayat_core::kv::{KvCommand, KvOp, KvQuery, KvStore};
//!
//! # fn main() -> Result<(), panchayat_core::conformance::Violation> {
//! let report = Suite::new(KvStore::default, |draw| {
//!     let key = draw.pick(&["a", "b", "c"]).as_bytes().into();
//!     KvCommand::One(match draw.below(3) {
//!         0 => KvOp::Get { key },
//!         1 => KvOp::Delete { key },
//!         _ => KvOp::Append { key, suffix: "x".into() },
//!     })
//! })
//! .queries(|draw| KvQuery::Get { key: draw.pick(&["a", "b", "c"]).as_bytes().into() })
//! .run()?;
//! assert!(report.reordered > 0, "the generator never drew commands that may pass each other");
//! # Ok(())
//! # }
//! ```

mod draw;
mod order;
mod query;
mod repeat;
mod snapshot;
mod step;
#[cfg(test)]
mod tests;
mod violation;

use std::fmt;

pub use draw::Draw;
pub use violation::{Rule, Violation};

use self::step::Step;
use self::violation::Fault;
use crate::state_machine::StateMachine;

/// Rounds unless more or fewer are asked for.
const ROUNDS: u32 = 200;
/// Commands of a round unless more or fewer are asked for.
const COMMANDS: usize = 40;

type Generator<T> = Box<dyn FnMut(&mut Draw) -> T>;

/// The test of a state machine. Equal suites find equal things.
pub struct Suite<S: StateMachine> {
    new: Box<dyn Fn() -> S>,
    command: Generator<S::Command>,
    query: Option<Generator<S::Query>>,
    seed: u64,
    rounds: u32,
    commands: usize,
}

/// What a suite has seen: a suite that saw little says little.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// Commands of all scripts.
    pub commands: u64,
    /// Those that changed the state hash.
    pub changes: u64,
    /// Pairs of commands that were applied in both orders.
    pub reordered: u64,
    /// Commands that only commute.
    pub commuting: u64,
    /// States that were written and read back.
    pub snapshots: u64,
    /// Queries asked before and after a command that does not conflict.
    pub queries: u64,
}

impl<S: StateMachine> Suite<S> {
    /// A suite for the machine that `new` makes, with commands drawn by `command`.
    pub fn new(
        new: impl Fn() -> S + 'static,
        command: impl FnMut(&mut Draw) -> S::Command + 'static,
    ) -> Self {
        Self {
            new: Box::new(new),
            command: Box::new(command),
            query: None,
            seed: 1,
            rounds: ROUNDS,
            commands: COMMANDS,
        }
    }

    /// Tests queries too, drawn by `query`.
    pub fn queries(mut self, query: impl FnMut(&mut Draw) -> S::Query + 'static) -> Self {
        self.query = Some(Box::new(query));
        self
    }

    /// Other draws.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// How many scripts; 200 unless changed.
    pub fn rounds(mut self, rounds: u32) -> Self {
        self.rounds = rounds;
        self
    }

    /// How many commands a script has; 40 unless changed.
    pub fn commands(mut self, commands: usize) -> Self {
        self.commands = commands;
        self
    }
}

impl<S> Suite<S>
where
    S: StateMachine<Command: fmt::Debug, Output: fmt::Debug, Query: fmt::Debug, Answer: fmt::Debug>,
{
    /// Runs it.
    ///
    /// # Errors
    /// The first [`Violation`] found.
    ///
    /// # Panics
    /// If the state machine does.
    pub fn run(mut self) -> Result<Report, Violation> {
        let mut report = Report::default();
        let seed = self.seed;
        let found = |round: u32| move |(rule, text): Fault| Violation { rule, seed, round, text };
        for round in 0..self.rounds {
            let mut draw = Draw::new(seed);
            let mut draw = Draw::new(draw.bits() ^ u64::from(round));
            self.round(&mut draw, &mut report).map_err(found(round))?;
        }
        if report.commands > 0 && report.changes == 0 {
            let text = format!("none of {} commands changed it", report.commands);
            return Err(found(self.rounds)((Rule::Fingerprint, text)));
        }
        Ok(report)
    }

    fn round(&mut self, draw: &mut Draw, report: &mut Report) -> Result<(), Fault> {
        let mut steps = Vec::with_capacity(self.commands);
        for at in 0..self.commands {
            let command = (self.command)(draw);
            steps.push(Step::new::<S>(&command, at, draw)?);
        }
        let (outputs, hash) = repeat::check::<S>(&self.new, &steps, report)?;
        snapshot::check::<S>(&self.new, &steps, (&outputs, hash), draw, report)?;
        order::check::<S>(&self.new, &steps, (&outputs, hash), draw, report)?;
        match &mut self.query {
            Some(query) => query::check::<S>(&self.new, &steps, query, draw, report),
            None => Ok(()),
        }
    }
}

impl<S: StateMachine> fmt::Debug for Suite<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, rounds, commands, .. } = self;
        let mut shown = f.debug_struct("Suite");
        shown.field("seed", seed).field("rounds", rounds).field("commands", commands);
        shown.finish_non_exhaustive()
    }
}
