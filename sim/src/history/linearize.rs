//! Linearizability of one object: what is asked, and what is answered.
//!
//! The search itself is in `search`. The problem is NP-complete, so the search is given a bound on
//! its work and may answer that it does not know: a checker that hangs is no checker.

use std::hash::Hash;

use super::model::Operation;
use super::search::Searcher;

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

    /// Whether it makes a difference to the result of some operation of the history that it finds
    /// `state`, or finds what non-overwriting operations made of it. Answering `true` is always
    /// right; `false` spares the search work.
    fn may_be_seen(&self, _state: &Self::State) -> bool {
        true
    }

    /// The one state that a call so answered must have found, if there is just one and it can be
    /// told. Answering `None` is always right.
    fn requires(&self, _call: &Self::Call, _result: &Self::Result) -> Option<Self::State> {
        None
    }

    /// Which states a call so answered may have put in the place of others. Answering
    /// [`Leaves::Unclear`] is always right.
    fn leaves(&self, _call: &Self::Call, _result: Option<&Self::Result>) -> Leaves<Self::State> {
        Leaves::Unclear
    }

    /// Whether a call of which it is unclear what it leaves may leave `state`. Answering `true` is
    /// always right.
    fn may_leave(&self, _call: &Self::Call, _state: &Self::State) -> bool {
        true
    }
}

/// What a call may leave in the place of another state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Leaves<S> {
    /// It changes nothing.
    Nothing,
    /// This state, if any.
    Exactly(S),
    /// It depends: see [`Specification::may_leave`].
    Unclear,
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
