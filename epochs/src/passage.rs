//! What becomes of the effects of an epoch's protocol on their way out.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::sync::Arc;

use panchayat_consensus::{
    Assurance, Command, EpochNumber, Execution, Footprint, Graft, InstanceId, Output, ReplicaSet,
    Token,
};

use crate::adaptive::{Sample, is_own};
use crate::epoch::{Epoch, Opening, Order};
use crate::message::Message;
use crate::order::Ordered;
use crate::record::Record;
use crate::run::Seats;

/// Slots of an epoch's own count in names of instances: 2^46 of them, and 2^18 epochs.
const SLOT_BITS: u32 = 46;

/// How far ahead of its proposer's clock a seal of EPaxos may be, in microseconds: no further than clocks may
/// differ in any case.
const SEAL_AHEAD_MAX_US: u64 = 100_000;

/// Reads without an answer: to be asked again if their epoch ends.
pub(crate) type Reads = BTreeMap<Token, (Assurance, Footprint)>;

/// What a step of an epoch's protocol came to, apart from what has left already.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// The seal executed: what comes next.
    pub(crate) sealed: Option<Opening>,
    /// Commands that came after it.
    pub(crate) void: Vec<(Token, Arc<Command>)>,
}

/// The effects of one step.
pub(crate) struct Passage<'a, P> {
    pub(crate) number: EpochNumber,
    pub(crate) seats: &'a Seats,
    /// The epoch, if it is the current one; none if it is sealed already.
    pub(crate) current: Option<&'a Epoch>,
    /// What is measured, in a watched epoch.
    pub(crate) sample: Option<&'a mut Sample>,
    pub(crate) reads: &'a mut Reads,
    pub(crate) outcome: &'a mut Outcome,
    pub(crate) mistakes: Mistakes,
    pub(crate) protocol: PhantomData<P>,
}

/// The mistakes made here, in a build that can make them.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Mistakes {
    pub(crate) executes_after_seal: bool,
    pub(crate) reads_across_seal: bool,
}

/// The name of an instance in the whole life of a group: its lane is a seat of its epoch.
pub(crate) fn name(number: EpochNumber, id: InstanceId) -> InstanceId {
    assert!(id.slot < 1 << SLOT_BITS, "an epoch has room for 2^{SLOT_BITS} slots");
    // The first epoch's names are as they would be without epochs.
    InstanceId::new(id.replica, (number.0 - 1) << SLOT_BITS | id.slot)
}

/// The epoch of an instance, and its name there.
pub(crate) fn named(id: InstanceId) -> (EpochNumber, InstanceId) {
    let number = EpochNumber((id.slot >> SLOT_BITS) + 1);
    (number, InstanceId::new(id.replica, id.slot & ((1 << SLOT_BITS) - 1)))
}

impl<P> Passage<'_, P> {
    fn is_over(&self) -> bool {
        self.current.is_none() || self.outcome.sealed.is_some()
    }

    /// A seal executes in its epoch, as the first that is valid.
    ///
    /// After a restart an EPaxos coordinator proposes ahead of its clock for some seconds. Everything of the
    /// next epoch would then be, and ages of what is read could not be told: such a seal is void.
    fn seals(&mut self, seal: &Command) -> bool {
        let Some(current) = self.current else { return false };
        let Some(next) = Opening::of_seal(seal) else { return false };
        let follows = current.may_be_followed_by(&next.epoch).is_ok();
        if !follows
            || (current.order == Order::EPaxos
                && seal.proposed_at.0 > next.floor.0 + SEAL_AHEAD_MAX_US)
        {
            return false;
        }
        self.outcome.sealed = Some(Opening { epoch: next.epoch, floor: seal.proposed_at });
        true
    }
}

impl<P: Ordered> Graft<P::Message, P::Record, Message, Record> for Passage<'_, P> {
    fn record(&mut self, record: P::Record) -> Record {
        Record::Of { epoch: self.number, body: P::record(record) }
    }

    fn execution(&mut self, execution: Execution) -> Option<Execution> {
        let Execution { id, command, token } = execution;
        if let Some(sample) = &mut self.sample
            && !command.is_seal()
        {
            sample.executed(&command, token.is_some());
        }
        // Nobody waits for those.
        let token = token.filter(|token| !is_own(*token));
        let over = self.is_over() && !self.mistakes.executes_after_seal;
        if over {
            self.outcome.void.extend(token.map(|token| (token, command)));
            return None;
        }
        if command.is_seal() && !self.seals(&command) {
            // It takes its place in the order all the same, and does nothing there.
            self.outcome.void.extend(token.map(|token| (token, command.clone())));
            return Some(Execution { id: name(self.number, id), command, token: None });
        }
        if let Some(token) = token.filter(|_| command.is_read()) {
            self.reads.remove(&token);
        }
        Some(Execution { id: name(self.number, id), command, token })
    }

    fn output(&mut self, output: Output<P::Message>) -> Option<Output<Message>> {
        let over = self.is_over();
        let outlives = over && !self.mistakes.reads_across_seal;
        Some(match output {
            Output::Send { to, message } => {
                let to: ReplicaSet = self.seats.places(to);
                Output::Send {
                    to,
                    message: Message::Of { epoch: self.number, body: P::body(message) },
                }
            }
            Output::Committed { token, .. }
            | Output::Rejected { token, .. }
            | Output::Unknown { token }
                if is_own(token) =>
            {
                return None;
            }
            // It may be void, and is proposed again in any case.
            Output::Committed { .. } if over => return None,
            Output::Committed { token, path } => {
                if let Some(sample) = &mut self.sample {
                    sample.decided(path);
                }
                Output::Committed { token, path }
            }
            // Everything before the seal is in the state, and more may be asked for by now.
            Output::ReadReady { .. } if outlives => return None,
            Output::ReadReady { token, whole } => {
                self.reads.remove(&token);
                Output::ReadReady { token, whole }
            }
            // It is asked again in the next epoch, too.
            Output::ReadRefused { .. } if over => return None,
            Output::ReadRefused { token, reason } => {
                self.reads.remove(&token)?;
                Output::ReadRefused { token, reason }
            }
            Output::Rejected { token, reason } => {
                self.reads.remove(&token);
                Output::Rejected { token, reason }
            }
            Output::Unknown { token } => {
                self.reads.remove(&token);
                Output::Unknown { token }
            }
        })
    }
}
