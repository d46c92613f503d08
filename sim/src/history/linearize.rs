//! Linearizability of one object: the search.
//!
//! Wing and Gong (1993) try, at every point, each operation that was invoked before the first
//! pending return; Lowe (2017) adds a memory of configurations already seen, (set of operations
//! linearized, state), which is what makes it usable. Here it runs on an explicit stack, and with
//! a bound on its work: the problem is NP-complete and a checker that hangs is no checker.
//!
//! **Unknown outcomes** never force themselves on the search: they may be left out. To keep the
//! choice small it only looks for orders from which no unknown operation could be dropped. In such
//! an order an unknown operation changes the state, is not directly followed by one that
//! overwrites whatever it finds, and leaves a state that some result bears out
//! ([`Specification::may_be_seen`]). Of equal unknown operations the one invoked first is used
//! first: none is bound to return.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::rc::Rc;

use super::model::{Operation, Outcome};
use super::pending::{Event, Linearized, Pending};

/// What one operation does to the state of the object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step<S> {
    /// It could not have had that result in that state.
    Rejected,
    /// It leaves the state as it is.
    Same,
    /// It leaves this state.
    Becomes(S),
}

/// The sequential behaviour of one object. It must be deterministic.
pub trait Specification {
    /// The object's state.
    type State: Clone + Eq + Hash;
    /// What can be asked. Equal calls do the same.
    type Call: Eq + Hash;
    /// What can be answered.
    type Result;

    /// The object before any operation.
    fn initial(&self) -> Self::State;

    /// Executes `call` in `state`. With a result, it must be the one that the call has there;
    /// without one (unknown outcome), whatever happens happens.
    fn step(
        &self,
        state: &Self::State,
        call: &Self::Call,
        result: Option<&Self::Result>,
    ) -> Step<Self::State>;

    /// Whether the call leaves a state that does not depend on the one it finds, and has the same
    /// result in every state.
    fn overwrites(&self, call: &Self::Call) -> bool;

    /// Whether some operation of the history could have seen `state`, or what later operations
    /// make of it. Answering `true` is always right; `false` spares the search work.
    fn may_be_seen(&self, state: &Self::State) -> bool;
}

/// How much the search may do before it gives up with [`Search::Undecided`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most operations tried.
    pub steps: u64,
    /// Most configurations remembered: bounds the memory, at about 100 bytes each when few
    /// operations are concurrent.
    pub configurations: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { steps: 20_000_000, configurations: 2_000_000 }
    }
}

/// What the search found. Operations are named by their position in the slice given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Search {
    /// This order explains every result. Unknown operations that are missing never took effect.
    Linearizable {
        /// The operations, in the order of their effects.
        order: Vec<usize>,
    },
    /// No order does.
    Violated {
        /// One of the longest orders that could be explained.
        longest: Vec<usize>,
        /// After it, this operation returned before anything could make its result right.
        stuck: usize,
    },
    /// The limits were reached first.
    Undecided {
        /// Operations tried.
        steps: u64,
    },
}

/// Searches for an order of `operations` that `specification` allows and real time permits.
pub fn linearize<S: Specification>(
    specification: &S,
    operations: &[&Operation<S::Call, S::Result>],
    limits: Limits,
) -> Search {
    Searcher::new(specification, operations, limits).run()
}

/// One operation linearized: what to restore when it turns out wrong.
struct Choice {
    node: u32,
    op: u32,
    state_before: u32,
    after_unknown_before: bool,
}

struct Searcher<'a, S: Specification> {
    specification: &'a S,
    operations: &'a [&'a Operation<S::Call, S::Result>],
    limits: Limits,
    pending: Pending,
    linearized: Linearized,
    known_left: usize,
    states: States<S::State>,
    state: u32,
    after_unknown: bool,
    /// For an unknown operation, the equal one invoked before it.
    twin_before: Vec<Option<u32>>,
    seen: HashSet<Box<[u64]>>,
    stack: Vec<Choice>,
    steps: u64,
}

impl<'a, S: Specification> Searcher<'a, S> {
    fn new(
        specification: &'a S,
        operations: &'a [&'a Operation<S::Call, S::Result>],
        limits: Limits,
    ) -> Self {
        let mut states = States { ids: HashMap::new(), all: Vec::new() };
        let state = states.id(specification.initial());
        let pending = Pending::new(operations);
        let twin_before = twins(operations, &pending);
        let known_left = operations.iter().filter(|op| op.returned().is_some()).count();
        Self {
            specification,
            operations,
            limits,
            linearized: Linearized::new(operations, &pending),
            pending,
            known_left,
            states,
            state,
            after_unknown: false,
            twin_before,
            seen: HashSet::new(),
            stack: Vec::new(),
            steps: 0,
        }
    }

    fn run(mut self) -> Search {
        let mut deepest: Option<(Vec<usize>, usize)> = None;
        let mut node = self.pending.first();
        while self.known_left > 0 {
            if self.steps >= self.limits.steps || self.seen.len() >= self.limits.configurations {
                return Search::Undecided { steps: self.steps };
            }
            match self.pending.event(node) {
                Event::Invoked(op) => {
                    let linearized = self.try_linearize(node, op);
                    node = if linearized { self.pending.first() } else { self.pending.after(node) };
                }
                Event::Returned(op) => {
                    let (longest, stuck) = match deepest.take() {
                        Some(deepest) if deepest.0.len() >= self.stack.len() => deepest,
                        _ => (self.order(), op as usize),
                    };
                    match self.stack.pop() {
                        Some(choice) => node = self.take_back(choice),
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

    /// Linearizes `op` next, if its result allows it and this leads somewhere new.
    fn try_linearize(&mut self, node: u32, op: u32) -> bool {
        let operation = self.operations[op as usize];
        if self.after_unknown && self.specification.overwrites(operation.call()) {
            return false;
        }
        if self.twin_before[op as usize].is_some_and(|twin| !self.linearized.contains(twin)) {
            return false;
        }
        self.steps += 1;
        let unknown = matches!(operation.outcome(), Outcome::Unknown);
        let state = &self.states.all[self.state as usize];
        let next = match self.specification.step(state, operation.call(), operation.result()) {
            Step::Rejected => return false,
            // Of an unknown operation that changes nothing nobody can tell: leave it out.
            Step::Same if unknown => return false,
            Step::Same => self.state,
            Step::Becomes(next) if unknown && !self.specification.may_be_seen(&next) => {
                return false;
            }
            Step::Becomes(next) => self.states.id(next),
        };
        if unknown && next == self.state {
            return false;
        }
        self.linearized.insert(op);
        if !self.seen.insert(self.linearized.configuration(next, unknown)) {
            self.linearized.remove(op);
            return false;
        }
        self.stack.push(Choice {
            node,
            op,
            state_before: self.state,
            after_unknown_before: self.after_unknown,
        });
        self.state = next;
        self.after_unknown = unknown;
        self.known_left -= usize::from(!unknown);
        self.pending.lift(node);
        true
    }

    /// Undoes `choice`; returns where to look for another.
    fn take_back(&mut self, choice: Choice) -> u32 {
        let unknown = self.after_unknown;
        self.known_left += usize::from(!unknown);
        self.state = choice.state_before;
        self.after_unknown = choice.after_unknown_before;
        self.linearized.remove(choice.op);
        self.pending.put_back(choice.node);
        self.pending.after(choice.node)
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
