//! Scripts without chance: no jitter, no faults, no disk latency. What comes out is what the
//! latency formulas say, to the microsecond.

use panchayat_consensus::Path;
use panchayat_core::kv::KvCommand;

use crate::fault::{Fault, Planned};
use crate::network::LinkId;
use crate::report::Violation;
use crate::run::{finish, guarded};
use crate::setup::Setup;
use crate::subject::{Subject, Tuning};
use crate::world::World;

/// A script over a matrix of one-way delays.
#[derive(Clone, Debug)]
pub struct Exact {
    setup: Setup,
    proposals: Vec<(u64, usize, KvCommand)>,
}

/// What became of one proposal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// From the proposal to its durable decision, in microseconds.
    pub commit_us: u64,
    /// How it was decided.
    pub path: Path,
    /// From the proposal to its execution at its origin, in microseconds.
    pub execute_us: u64,
}

impl Exact {
    /// An empty script; `delays_us[from][to]` are one-way delays.
    pub fn new(delays_us: Vec<Vec<u64>>) -> Self {
        let mut setup = Setup::calm(delays_us);
        setup.durability_scan = false;
        Self { setup, proposals: Vec::new() }
    }

    /// Changes what the protocol is configured with.
    pub fn tuned(mut self, change: impl FnOnce(&mut Tuning)) -> Self {
        change(&mut self.setup.tuning);
        self
    }

    /// A client of `replica` proposes `command` at `at_us`.
    pub fn propose(mut self, at_us: u64, replica: usize, command: KvCommand) -> Self {
        self.proposals.push((at_us, replica, command));
        self.setup.safety_us = self.setup.safety_us.max(at_us + 10_000_000);
        self
    }

    /// What is sent over `link` between `from_us` and `until_us` takes `extra_us` longer.
    pub fn delay(mut self, link: LinkId, from_us: u64, until_us: u64, extra_us: u64) -> Self {
        let fault = Fault::Spike { links: vec![link], extra_us, us: until_us - from_us };
        self.setup.plan.push(Planned { at_us: from_us, fault });
        // What is held back does not hold back what is sent later.
        self.setup.fifo = false;
        self
    }

    /// Runs the script.
    ///
    /// # Errors
    /// Whatever a check found, a proposal that was never decided or executed included.
    pub fn run<P: Subject>(self) -> Result<Vec<Outcome>, Box<Violation>> {
        let mut world = World::<P>::new(0, self.setup, false);
        for (at_us, replica, command) in self.proposals {
            world.add_script(at_us, replica, command);
        }
        let outcome = guarded(&mut world);
        let outcomes = world.script.iter().filter_map(|scripted| {
            let (committed_us, path) = scripted.committed?;
            Some(Outcome {
                commit_us: committed_us - scripted.proposed_us,
                path,
                execute_us: scripted.executed_us? - scripted.proposed_us,
            })
        });
        let outcomes: Vec<Outcome> = outcomes.collect();
        match finish(world, outcome.err()).violation {
            None => Ok(outcomes),
            Some(violation) => Err(Box::new(violation)),
        }
    }
}
