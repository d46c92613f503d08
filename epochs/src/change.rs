//! From one epoch to the next: the seal has been executed here.

use panchayat_consensus::{After, Command, Input, NotApplied, Now, Shift, Token};

use crate::adaptive::is_own;
use crate::epoch::Opening;
use crate::message::Message;
use crate::mutation::Mutation;
use crate::passage::Outcome;
use crate::record::{Record, RecordBody};
use crate::replica::{Epochs, Fx};
use crate::run::{Outlet, Run};

impl Epochs {
    /// Does what a step of an epoch's protocol asks for: nothing, most of the time.
    pub(crate) fn follow(&mut self, outcome: Outcome, now: Now, fx: &mut Fx) {
        let Outcome { sealed, void } = outcome;
        let void = void.into_iter().map(|(token, command)| (token, (*command).clone()));
        let Some(opening) = sealed else {
            // Seals that open nothing.
            for (token, _) in void {
                fx.reject(token, NotApplied::Sealed);
            }
            return;
        };
        // What was executed after the seal comes before what was not even decided, as it was proposed.
        let mut again: Vec<(Token, Command)> = void.collect();
        again.extend(self.current.as_mut().map(Run::withdraw).unwrap_or_default());
        again.retain(|(token, _)| !is_own(*token));
        again.sort_by_key(|(token, _)| *token);
        if self.mutated(Mutation::ForgetVoid) {
            again.retain(|(_, command)| command.is_seal());
        }
        // So that a restart comes to the seal from the journal alone.
        if !self.mutated(Mutation::ExecutedNotRecorded) {
            self.note_executed(fx);
        }
        let sealed = self.current.take();
        fx.persist(Record::Began(Box::new(opening.clone())));
        let opened = self.open(opening, Vec::new(), now, fx);
        if let Some(sealed) = &sealed {
            self.note_move(&sealed.opening.epoch, now);
        }
        self.previous = sealed;
        self.counts.changes += 1;
        self.linger.begin(self.me(), now);
        self.begin_watch(now);
        self.tell_reached(fx);
        self.follow(opened, now, fx);
        self.go_on(again, now, fx);
    }

    /// Makes the journal say everything that was executed.
    pub(crate) fn note_executed(&mut self, fx: &mut Fx) {
        let mistakes = self.mistakes();
        let Some(run) = &mut self.current else { return };
        let (mut outcome, reads) = (Outcome::default(), &mut self.reads);
        // The epoch may be over: whatever else waits in its effects is of no use.
        let outcome = &mut outcome;
        run.persist_executed(&mut Outlet { is_current: false, reads, outcome, mistakes, fx });
    }

    /// Begins an epoch, as its records left it.
    pub(crate) fn open(
        &mut self,
        opening: Opening,
        records: Vec<RecordBody>,
        now: Now,
        fx: &mut Fx,
    ) -> Outcome {
        let mut outcome = Outcome::default();
        let seat = self.seat_in(&opening.epoch);
        self.behind.arrived(&opening);
        self.opening = Some(opening.clone());
        self.current = seat.map(|seat| {
            let config = self.config.openings.open(&opening.epoch, seat);
            assert_eq!(config.order(), opening.epoch.order, "another protocol was configured");
            let early = self.mutated(Mutation::OpenBeforeDurable);
            let floor = if early { After::NOTHING } else { fx.after_last() };
            let back = self.mutated(Mutation::TimesBeginAnew);
            let opening = if back {
                Opening { floor: panchayat_consensus::WallTime(0), ..opening }
            } else {
                opening
            };
            let mistakes = self.mistakes();
            let (reads, outcome) = (&mut self.reads, &mut outcome);
            let mut outlet = Outlet { is_current: true, reads, outcome, mistakes, fx };
            Run::open(opening, config, records, Shift::beginning_after(floor), now, &mut outlet)
        });
        outcome
    }

    /// What was under way goes on in the epoch that has just begun.
    fn go_on(&mut self, again: Vec<(Token, Command)>, now: Now, fx: &mut Fx) {
        self.tell_suspicions(now, fx);
        self.take_early(now, fx);
        let reads: Vec<_> = std::mem::take(&mut self.reads).into_iter().collect();
        for (token, command) in again {
            if command.is_seal() {
                fx.reject(token, NotApplied::Sealed);
            } else if !command.is_read() {
                self.counts.proposed_again += 1;
                self.propose(token, command, now, fx);
            }
        }
        for (token, (assurance, footprint)) in reads {
            self.read(token, assurance, footprint, now, fx);
        }
    }

    /// A protocol begins by taking everybody for alive.
    pub(crate) fn tell_suspicions(&mut self, now: Now, fx: &mut Fx) {
        for place in self.suspected.iter() {
            let seat = self.current.as_ref().and_then(|run| run.seat(place));
            if let Some(seat) = seat {
                self.step_current(now, Input::PeerSuspected(seat), fx);
            }
        }
    }

    /// Messages that came before the epoch had begun here.
    pub(crate) fn take_early(&mut self, now: Now, fx: &mut Fx) {
        for (from, epoch, body) in std::mem::take(&mut self.early).into_messages() {
            let Some(number) = self.number() else { return };
            if epoch == number
                && let Some(seat) = self.current.as_ref().and_then(|run| run.seat(from))
            {
                self.step_current(now, Input::Receive { from: seat, message: body }, fx);
            } else if epoch.0 == number.0 + 1 {
                self.early.push(from, epoch, body);
            }
        }
    }

    /// Says that this replica has come to its epoch, once that is durable.
    pub(crate) fn tell_reached(&mut self, fx: &mut Fx) {
        let Some(epoch) = self.number() else { return };
        let to = self.concerned();
        fx.send(to, Message::Reached { epoch }, fx.after_last());
    }
}
