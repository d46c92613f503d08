//! Queries: their footprints name what they look at.

use std::fmt::Debug;

use panchayat_consensus::Mode;
use panchayat_consensus::wire::to_bytes;

use super::draw::Draw;
use super::step::{Step, comes_back, decoded};
use super::violation::{Fault, Rule};
use super::{Generator, Report};
use crate::state_machine::StateMachine;

/// Asks between the `steps`: what does not conflict with a query must not change its answer.
pub(super) fn check<S>(
    new: &dyn Fn() -> S,
    steps: &[Step],
    query: &mut Generator<S::Query>,
    draw: &mut Draw,
    report: &mut Report,
) -> Result<(), Fault>
where
    S: StateMachine<Command: Debug, Query: Debug, Answer: Debug>,
{
    let mut machine = new();
    for step in steps {
        let asked = query(draw);
        let footprint = S::query_footprint(&asked);
        if let Some((key, mode)) = footprint.keys().iter().find(|(_, mode)| *mode != Mode::Read) {
            let text = format!("{asked:?} names {key:?} in mode {mode:?}");
            return Err((Rule::Query, text));
        }
        let bytes = comes_back("a query", &asked)?;
        let answer = |machine: &S| machine.query(decoded(&bytes));
        let (before, again) = (answer(&machine), answer(&machine));
        comes_back("an answer", &before)?;
        // An answer that changes by itself is allowed, but tells nothing.
        let steady = to_bytes(&before) == to_bytes(&again);
        step.apply(&mut machine);
        if steady && !footprint.conflicts(&step.footprint) {
            let now = answer(&machine);
            if to_bytes(&now) != to_bytes(&before) {
                let text = format!(
                    "{asked:?}, which looks at {footprint:?}, answers {before:?} before and \
                     {now:?} after a command that does not conflict with it:\n  {}\n    touches \
                     {:?}",
                    step.text::<S>(),
                    step.footprint
                );
                return Err((Rule::Query, text));
            }
            report.queries += 1;
        }
    }
    Ok(())
}
