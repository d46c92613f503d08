//! Helping with the sealed epoch.
//!
//! Whoever has executed a seal keeps the sealed epoch's protocol: others may need its votes and its
//! decisions to come to the seal themselves. That ends when a slow quorum of the new members has
//! executed the seal durably, since then the new epoch survives what it must, and after a while longer, so
//! that those who are merely late need no state. A replica that was removed retires then.

use panchayat_consensus::{EpochNumber, Now, REPLICAS_MAX, ReplicaId, ReplicaSet, Time};

use crate::message::Message;
use crate::replica::{Epochs, Fx};

/// What is known of the others' progress to the current epoch.
#[derive(Clone, Debug, Hash)]
pub(crate) struct Linger {
    /// Who has reached the current epoch durably, by its own word; who was removed, too.
    pub(crate) reached: ReplicaSet,
    /// When this replica did.
    since: Time,
    /// When to tell it again.
    due: Time,
    /// When each place was last told which epoch it is.
    told: [Option<Time>; REPLICAS_MAX],
}

impl Linger {
    pub(crate) fn new(now: Now) -> Self {
        Self {
            reached: ReplicaSet::EMPTY,
            since: now.monotonic,
            due: now.monotonic,
            told: [None; REPLICAS_MAX],
        }
    }

    /// A new epoch has begun here.
    pub(crate) fn begin(&mut self, me: ReplicaId, now: Now) {
        *self = Self::new(now);
        self.reached.insert(me);
    }
}

impl Epochs {
    /// Whom it concerns which epoch this replica has come to: who has not said that it has, too.
    pub(crate) fn concerned(&self) -> ReplicaSet {
        let now = self.epoch().map(|epoch| epoch.places()).unwrap_or_default();
        let before = self.epoch_before().map(|epoch| epoch.places()).unwrap_or_default();
        let all: ReplicaSet = now.iter().chain(before.iter()).collect();
        all.minus(self.linger.reached).without(self.me())
    }

    /// Whether a slow quorum of the members has the state this epoch began with.
    pub(crate) fn is_established(&self) -> bool {
        self.epoch().is_some_and(|epoch| self.reached().len() >= epoch.slow_quorum())
    }

    pub(crate) fn on_reached(
        &mut self,
        from: ReplicaId,
        epoch: EpochNumber,
        now: Now,
        fx: &mut Fx,
    ) {
        let Some(number) = self.number() else { return };
        if epoch > number {
            self.note_ahead(from, now);
        } else if epoch < number {
            self.tell_current(from, now, fx);
        } else {
            self.linger.reached.insert(from);
            // Whoever asks wants to know who else has come: to stop asking, or to be allowed to go.
            self.tell_current(from, now, fx);
        }
    }

    /// Tells somebody who is in an epoch that is over which one it is; not for every message.
    pub(crate) fn tell_current(&mut self, to: ReplicaId, now: Now, fx: &mut Fx) {
        let Some(opening) = &self.opening else { return };
        let again = self.linger.told[to.index()]
            .is_none_or(|told| now.monotonic >= told + self.config.timing.retell);
        if to == self.me() || !again {
            return;
        }
        self.linger.told[to.index()] = Some(now.monotonic);
        let message =
            Message::Current { opening: Box::new(opening.clone()), reached: self.linger.reached };
        fx.send(ReplicaSet::only(to), message, fx.after_last());
    }

    pub(crate) fn attend_linger(&mut self, now: Now, fx: &mut Fx) {
        let kept_long = now.monotonic >= self.linger.since + self.config.timing.linger;
        if self.previous.is_some() && kept_long && self.is_established() {
            self.previous = None;
        }
        if self.tells_on() && now.monotonic >= self.linger.due {
            self.linger.due = now.monotonic + self.config.timing.retell;
            self.tell_reached(fx);
        }
    }

    /// Whether there is something to tell: to those who may still be behind; and, by one that was removed,
    /// so that it hears when it may go.
    fn tells_on(&self) -> bool {
        if self.current.is_some() {
            self.previous.is_some() || !self.concerned().is_empty()
        } else {
            self.previous.is_some()
                || (self.opening.is_some() && !self.stale && !self.is_established())
        }
    }

    /// When there is something to do without any input.
    pub(crate) fn linger_due(&self) -> Option<Time> {
        self.tells_on().then_some(self.linger.due)
    }
}
