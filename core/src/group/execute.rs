//! Commands into the state machine, past the session table; snapshots between two of them.

use panchayat_consensus::wire::{from_bytes, to_bytes};
use panchayat_consensus::{Command, Execution, InstanceId, Protocol, WallTime};

use super::answer::{Answer, Doubt};
use super::read::Vouched;
use super::sink::{Effect, Sink};
use super::snapshot::SnapshotParts;
use super::{Group, Taking, Word, open_front, tell};
#[cfg(feature = "mutations")]
use crate::mutation::Mutation;
use crate::sessions::{SessionsView, Verdict};
use crate::state_machine::{ApplyContext, StateMachine};

/// Most entries of the session table that one turn forgets: some tenths of a millisecond.
const PRUNED_PER_TURN_MAX: usize = 2_048;

impl<P: Protocol, S: StateMachine> Group<P, S> {
    /// Executes what may be executed now, in order.
    pub(super) fn execute(&mut self, sink: &mut impl Sink<P, S>) {
        self.freeze(sink);
        self.serve_reads(sink);
        let durable = self.journal.records_durable();
        while let Some(execution) = open_front(&mut self.executions, durable) {
            let Execution { id, command, token } = execution;
            sink.executing(id, &command);
            let (effect, answer) = self.apply(id, &command, token.is_some());
            self.sessions.count_executed();
            sink.executed(id, effect);
            if let (Some(token), Some(answer)) = (token, answer) {
                tell(&mut self.pending, token, Word::Answer(answer), sink);
            } else if let (Some(token), Effect::Read) = (token, effect) {
                self.answer_read(token, Vouched::Query, sink);
            }
            self.freeze(sink);
            self.serve_reads(sink);
        }
    }

    /// Applies a command unless it must not be. An answer is made only if someone waits for it.
    fn apply(
        &mut self,
        id: InstanceId,
        command: &Command,
        wanted: bool,
    ) -> (Effect, Option<Answer<S::Output>>) {
        if command.is_seal() {
            return (Effect::Sealed, Some(Answer::Sealed));
        }
        if command.is_read() {
            return (Effect::Read, None);
        }
        match self.sessions.judge(command) {
            Verdict::TooOld => (Effect::TooOld, Some(Answer::Unknown(Doubt::TooOld))),
            Verdict::Duplicate(output) if !self.applies_duplicates() => {
                (Effect::Duplicate, wanted.then(|| Answer::recorded(output)))
            }
            Verdict::Duplicate(_) | Verdict::Apply => {
                let Ok(decoded) = from_bytes::<S::Command>(command.payload.clone()) else {
                    return (Effect::Undecodable, Some(Answer::Undecodable));
                };
                let context = ApplyContext { id, proposed_at: command.proposed_at };
                let output = self.machine.apply(&context, decoded);
                if let Some(request) = &command.request {
                    self.sessions.record(request, &to_bytes(&output));
                }
                (Effect::Applied, Some(Answer::Applied(output)))
            }
        }
    }

    /// Freezes state and sessions if exactly that was applied which the snapshot's image counts.
    fn freeze(&mut self, sink: &mut impl Sink<P, S>) {
        let (executed, early) = (self.executed(), self.freezes_early());
        let due = |taking: &mut Taking<_>| {
            assert!(taking.executed >= executed, "the state ran ahead of the snapshot's image");
            taking.executed == executed || early
        };
        let Some(Taking { number, after, image, .. }) = self.taking.take_if(due) else { return };
        sink.snapshot(SnapshotParts {
            number,
            after,
            machine: self.machine.view(),
            sessions: self.sessions_view(),
            image,
            state_hash: self.machine.state_hash(),
        });
    }

    /// Notes what is settled, and forgets requests. What the protocol says holds for what it hands out from now on, so it
    /// counts only once everything handed out before has been applied.
    pub(super) fn prune(&mut self) {
        let executed = self.executed();
        if self.horizon.is_none() {
            let horizon = self.protocol.proposed_after();
            if horizon > self.settled {
                self.horizon = Some((executed + self.executions.len() as u64, horizon));
            }
        }
        if let Some((_, horizon)) = self.horizon.take_if(|(count, _)| executed >= *count) {
            self.settled = horizon;
        }
        let horizon = self.settled;
        if horizon > self.pruned && self.sessions.prune(self.believed(horizon), PRUNED_PER_TURN_MAX)
        {
            self.pruned = horizon;
        }
    }
}

/// Where known mistakes are made, in a build that can make them.
#[cfg(feature = "mutations")]
impl<P: Protocol, S: StateMachine> Group<P, S> {
    fn applies_duplicates(&self) -> bool {
        self.mutation == Some(Mutation::ApplyDuplicates)
    }

    fn freezes_early(&self) -> bool {
        self.mutation == Some(Mutation::ViewBeforeExecutions)
    }

    fn sessions_view(&self) -> SessionsView {
        let view = self.sessions.view();
        let drops = self.mutation == Some(Mutation::DropSessionsAtSnapshot);
        if drops { view.without_entries() } else { view }
    }

    fn believed(&self, horizon: WallTime) -> WallTime {
        let early = self.mutation == Some(Mutation::PruneSessionsEarly);
        if early { WallTime(u64::MAX) } else { horizon }
    }
}

/// No mistake is made.
#[cfg(not(feature = "mutations"))]
impl<P: Protocol, S: StateMachine> Group<P, S> {
    fn applies_duplicates(&self) -> bool {
        false
    }

    fn freezes_early(&self) -> bool {
        false
    }

    fn sessions_view(&self) -> SessionsView {
        self.sessions.view()
    }

    fn believed(&self, horizon: WallTime) -> WallTime {
        horizon
    }
}
