//! Linearizability of one object: the search.
//!
//! Wing and Gong (1993) try, at every point, each operation that was invoked before the first
//! pending return; Lowe (2017) adds a memory of configurations already seen, (set of operations
//! linearized, state). Here it runs on an explicit stack, and seeks only orders of a certain form.
//! Every history that has an order at all has one of this form:
//!
//! * What leaves every state alone and may come next does come next: it hinders nothing.
//! * **Unknown outcomes** may be left out, and no order is sought from which one could be dropped.
//!   So an unknown operation changes the state, is not directly followed by one that overwrites
//!   whatever it finds, and leaves a state that some result bears out
//!   ([`Specification::may_be_seen`]). Of equal ones the one invoked first is used first.
//! * **Unseen overwrites** (of known outcome, leaving a state that no result bears out) come
//!   directly before the next overwrite after their invocation, or else as late as they may.
//!
//! And a state is not left for good while an operation that requires it waits (`demand`).

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::rc::Rc;

use super::demand::Demand;
use super::linearize::{Leaves, Limits, Search, Specification, Step};
use super::model::{Operation, Outcome};
use super::pending::{Event, Linearized, Pending};

/// Why an operation was linearized when it was.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reason {
    /// It was tried, with so many unseen overwrites before it; others can be tried instead.
    Tried { absorbed: usize },
    /// It belongs to the one tried after or before it.
    Implied,
}

/// One operation linearized: what to restore when it turns out wrong.
struct Choice {
    node: u32,
    op: u32,
    reason: Reason,
    state_before: u32,
    after_unknown_before: bool,
}

/// A search in progress.
pub(super) struct Searcher<'a, S: Specification> {
    specification: &'a S,
    operations: &'a [&'a Operation<S::Call, S::Result>],
    limits: Limits,
    pending: Pending,
    linearized: Linearized,
    demand: Demand<S::State>,
    known_left: usize,
    states: States<S::State>,
    state: u32,
    after_unknown: bool,
    /// Whether an operation is known to change nothing.
    idle: Vec<bool>,
    /// Whether an operation is an unseen overwrite.
    unseen: Vec<bool>,
    /// For an unknown operation, the equal one invoked before it.
    twin_before: Vec<Option<u32>>,
    configurations: HashSet<Box<[u64]>>,
    stack: Vec<Choice>,
    steps: u64,
}

impl<'a, S: Specification> Searcher<'a, S> {
    /// A search that has not begun.
    pub(super) fn new(
        specification: &'a S,
        operations: &'a [&'a Operation<S::Call, S::Result>],
        limits: Limits,
    ) -> Self {
        let demand = Demand::new(specification, operations);
        let mut states = States { ids: HashMap::new(), all: Vec::new() };
        let state = states.id(specification.initial());
        let pending = Pending::new(operations);
        Self {
            specification,
            operations,
            limits,
            linearized: Linearized::new(operations, &pending),
            demand,
            known_left: operations.iter().filter(|op| op.returned().is_some()).count(),
            states,
            state,
            after_unknown: false,
            idle: operations.iter().map(|op| is_idle(specification, op)).collect(),
            unseen: operations.iter().map(|op| is_unseen(specification, op)).collect(),
            twin_before: twins(operations, &pending),
            pending,
            configurations: HashSet::new(),
            stack: Vec::new(),
            steps: 0,
        }
    }

    /// Searches.
    pub(super) fn run(mut self) -> Search {
        let mut deepest: Option<(Vec<usize>, usize)> = None;
        self.add_idle();
        let mut node = self.pending.first();
        while self.known_left > 0 {
            let configurations = self.configurations.len();
            if self.steps >= self.limits.steps || configurations >= self.limits.configurations {
                return Search::Undecided { steps: self.steps };
            }
            match self.pending.event(node) {
                Event::Invoked(op) => {
                    let linearized = self.try_next(node, op);
                    node = if linearized { self.pending.first() } else { self.pending.after(node) };
                }
                Event::Returned(op) => {
                    let (longest, stuck) = match deepest.take() {
                        Some(deepest) if deepest.0.len() >= self.stack.len() => deepest,
                        _ => (self.order(), op as usize),
                    };
                    match self.take_back() {
                        Some(tried) => node = self.pending.after(tried),
                        None => return Search::Violated { longest, stuck },
                    }
                    deepest = Some((longest, stuck));
                }
            }
        }
        Search::Linearizable { order: self.order() }
    }

    fn order(&self) -> Vec<usize> {
        self.stack.iter().map(|choice| choice.op as usize).collect()
    }

    /// Linearizes `op` next, with what that implies, if it may be and leads somewhere new.
    fn try_next(&mut self, node: u32, op: u32) -> bool {
        let operation = self.operations[op as usize];
        let overwrites = self.specification.overwrites(operation.call());
        if overwrites && self.after_unknown
            || self.unseen[op as usize] && self.pending.first_return() != Some(op)
            || self.twin_before[op as usize].is_some_and(|twin| !self.linearized.contains(twin))
        {
            return false;
        }
        let unknown = matches!(operation.outcome(), Outcome::Unknown);
        let next = match self.execute(op) {
            Step::Rejected => return false,
            // Of an unknown operation that changes nothing nobody can tell: leave it out.
            Step::Same if unknown => return false,
            Step::Becomes(next) if unknown && !self.specification.may_be_seen(&next) => {
                return false;
            }
            Step::Same => self.state,
            Step::Becomes(next) => self.states.id(next),
        };
        let before = self.state;
        if unknown && next == before {
            return false;
        }
        let absorbed = if overwrites { self.absorb_unseen(op) } else { 0 };
        self.linearize(node, op, Reason::Tried { absorbed }, next);
        let stranded = next != before && self.demand.strands(&self.states.all[before as usize]);
        if !stranded {
            self.add_idle();
            let configuration = self.linearized.configuration(self.state, self.after_unknown);
            if self.configurations.insert(configuration) {
                return true;
            }
        }
        self.take_back();
        false
    }

    /// Linearizes all unseen overwrites that may come next but `op`; returns how many.
    fn absorb_unseen(&mut self, op: u32) -> usize {
        let depth = self.stack.len();
        let mut node = self.pending.first();
        while let Some(Event::Invoked(other)) = self.pending.get(node) {
            if other != op && self.unseen[other as usize] {
                node = self.linearize(node, other, Reason::Implied, self.state);
            } else {
                node = self.pending.after(node);
            }
        }
        self.stack.len() - depth
    }

    /// Linearizes everything that may come next and changes nothing in any state.
    fn add_idle(&mut self) {
        let mut node = self.pending.first();
        while let Some(Event::Invoked(op)) = self.pending.get(node) {
            if self.idle[op as usize] && self.execute(op) == Step::Same {
                node = self.linearize(node, op, Reason::Implied, self.state);
            } else {
                node = self.pending.after(node);
            }
        }
    }

    fn execute(&mut self, op: u32) -> Step<S::State> {
        self.steps += 1;
        let operation = self.operations[op as usize];
        let state = &self.states.all[self.state as usize];
        self.specification.step(state, operation.call(), operation.result())
    }

    /// Returns the event that now follows the one before `node`.
    fn linearize(&mut self, node: u32, op: u32, reason: Reason, next: u32) -> u32 {
        self.stack.push(Choice {
            node,
            op,
            reason,
            state_before: self.state,
            after_unknown_before: self.after_unknown,
        });
        let unknown = matches!(self.operations[op as usize].outcome(), Outcome::Unknown);
        self.known_left -= usize::from(!unknown);
        self.state = next;
        self.after_unknown = unknown;
        self.linearized.insert(op);
        self.demand.linearized(op);
        self.pending.lift(node)
    }

    /// Undoes the last operation tried and what it implied; returns its node. Without one tried,
    /// everything is undone.
    fn take_back(&mut self) -> Option<u32> {
        loop {
            let choice = self.undo()?;
            if let Reason::Tried { absorbed } = choice.reason {
                for _ in 0..absorbed {
                    self.undo();
                }
                return Some(choice.node);
            }
        }
    }

    fn undo(&mut self) -> Option<Choice> {
        let choice = self.stack.pop()?;
        self.known_left += usize::from(!self.after_unknown);
        self.state = choice.state_before;
        self.after_unknown = choice.after_unknown_before;
        self.linearized.remove(choice.op);
        self.demand.taken_back(choice.op);
        self.pending.put_back(choice.node);
        Some(choice)
    }
}

/// Whether `operation` is of known outcome and would change nothing, wherever it comes.
fn is_idle<S: Specification>(specification: &S, operation: &Operation<S::Call, S::Result>) -> bool {
    let leaves = |result| specification.leaves(operation.call(), Some(result));
    operation.result().is_some_and(|result| leaves(result) == Leaves::Nothing)
}

/// Whether `operation` is of known outcome and overwrites, and no result bears out what it leaves.
fn is_unseen<S: Specification>(
    specification: &S,
    operation: &Operation<S::Call, S::Result>,
) -> bool {
    if operation.returned().is_none() || !specification.overwrites(operation.call()) {
        return false;
    }
    let initial = specification.initial();
    match specification.step(&initial, operation.call(), operation.result()) {
        Step::Rejected => false,
        Step::Same => !specification.may_be_seen(&initial),
        Step::Becomes(state) => !specification.may_be_seen(&state),
    }
}

/// For each operation of unknown outcome, the last equal one invoked before it.
fn twins<C: Eq + Hash, R>(operations: &[&Operation<C, R>], pending: &Pending) -> Vec<Option<u32>> {
    let mut twins = vec![None; operations.len()];
    let mut last_equal: HashMap<&C, u32> = HashMap::new();
    for op in pending.invocations() {
        let operation = operations[op as usize];
        if matches!(operation.outcome(), Outcome::Unknown) {
            twins[op as usize] = last_equal.insert(operation.call(), op);
        }
    }
    twins
}

/// Numbers for states, so that configurations are small and quick to compare.
struct States<S> {
    ids: HashMap<Rc<S>, u32>,
    all: Vec<Rc<S>>,
}

impl<S: Eq + Hash> States<S> {
    fn id(&mut self, state: S) -> u32 {
        if let Some(&id) = self.ids.get(&state) {
            return id;
        }
        let id = self.all.len() as u32;
        let state = Rc::new(state);
        self.all.push(Rc::clone(&state));
        self.ids.insert(state, id);
        id
    }
}
