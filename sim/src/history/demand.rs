//! Which states are still required, and which can still come about.
//!
//! A read that returned 7 needs the state 7. If that state is about to be left while the read
//! cannot come yet, and no operation that is left makes it 7 again, the search is on a wrong track
//! and need not find out the long way.

use std::collections::HashMap;
use std::hash::Hash;

use super::linearize::{Leaves, Specification};
use super::model::{Operation, Outcome};

/// Counts, for every state that some operation requires, what is not linearized yet.
pub(super) struct Demand<S> {
    numbers: HashMap<S, u32>,
    /// How many operations require the state.
    waiting: Vec<u32>,
    /// How many operations may bring it about.
    makers: Vec<u32>,
    /// What each operation requires, and what it may bring about.
    of_operation: Vec<(Option<u32>, Vec<u32>)>,
}

impl<S: Eq + Hash> Demand<S> {
    /// Nothing of `operations` is linearized.
    pub(super) fn new<P: Specification<State = S>>(
        specification: &P,
        operations: &[&Operation<P::Call, P::Result>],
    ) -> Self {
        let mut numbers: HashMap<S, u32> = HashMap::new();
        let mut of_operation: Vec<(Option<u32>, Vec<u32>)> = Vec::new();
        for operation in operations {
            let required = operation
                .result()
                .and_then(|result| specification.requires(operation.call(), result))
                .map(|state| {
                    let next = numbers.len() as u32;
                    *numbers.entry(state).or_insert(next)
                });
            of_operation.push((required, Vec::new()));
        }
        for (operation, (_, makes)) in operations.iter().zip(&mut of_operation) {
            if matches!(operation.outcome(), Outcome::Failed) {
                continue;
            }
            match specification.leaves(operation.call(), operation.result()) {
                Leaves::Nothing => {}
                Leaves::Exactly(state) => makes.extend(numbers.get(&state)),
                Leaves::Unclear => {
                    let may = |state: &S| specification.may_leave(operation.call(), state);
                    makes.extend(numbers.iter().filter(|(state, _)| may(state)).map(|(_, n)| n));
                }
            }
        }
        let mut demand = Self {
            waiting: vec![0; numbers.len()],
            makers: vec![0; numbers.len()],
            numbers,
            of_operation,
        };
        for op in 0..operations.len() as u32 {
            demand.taken_back(op);
        }
        demand
    }

    /// `op` is linearized now.
    pub(super) fn linearized(&mut self, op: u32) {
        let (required, makes) = &self.of_operation[op as usize];
        required.iter().for_each(|&state| self.waiting[state as usize] -= 1);
        makes.iter().for_each(|&state| self.makers[state as usize] -= 1);
    }

    /// `op` is not linearized any more.
    pub(super) fn taken_back(&mut self, op: u32) {
        let (required, makes) = &self.of_operation[op as usize];
        required.iter().for_each(|&state| self.waiting[state as usize] += 1);
        makes.iter().for_each(|&state| self.makers[state as usize] += 1);
    }

    /// Whether somebody waits for `state`, and it never comes about again once it is left.
    pub(super) fn strands(&self, state: &S) -> bool {
        self.numbers.get(state).is_some_and(|&number| {
            self.waiting[number as usize] > 0 && self.makers[number as usize] == 0
        })
    }
}
