//! A state that is frozen, written, read back, and goes on.

use std::fmt::Debug;

use bytes::Bytes;

use super::Report;
use super::draw::Draw;
use super::step::{Step, after, hashes, output_text};
use super::violation::{Fault, Rule};
use crate::state_machine::{StateHash, StateMachine};

/// Freezes the state somewhere in `steps`, where `outputs` and `hash` are right.
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
    let fault = |text: String| (Rule::Snapshot, text);
    let cut = draw.below(steps.len() as u64 + 1) as usize;
    let (before, behind) = steps.split_at(cut);
    let (mut machine, _) = after(new, before);
    let frozen_hash = machine.state_hash();
    let view = machine.view();
    for step in behind {
        step.apply(&mut machine);
    }
    if machine.state_hash() != hash {
        let text = hashes(machine.state_hash(), hash);
        return Err(fault(format!("after a view was taken and commands went on, {text}")));
    }
    let bytes = written::<S>(&view)?;
    let mut restored = restored::<S>(&bytes)?;
    if restored.state_hash() != frozen_hash {
        let text = hashes(restored.state_hash(), frozen_hash);
        return Err(fault(format!(
            "a state viewed after {cut} commands, written when {} more had been applied, and read \
             back: {text}. Does the view share what is changed later, or is a part not written?",
            behind.len()
        )));
    }
    let second = written::<S>(&restored.view())?;
    let second = self::restored::<S>(&second)?;
    if second.state_hash() != frozen_hash {
        let text = hashes(second.state_hash(), frozen_hash);
        return Err(fault(format!("a restored state, written and read back again: {text}")));
    }
    for (at, step) in behind.iter().enumerate() {
        let (output, right) = (step.apply(&mut restored), &outputs[cut + at]);
        if output != *right {
            return Err(fault(format!(
                "restored after {cut} commands and gone on with {at} more, {} answers {}, where \
                 it was {}",
                step.text::<S>(),
                output_text::<S>(&output),
                output_text::<S>(right),
            )));
        }
    }
    if restored.state_hash() != hash {
        let text = hashes(restored.state_hash(), hash);
        return Err(fault(format!("restored after {cut} commands and gone on to the end, {text}")));
    }
    if !bytes.is_empty() {
        let length = draw.below(bytes.len() as u64) as usize;
        if S::restore(&mut &bytes[..length]).is_ok() {
            let text = format!("{length} of {} bytes of a written state are read", bytes.len());
            return Err(fault(format!("{text} as if they were all of it")));
        }
    }
    report.snapshots += 1;
    Ok(())
}

fn written<S: StateMachine>(view: &S::View) -> Result<Vec<u8>, Fault> {
    let mut bytes = Vec::new();
    let written = S::write(view, &mut bytes);
    written.map_err(|error| (Rule::Snapshot, format!("a state cannot be written: {error}")))?;
    Ok(bytes)
}

fn restored<S: StateMachine>(bytes: &[u8]) -> Result<S, Fault> {
    let restored = S::restore(&mut &*bytes);
    restored.map_err(|error| (Rule::Snapshot, format!("a written state is refused: {error}")))
}
