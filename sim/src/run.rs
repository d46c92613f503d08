//! Running one seed, and ranges of seeds over threads.

use std::any::Any;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::flaw::{Flaw, Invariant};
use crate::judge::judge;
use crate::report::{Coverage, Report, Violation};
use crate::rng::Rng;
use crate::setup::Setup;
use crate::subject::{Checks, Subject};
use crate::world::World;

/// What clients ask for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Load {
    /// Whatever the seed draws.
    #[default]
    Drawn,
    /// Every seed has accounts, and clients that try again at other replicas.
    Ledger,
}

/// What to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Replicas, from 3.
    pub replicas: usize,
    /// What is asked of them.
    pub load: Load,
    /// Whether to keep a readable trace.
    pub text: bool,
}

impl Options {
    /// `replicas` replicas, no text.
    pub fn new(replicas: usize) -> Self {
        Self { replicas, load: Load::Drawn, text: false }
    }

    /// The run of a seed.
    pub fn setup<P: Subject>(&self, seed: u64) -> Setup {
        let mut setup = P::draw(seed, self.replicas);
        if self.load == Load::Ledger {
            setup.workload.carry_ledger(&mut Rng::new(seed, "ledger"));
        }
        setup
    }
}

/// Many runs together.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Runs.
    pub runs: u64,
    /// What was found.
    pub violations: Vec<Violation>,
    /// All coverage.
    pub coverage: Coverage,
    /// Commands, faults and crashes of each run, for medians.
    pub strengths: Vec<Strength>,
}

/// How hard one run tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Strength {
    /// Commands issued.
    pub commands: u64,
    /// Faults injected.
    pub faults: u64,
    /// Deaths of replicas.
    pub crashes: u64,
}

/// Runs the run that `seed` draws.
pub fn run_seed<P: Subject>(seed: u64, options: &Options) -> Report {
    run_setup::<P>(seed, options.setup::<P>(seed), options.text)
}

/// Runs `setup`; `seed` decides what is left to chance.
pub fn run_setup<P: Subject>(seed: u64, setup: Setup, text: bool) -> Report {
    let world = World::<P>::new(seed, setup, text);
    run_world(world)
}

pub(crate) fn run_world<P: Subject>(mut world: World<P>) -> Report {
    let outcome = guarded(&mut world);
    finish(world, outcome.err())
}

/// Runs to the end; an assertion that fails is a flaw like others.
pub(crate) fn guarded<P: Subject>(world: &mut World<P>) -> Result<(), Flaw> {
    match catch_unwind(AssertUnwindSafe(|| world.run())) {
        Ok(outcome) => outcome,
        Err(panic) => Err(Flaw {
            invariant: Invariant::Panic,
            instance: world.touched.last().copied(),
            text: format!("r{:?}: {}", world.working, panic_text(&*panic)),
        }),
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic").to_owned()
}

pub(crate) fn finish<P: Subject>(world: World<P>, flaw: Option<Flaw>) -> Report {
    let judged = judge(&world.history);
    let flaw = flaw.or_else(|| judged.as_ref().err().cloned());
    let judged = judged.unwrap_or_default();
    let violation = flaw.map(|flaw| Violation {
        seed: world.seed,
        replicas: world.setup.founders(),
        step: world.step,
        at_us: world.now_us,
        replica: world.working,
        flaw,
    });
    let mut coverage = Coverage::default();
    for (label, count) in P::LABELS.iter().zip(&world.stats.messages) {
        coverage.add(&format!("sent {label}"), *count);
    }
    world.stats.named.iter().for_each(|(name, count)| coverage.add(name, *count));
    for group in world.nodes.iter().filter_map(|node| node.group.as_ref()) {
        for (name, count) in group.protocol().counters() {
            coverage.add(name, count);
        }
    }
    world.checks.coverage(&mut |name, count| coverage.add(name, count));
    let stats = &world.stats;
    for (name, count) in [
        ("restarts", world.nodes.iter().map(|n| u64::from(n.incarnation)).sum()),
        ("torn_tails", stats.torn_tails),
        ("refused_journals", stats.refused_journals),
        ("sync_errors", stats.sync_errors),
        ("suspicions", stats.suspicions),
        ("executions", stats.executions),
        ("acknowledged", stats.acknowledged),
        ("unknown", stats.unknown),
        ("rejected", stats.rejected),
        ("judged_register_operations", judged.register_operations),
        ("judged_registers_undecided", judged.undecided_registers),
        ("judged_account_reads", judged.account_reads),
        ("judged_list_transactions", judged.list_transactions),
    ] {
        coverage.add(name, count);
    }
    Report {
        seed: world.seed,
        violation,
        coverage,
        trace_hash: world.trace.hash(),
        commands: stats.commands,
        acknowledged: stats.acknowledged,
        faults: stats.faults,
        crashes: stats.crashes,
        virtual_us: world.now_us,
        steps: world.step,
        history: world.history,
        answers: world.answers,
        readings: world.readings,
        executions: world.executions,
        lines: world.trace.into_lines(),
    }
}

/// Runs a range of seeds on `jobs` threads. `progress` sees every report.
pub fn run_range<P: Subject>(
    seeds: Range<u64>,
    jobs: usize,
    options: &Options,
    progress: impl Fn(&Report) + Sync,
) -> Summary {
    let next = AtomicU64::new(seeds.start);
    let summary = Mutex::new(Summary::default());
    std::thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    let report = run_seed::<P>(seed, options);
                    progress(&report);
                    summary.lock().unwrap_or_else(|poison| poison.into_inner()).add(report);
                }
            });
        }
    });
    let mut summary = summary.into_inner().unwrap_or_else(|poison| poison.into_inner());
    summary.violations.sort_by_key(|violation| violation.seed);
    summary
}

impl Summary {
    fn add(&mut self, report: Report) {
        self.runs += 1;
        self.coverage.merge(&report.coverage);
        self.violations.extend(report.violation);
        self.strengths.push(Strength {
            commands: report.commands,
            faults: report.faults,
            crashes: report.crashes,
        });
    }

    /// The median of one measure of strength.
    pub fn median(&self, of: impl Fn(&Strength) -> u64) -> u64 {
        let mut all: Vec<u64> = self.strengths.iter().map(of).collect();
        all.sort_unstable();
        all.get(all.len() / 2).copied().unwrap_or(0)
    }
}
