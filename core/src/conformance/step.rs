//! A command as the suite keeps it, and how it is applied.
//!
//! It is kept encoded: commands need not be cloned to be applied again, and every application
//! also tests the decoder, as every replica but the proposer does.

use std::fmt::Debug;

use bytes::Bytes;
use panchayat_consensus::wire::{Decode, Encode, from_bytes, to_bytes};
use panchayat_consensus::{Footprint, InstanceId, Mode, ReplicaId, WallTime};

use super::draw::Draw;
use super::violation::{Fault, Rule};
use crate::state_machine::{ApplyContext, StateHash, StateMachine};

/// How far apart the wall clocks of coordinators may be, in microseconds: commands do not execute
/// in the order of their times.
const CLOCKS_US: u64 = 5_000_000;

/// One command of a script, with everything that is agreed about it.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) bytes: Bytes,
    pub(super) context: ApplyContext,
    pub(super) footprint: Footprint,
}

impl Step {
    /// `command` as the one at `at` of a script.
    pub(super) fn new<S>(command: &S::Command, at: usize, draw: &mut Draw) -> Result<Self, Fault>
    where
        S: StateMachine<Command: Debug>,
    {
        let bytes = comes_back("a command", command)?;
        if bytes.is_empty() {
            let text = format!("{command:?} has an empty encoding, which stands for a read");
            return Err((Rule::Encoding, text));
        }
        let footprint = S::footprint(command);
        let again = S::footprint(&decoded::<S::Command>(&bytes));
        if again != footprint {
            let text = format!(
                "the footprint of {command:?} is {footprint:?} the first time, then {again:?}"
            );
            return Err((Rule::Determinism, text));
        }
        let replica = ReplicaId(draw.below(3) as u8);
        let context = ApplyContext {
            id: InstanceId::new(replica, at as u64 + 1),
            proposed_at: WallTime(1_700_000_000_000_000 + draw.below(CLOCKS_US)),
        };
        Ok(Self { bytes, context, footprint })
    }

    /// Applies it, and gives the encoded output.
    pub(super) fn apply<S: StateMachine>(&self, machine: &mut S) -> Bytes {
        to_bytes(&machine.apply(&self.context, decoded(&self.bytes)))
    }

    /// The command in words.
    pub(super) fn text<S: StateMachine<Command: Debug>>(&self) -> String {
        format!("{:?}", decoded::<S::Command>(&self.bytes))
    }

    /// Whether it names keys in this mode only.
    pub(super) fn is_only(&self, mode: Mode) -> bool {
        !self.footprint.is_barrier() && self.footprint.keys().iter().all(|(_, m)| *m == mode)
    }
}

/// A fresh machine after `steps`, and what it answered.
pub(super) fn after<'a, S: StateMachine>(
    new: &dyn Fn() -> S,
    steps: impl IntoIterator<Item = &'a Step>,
) -> (S, Vec<Bytes>) {
    let mut machine = new();
    let outputs = steps.into_iter().map(|step| step.apply(&mut machine)).collect();
    (machine, outputs)
}

/// An output in words.
pub(super) fn output_text<S: StateMachine<Output: Debug>>(output: &Bytes) -> String {
    match from_bytes::<S::Output>(output.clone()) {
        Ok(output) => format!("{output:?}"),
        Err(error) => format!("bytes that do not decode ({error})"),
    }
}

/// Encodes `value`, and checks that it decodes to something with the same encoding.
pub(super) fn comes_back<T: Encode + Decode + Debug>(
    what: &str,
    value: &T,
) -> Result<Bytes, Fault> {
    let bytes = to_bytes(value);
    match from_bytes::<T>(bytes.clone()) {
        Ok(back) if to_bytes(&back) == bytes => Ok(bytes),
        Ok(back) => Err((Rule::Encoding, format!("{what} {value:?} comes back as {back:?}"))),
        Err(error) => {
            Err((Rule::Encoding, format!("{what} {value:?} does not decode again: {error}")))
        }
    }
}

/// What was checked by [`comes_back`].
pub(super) fn decoded<T: Decode>(bytes: &Bytes) -> T {
    match from_bytes(bytes.clone()) {
        Ok(value) => value,
        Err(error) => panic!("what was decoded once does not decode again: {error}"),
    }
}

/// "is 12, was 34".
pub(super) fn hashes(is: StateHash, was: StateHash) -> String {
    format!("the state hash is {is}, where it was {was}")
}
