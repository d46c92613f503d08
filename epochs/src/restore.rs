//! Back from the journal, and into the place of another member.
//!
//! The journal holds the records of several epochs, one after the other and, while a sealed epoch
//! lingers, mixed. Each epoch is restored from its own, and its seal opens the next. Records of epochs
//! that are not reached, and those before the mark that an epoch began, are of a state that was taken over
//! and lost again before it was durable: nothing left on their account.

use std::collections::BTreeMap;

use panchayat_consensus::{EpochNumber, Now};

use crate::epoch::Opening;
use crate::mutation::Mutation;
use crate::record::{Record, RecordBody};
use crate::replica::{Epochs, Fx};
use crate::run::{self, Outlet, Run};

impl Epochs {
    pub(crate) fn replay(
        &mut self,
        records: impl IntoIterator<Item = Record>,
        now: Now,
        fx: &mut Fx,
    ) {
        let mut opening = None;
        let mut bodies: BTreeMap<EpochNumber, Vec<RecordBody>> = BTreeMap::new();
        for record in records {
            match record {
                Record::Opened(opened) => opening = Some(*opened),
                Record::Left(opened) => (opening, self.stale) = (Some(*opened), true),
                // It begins with nothing: what there is of it before is of a state that was taken over,
                // and lost again before it was durable.
                Record::Began(began) => _ = bodies.remove(&began.epoch.number),
                Record::Of { epoch, body } => bodies.entry(epoch).or_default().push(body),
            }
        }
        if opening.is_none()
            && let Some(epoch) = self.config.founding.clone()
        {
            let founding = Opening { epoch, floor: Default::default() };
            fx.persist(Record::Opened(Box::new(founding.clone())));
            opening = Some(founding);
        }
        while let Some(next) = opening.take() {
            let records = bodies.remove(&next.epoch.number).unwrap_or_default();
            self.previous = self.current.take();
            let outcome = self.open(next, records, now, fx);
            opening = outcome.sealed.filter(|_| !self.mutated(Mutation::SealForgottenOnRestart));
        }
        self.linger.begin(self.me(), now);
        self.begin_watch(now);
    }

    /// The state of one that was removed and has executed the seal is the one that the next epoch begins
    /// with: until that epoch stands, it may be the only one there is.
    ///
    /// Everything before the current epoch is in the state; what was promised there binds nobody who
    /// never speaks there again.
    pub(crate) fn take_image(&self) -> Vec<Record> {
        let opened = self.opening.iter().map(|opening| {
            let opening = Box::new(opening.clone());
            if self.stale && !self.mutated(Mutation::StaleStateServed) {
                Record::Left(opening)
            } else {
                Record::Opened(opening)
            }
        });
        opened.chain(self.current.iter().flat_map(Run::image)).collect()
    }

    /// Whether a state with this handover leads on from here.
    pub(crate) fn leads_on(&self, handover: &[Record]) -> bool {
        let Some(Record::Opened(opening)) = handover.first() else { return false };
        let has_place = self.seat_in(&opening.epoch).is_some();
        match self.number() {
            None => has_place,
            Some(own) if opening.epoch.number > own => has_place,
            Some(own) if opening.epoch.number < own => false,
            Some(_) => {
                let bodies: Vec<_> = bodies(handover.iter().cloned()).collect();
                self.current.as_ref().is_some_and(|run| run.can_install(&bodies))
            }
        }
    }

    pub(crate) fn take_over(&mut self, handover: Vec<Record>, now: Now, fx: &mut Fx) {
        let mut handover = handover.into_iter();
        let Some(Record::Opened(opening)) = handover.next() else {
            unreachable!("the caller asked whether it leads on")
        };
        // The group has refused all reads, and told all proposers.
        self.reads.clear();
        if let Some(run) = &mut self.current {
            run.withdraw();
        }
        let bodies: Vec<_> = bodies(handover).collect();
        if self.number() != Some(opening.epoch.number) {
            self.previous = None;
            self.counts.jumps += 1;
            fx.persist(Record::Began(opening.clone()));
            let before = self.epoch().cloned();
            let opened = self.open(*opening, Vec::new(), now, fx);
            if let Some(before) = &before {
                self.note_move(before, now);
            }
            self.follow(opened, now, fx);
            self.linger.begin(self.me(), now);
            self.begin_watch(now);
            self.tell_reached(fx);
        }
        let mistakes = self.mistakes();
        let mut outcome = Default::default();
        // A protocol that has just begun takes whatever place its epoch has come to.
        if let Some(run) = &mut self.current
            && !bodies.is_empty()
        {
            let (reads, outcome) = (&mut self.reads, &mut outcome);
            let mut outlet = Outlet { is_current: true, reads, outcome, mistakes, fx };
            run.install(now, bodies, &mut outlet);
        }
        self.follow(outcome, now, fx);
        // Nothing more before the state is durable: the next step is after that.
        self.arriving = true;
    }

    /// The state that was taken over is durable: what waited for that.
    pub(crate) fn arrive(&mut self, now: Now, fx: &mut Fx) {
        if std::mem::take(&mut self.arriving) {
            self.tell_suspicions(now, fx);
            self.take_early(now, fx);
        }
    }
}

fn bodies(records: impl Iterator<Item = Record>) -> impl Iterator<Item = RecordBody> {
    records.filter_map(|record| match record {
        Record::Of { body, .. } => Some(body),
        Record::Opened(_) | Record::Began(_) | Record::Left(_) => None,
    })
}

/// What of an image another member may take over.
pub(crate) fn handover(image: Vec<Record>) -> Vec<Record> {
    let mut image = image.into_iter();
    let Some(opened @ Record::Opened(_)) = image.next() else { return Vec::new() };
    let Record::Opened(opening) = &opened else { unreachable!("just matched") };
    let epoch = opening.epoch.number;
    let bodies = run::handover(bodies(image).collect());
    let bodies = bodies.into_iter().map(|body| Record::Of { epoch, body });
    std::iter::once(opened).chain(bodies).collect()
}
