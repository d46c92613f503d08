//! The same commands twice: determinism, and what one pass over a script can tell.

use std::fmt::Debug;

use bytes::Bytes;
use panchayat_consensus::Mode;
use panchayat_consensus::wire::from_bytes;

use super::Report;
use super::step::{Step, comes_back, hashes, output_text};
use super::violation::{Fault, Rule};
use crate::state_machine::{StateHash, StateMachine};

/// Applies `steps` to two fresh machines side by side. Gives what they answered and the last hash.
pub(super) fn check<S>(
    new: &dyn Fn() -> S,
    steps: &[Step],
    report: &mut Report,
) -> Result<(Vec<Bytes>, StateHash), Fault>
where
    S: StateMachine<Command: Debug, Output: Debug>,
{
    let (mut one, mut other) = (new(), new());
    if one.state_hash() != other.state_hash() {
        let text = hashes(other.state_hash(), one.state_hash());
        return Err((Rule::Determinism, format!("of two fresh machines, {text}")));
    }
    let mut outputs = Vec::with_capacity(steps.len());
    for (at, step) in steps.iter().enumerate() {
        let before = one.state_hash();
        let output = step.apply(&mut one);
        let again = step.apply(&mut other);
        let place = || format!("command {at} of {}, {},", steps.len(), step.text::<S>());
        if output != again {
            let (output, again) = (output_text::<S>(&output), output_text::<S>(&again));
            let text = format!("{} answers {output} the first time, then {again}", place());
            return Err((Rule::Determinism, text));
        }
        let hash = one.state_hash();
        if hash != other.state_hash() {
            let text = hashes(other.state_hash(), hash);
            return Err((Rule::Determinism, format!("after {} {text} the first time", place())));
        }
        report.changes += u64::from(hash != before);
        if step.is_only(Mode::Read) && hash != before {
            let text = hashes(hash, before);
            return Err((Rule::ReadOnly, format!("after {} {text}", place())));
        }
        if step.is_only(Mode::Commute) && !step.footprint.keys().is_empty() {
            report.commuting += 1;
            let elsewhere = step.apply(&mut new());
            if elsewhere != output {
                let (here, there) = (output_text::<S>(&output), output_text::<S>(&elsewhere));
                let text = format!("{} answers {here}, and {there} in a fresh state", place());
                return Err((Rule::Commute, text));
            }
        }
        match from_bytes::<S::Output>(output.clone()) {
            Ok(value) => _ = comes_back("an output", &value)?,
            Err(error) => {
                let text = format!("the output of {} does not decode: {error}", place());
                return Err((Rule::Encoding, text));
            }
        }
        outputs.push(output);
    }
    report.commands += steps.len() as u64;
    Ok((outputs, one.state_hash()))
}
