//! Footprint honesty: commands that do not conflict, in another order.
//!
//! What `apply` touches cannot be observed, but what replicas would see can: every order that
//! keeps conflicting commands as they are is one that some replica may execute in. If outputs and
//! hashes are the same in all of them, the footprints say enough.

use std::fmt::Debug;

use bytes::Bytes;

use super::Report;
use super::draw::Draw;
use super::step::{Step, after, hashes, output_text};
use super::violation::{Fault, Rule};
use crate::state_machine::{StateHash, StateMachine};

/// Applies `steps` in other orders, where `outputs` and `hash` are right.
pub(super) fn check<S>(
    new: &dyn Fn() -> S,
    steps: &[Step],
    (outputs, hash): (&[Bytes], StateHash),
    draw: &mut Draw,
    report: &mut Report,
) -> Result<(), Fault>
where
    S: StateMachine<Command: Debug, Output: Debug>,
{
    let latest_first = |ready: &[usize], _: &mut Draw| ready.len() - 1;
    let any = |ready: &[usize], draw: &mut Draw| draw.below(ready.len() as u64) as usize;
    for order in [reordered(steps, draw, latest_first), reordered(steps, draw, any)] {
        report.reordered += inversions(&order);
        let (machine, again) = after(new, order.iter().map(|at| &steps[*at]));
        let differs = order.iter().zip(&again).find(|(at, output)| outputs[**at] != **output);
        if differs.is_none() && machine.state_hash() == hash {
            continue;
        }
        let text = explain::<S>(new, steps, &order).unwrap_or_else(|| match differs {
            Some((at, output)) => format!(
                "in an order that keeps conflicting commands as they were, {} answers {}, where \
                 it was {}",
                steps[*at].text::<S>(),
                output_text::<S>(output),
                output_text::<S>(&outputs[*at]),
            ),
            None => format!(
                "in an order that keeps conflicting commands as they were, {}",
                hashes(machine.state_hash(), hash)
            ),
        });
        return Err((Rule::Footprint, text));
    }
    Ok(())
}

/// An order of `steps` that keeps conflicting ones as they are; `choose` says which comes next.
fn reordered(
    steps: &[Step],
    draw: &mut Draw,
    choose: impl Fn(&[usize], &mut Draw) -> usize,
) -> Vec<usize> {
    let mut left: Vec<usize> = (0..steps.len()).collect();
    let mut order = Vec::with_capacity(steps.len());
    while !left.is_empty() {
        let is_ready = |at: &usize| {
            let mut earlier = left.iter().take_while(|other| *other < at);
            !earlier.any(|other| steps[*other].footprint.conflicts(&steps[*at].footprint))
        };
        let ready: Vec<usize> = left.iter().copied().filter(is_ready).collect();
        let next = ready[choose(&ready, draw)];
        left.retain(|at| *at != next);
        order.push(next);
    }
    order
}

fn inversions(order: &[usize]) -> u64 {
    let behind = |(at, first): (usize, &usize)| {
        order[at + 1..].iter().filter(|second| *second < first).count() as u64
    };
    order.iter().enumerate().map(behind).sum()
}

/// Goes from the first order to `order` by swaps of neighbours, and tells of the first swap that
/// can be noticed.
fn explain<S>(new: &dyn Fn() -> S, steps: &[Step], order: &[usize]) -> Option<String>
where
    S: StateMachine<Command: Debug, Output: Debug>,
{
    let mut current: Vec<usize> = (0..steps.len()).collect();
    for (place, wanted) in order.iter().enumerate() {
        let mut at = current.iter().position(|step| step == wanted)?;
        while at > place {
            if let Some(text) =
                differs::<S>(new, steps, &current[..at - 1], current[at - 1], *wanted)
            {
                return Some(text);
            }
            current.swap(at - 1, at);
            at -= 1;
        }
    }
    None
}

/// What tells `first`, `second` from `second`, `first`.
fn differs<S>(
    new: &dyn Fn() -> S,
    steps: &[Step],
    before: &[usize],
    first: usize,
    second: usize,
) -> Option<String>
where
    S: StateMachine<Command: Debug, Output: Debug>,
{
    let run = |order: [usize; 2]| {
        let order = before.iter().copied().chain(order);
        let (machine, mut outputs) = after(new, order.map(|at| &steps[at]));
        let last = outputs.split_off(before.len());
        (machine.state_hash(), last)
    };
    let (hash, outputs) = run([first, second]);
    let (other_hash, other_outputs) = run([second, first]);
    let what = if other_outputs[1] != outputs[0] {
        let (was, is) = (output_text::<S>(&outputs[0]), output_text::<S>(&other_outputs[1]));
        format!("the first answers {was} when it comes first, and {is} when it comes second")
    } else if other_outputs[0] != outputs[1] {
        let (was, is) = (output_text::<S>(&outputs[1]), output_text::<S>(&other_outputs[0]));
        format!("the second answers {was} when it comes second, and {is} when it comes first")
    } else if other_hash != hash {
        format!("the state hash is then {hash} in this order, and {other_hash} in the other")
    } else {
        return None;
    };
    let describe =
        |at: usize| format!("{}\n    touches {:?}", steps[at].text::<S>(), steps[at].footprint);
    Some(format!(
        "these two do not conflict, but can be told apart by their order:\n  {}\n  {}\n{what} \
         (after {} earlier commands)",
        describe(first),
        describe(second),
        before.len(),
    ))
}
