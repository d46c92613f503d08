//! Groups that choose their protocol by themselves.
//!
//! The members of an epoch that is to be *watched* ([`Openings::watch`]) measure what their clients ask for,
//! and tell each other every now and then. The member with the lowest place that is not suspected adds it up
//! and asks for advice ([`Openings::advise`]). If the advice has been the same for several rounds in a row,
//! and the epoch has lasted for a while, it proposes the seal that an operator would.
//!
//! Nothing here is needed for safety: whatever is measured, and whoever believes to have the lowest place,
//! there is a seal, the first one wins, and a change of protocol loses nothing. So nothing is kept on disk,
//! and a restart begins to measure anew.
//!
//! [`Openings::watch`]: crate::Openings::watch
//! [`Openings::advise`]: crate::Openings::advise

mod report;
mod rest;
mod sample;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use panchayat_consensus::{
    Command, EpochNumber, Now, Protocol as _, ReplicaId, ReplicaSet, Span, Time, Token, WallTime,
};

pub use report::Report;
pub(crate) use rest::Rest;
pub(crate) use sample::Sample;

use crate::epoch::{EPOCH_MAX, Epoch, Order};
use crate::message::Message;
use crate::replica::{Epochs, Fx};

/// How many reports of each member advice rests on: the last ones.
const REPORTS: usize = 3;

/// Epochs from here on are operators' to begin: there are only so many numbers.
const OWN_EPOCHS_MAX: u64 = EPOCH_MAX / 2;

/// Tokens from here on are of seals that nobody asked for; those of drivers are lower.
const OWN_TOKENS: u64 = 1 << 63;

/// How closely the members of an epoch watch what is asked of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Watch {
    /// How often they tell each other what they saw, and how often advice is asked for.
    pub every: Span,
    /// How often in a row advice must be the same before it is taken.
    pub confirm: u32,
    /// How long an epoch lasts at least.
    pub stay: Span,
}

impl Watch {
    /// How long it lasts at least, since it takes so many reports to move again.
    fn shortest(&self) -> Span {
        self.stay.max(self.every.times(REPORTS as u64 + u64::from(self.confirm)))
    }
}

/// What a member of the epoch does, as far as the one that asks for advice knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Whether it is heard.
    pub alive: bool,
    /// What it reported lately; nothing if it did not.
    pub report: Report,
}

/// What should order commands instead.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Advice {
    /// The protocol.
    pub order: Order,
    /// What it is configured with, in the driver's own encoding.
    pub parameters: Bytes,
    /// The numbers behind it, for people.
    pub reason: String,
}

/// An epoch that a member proposed of its own accord.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Decision {
    /// The epoch.
    pub epoch: EpochNumber,
    /// Why.
    pub reason: String,
    /// The seal that would open it.
    pub seal: Command,
}

/// What a member of a watched epoch knows of the others.
#[derive(Clone, Debug, Hash)]
pub(crate) struct Adaptive {
    watch: Watch,
    /// When the epoch began here, in this run.
    since: Time,
    /// When the last report was made.
    reported: Time,
    heard: BTreeMap<ReplicaId, Heard>,
    /// What was advised last, and how often in a row.
    leaning: Option<(Order, Bytes, u32)>,
    /// When this member proposed a seal that has not come.
    proposed: Option<Time>,
}

/// The last reports of a member, and when the latest came.
#[derive(Clone, Debug, Hash)]
struct Heard {
    at: Time,
    last: VecDeque<Report>,
}

pub(crate) fn is_own(token: Token) -> bool {
    token.0 >= OWN_TOKENS
}

impl Adaptive {
    fn hear(&mut self, from: ReplicaId, report: Report, now: Now) {
        let new = || Heard { at: now.monotonic, last: VecDeque::new() };
        let heard = self.heard.entry(from).or_insert_with(new);
        heard.at = now.monotonic;
        if heard.last.len() == REPORTS {
            heard.last.pop_front();
        }
        heard.last.push_back(report);
    }

    /// What is known of every seat. None while somebody who is alive has not said enough.
    fn seen(&self, epoch: &Epoch, suspected: ReplicaSet, now: Now) -> Option<Vec<Seen>> {
        let members = epoch.members.iter().map(|member| {
            if suspected.contains(member.place) {
                return Some(Seen::default());
            }
            let heard = self.heard.get(&member.place)?;
            let is_fresh = now.monotonic <= heard.at + self.watch.every.times(REPORTS as u64);
            let mut report = Report::default();
            heard.last.iter().for_each(|other| report.add(other));
            (is_fresh && heard.last.len() == REPORTS).then_some(Seen { alive: true, report })
        });
        members.collect()
    }

    /// Counts how often in a row the same was advised.
    fn lean(&mut self, advice: Option<&Advice>) -> u32 {
        self.leaning = advice.map(|advice| {
            let before = match &self.leaning {
                Some((order, parameters, times))
                    if *order == advice.order && *parameters == advice.parameters =>
                {
                    *times
                }
                _ => 0,
            };
            (advice.order, advice.parameters.clone(), before + 1)
        });
        self.leaning.as_ref().map_or(0, |(_, _, times)| *times)
    }
}

impl Epochs {
    /// The last change that this replica proposed of its own accord, in this run.
    pub fn last_decision(&self) -> Option<&Decision> {
        self.decided.as_ref()
    }

    /// Why the current epoch began, if it is as this replica proposed of its own accord.
    pub fn moved_because(&self) -> Option<&str> {
        let decision = self.decided.as_ref()?;
        let came = Epoch::of_seal(&decision.seal).as_ref() == self.epoch();
        came.then_some(&*decision.reason)
    }

    /// Notes that the group has come from `before` to the current epoch.
    pub(crate) fn note_move(&mut self, before: &Epoch, now: Now) {
        let Some(epoch) = self.epoch().filter(|epoch| epoch.members == before.members) else {
            return;
        };
        let watch = |epoch: &Epoch| self.config.openings.watch(epoch);
        self.rest = match (watch(before), watch(epoch)) {
            (Some(before), Some(watch)) if before.stay == watch.stay => {
                self.rest.after_move(watch.shortest(), now.monotonic)
            }
            // Somebody has said anew how long it is to rest.
            _ => Rest::default(),
        };
    }

    /// An epoch begins here, or goes on after a restart.
    pub(crate) fn begin_watch(&mut self, now: Now) {
        let watch =
            self.current.as_ref().and_then(|run| self.config.openings.watch(&run.opening.epoch));
        self.adaptive = watch.map(|watch| {
            let (since, reported) = (now.monotonic, now.monotonic);
            let (heard, leaning) = (BTreeMap::new(), None);
            Adaptive { watch, since, reported, heard, leaning, proposed: None }
        });
        if let Some(run) = &mut self.current {
            run.sample = self.adaptive.is_some().then(Box::default);
        }
    }

    pub(crate) fn on_report(
        &mut self,
        from: ReplicaId,
        epoch: EpochNumber,
        report: Report,
        now: Now,
    ) {
        let is_member = self.epoch().is_some_and(|epoch| epoch.places().contains(from));
        if self.number() == Some(epoch)
            && is_member
            && let Some(adaptive) = &mut self.adaptive
        {
            adaptive.hear(from, report, now);
        }
    }

    pub(crate) fn attend_watch(&mut self, now: Now, fx: &mut Fx) {
        let me = self.me();
        let Some(adaptive) = &mut self.adaptive else { return };
        let Some(run) = &mut self.current else { return };
        if self.arriving {
            // Nothing is written before the state is durable that is just being taken over.
            adaptive.reported = now.monotonic;
            return;
        }
        let span = now.monotonic - adaptive.reported;
        if span < adaptive.watch.every {
            return;
        }
        adaptive.reported = now.monotonic;
        let Some(sample) = &mut run.sample else { return };
        let report = sample.take(span.0);
        adaptive.hear(me, report, now);
        let (epoch, others) = (run.number(), run.opening.epoch.places().without(me));
        fx.send(others, Message::Report { epoch, report }, fx.after_last());
        let decides = run.opening.epoch.places().minus(self.suspected).iter().next() == Some(me);
        if decides && !self.wants_state() {
            self.decide(now, fx);
        }
    }

    /// When the next report is due.
    pub(crate) fn watch_due(&self) -> Option<Time> {
        self.adaptive.as_ref().map(|adaptive| adaptive.reported + adaptive.watch.every)
    }

    /// Asks what should order commands, and proposes it if that has been the same for long enough.
    fn decide(&mut self, now: Now, fx: &mut Fx) {
        let (Some(adaptive), Some(run)) = (&mut self.adaptive, &self.current) else { return };
        let (watch, opening) = (adaptive.watch, &run.opening);
        let seen = adaptive.seen(&opening.epoch, self.suspected, now);
        let advice = seen.and_then(|seen| self.config.openings.advise(&opening.epoch, &seen));
        let times = adaptive.lean(advice.as_ref());
        let Some(Advice { order, parameters, reason }) = advice else { return };
        let (since, number) = (adaptive.since, opening.epoch.number.0);
        let stayed = now.monotonic >= since + self.rest.stay(watch.shortest(), now.monotonic);
        let waits = adaptive.proposed.is_some_and(|at| now.monotonic < at + watch.every.times(5));
        if waits || !stayed || times < watch.confirm || number >= OWN_EPOCHS_MAX {
            return;
        }
        let next = opening.epoch.next(order, parameters, opening.epoch.members.clone());
        // Whoever is dead may not come back to take on what was sealed.
        let have_state = self.reached().minus(self.suspected).iter();
        let enough = have_state.filter(|place| next.places().contains(*place)).count();
        if self.check_next(&next).is_err() || enough < next.slow_quorum() {
            return;
        }
        let Some(adaptive) = &mut self.adaptive else { return };
        adaptive.proposed = Some(now.monotonic);
        self.counts.decisions += 1;
        let token = Token(OWN_TOKENS + self.counts.decisions);
        // The clock of whoever opened this epoch may have been ahead of this one.
        let seal = next.seal(now.wall.max(WallTime(self.floor().0 + 1)));
        self.decided = Some(Decision { epoch: next.number, reason, seal: seal.clone() });
        self.propose(token, seal, now, fx);
    }
}
