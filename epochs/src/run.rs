//! One epoch's protocol at work.
//!
//! Inside, members are known by their seats, records are numbered from 1 and slots begin at 1, as
//! if there were no other epochs. Outside, members have places, and effects wait for records of
//! the whole journal. The translation is here and in [`passage`](crate::passage).

use std::hash::{Hash, Hasher};
use std::marker::PhantomData;

use panchayat_consensus::{
    Account, Command, Durable, EffectsOf, EpochNumber, Input, Now, Protocol, ReplicaId, ReplicaSet,
    Shift, Subject, Token, WallTime,
};
use panchayat_epaxos::EPaxos;
use panchayat_fastpaxos::FastPaxos;
use panchayat_multipaxos::MultiPaxos;

use crate::adaptive::Sample;
use crate::epoch::{Epoch, Opening};
use crate::message::Body;
use crate::order::{OrderConfig, Ordered, Ordering};
use crate::passage::{Mistakes, Outcome, Passage, Reads};
use crate::record::{Record, RecordBody};
use crate::replica::Fx;

/// Who sits where.
#[derive(Clone, Debug, Hash)]
pub(crate) struct Seats {
    by_seat: Vec<ReplicaId>,
    /// Everybody's seat is its place.
    straight: bool,
}

impl Seats {
    fn of(epoch: &Epoch) -> Self {
        let by_seat: Vec<_> = epoch.members.iter().map(|member| member.place).collect();
        let straight = by_seat.iter().enumerate().all(|(seat, place)| seat == place.index());
        Self { by_seat, straight }
    }

    pub(crate) fn place(&self, seat: ReplicaId) -> ReplicaId {
        self.by_seat[seat.index()]
    }

    pub(crate) fn places(&self, seats: ReplicaSet) -> ReplicaSet {
        if self.straight { seats } else { seats.iter().map(|seat| self.place(seat)).collect() }
    }

    fn seat(&self, place: ReplicaId) -> Option<ReplicaId> {
        let seat = self.by_seat.iter().position(|other| *other == place)?;
        Some(ReplicaId(seat as u8))
    }
}

/// A protocol and what lies between its records and ours.
#[derive(Clone, Debug)]
struct Inside<P: Protocol> {
    protocol: P,
    effects: EffectsOf<P>,
    shift: Shift,
}

// They are called so.
#[allow(clippy::enum_variant_names)]
#[derive(Clone, Debug)]
enum Inner {
    EPaxos(Box<Inside<EPaxos>>),
    MultiPaxos(Box<Inside<MultiPaxos>>),
    FastPaxos(Box<Inside<FastPaxos>>),
}

macro_rules! inside {
    ($inner:expr, $inside:ident => $do:expr) => {
        match $inner {
            Inner::EPaxos($inside) => $do,
            Inner::MultiPaxos($inside) => $do,
            Inner::FastPaxos($inside) => $do,
        }
    };
}

/// The protocol of one epoch.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    pub(crate) opening: Opening,
    seats: Seats,
    inner: Inner,
    /// What is measured, in a watched epoch.
    pub(crate) sample: Option<Box<Sample>>,
}

/// Where a step's effects go.
pub(crate) struct Outlet<'a> {
    /// Whether the epoch is the current one.
    pub(crate) is_current: bool,
    pub(crate) reads: &'a mut Reads,
    pub(crate) outcome: &'a mut Outcome,
    pub(crate) mistakes: Mistakes,
    pub(crate) fx: &'a mut Fx,
}

impl Run {
    /// The protocol of an epoch as its records left it. Nothing leaves before `floor`, which is what
    /// `shift` begins after.
    pub(crate) fn open(
        opening: Opening,
        config: OrderConfig,
        records: Vec<RecordBody>,
        shift: Shift,
        now: Now,
        outlet: &mut Outlet<'_>,
    ) -> Self {
        let seats = Seats::of(&opening.epoch);
        let now = later(now, opening.floor);
        let inner = match config {
            OrderConfig::EPaxos(config) => {
                Inner::EPaxos(Inside::restore(config, records, shift, now))
            }
            OrderConfig::MultiPaxos(config) => {
                Inner::MultiPaxos(Inside::restore(config, records, shift, now))
            }
            OrderConfig::FastPaxos(config) => {
                Inner::FastPaxos(Inside::restore(config, records, shift, now))
            }
        };
        let mut run = Self { opening, seats, inner, sample: None };
        run.pass(outlet);
        run
    }

    pub(crate) fn number(&self) -> EpochNumber {
        self.opening.epoch.number
    }

    /// Everybody has a seat who has a place.
    pub(crate) fn seat(&self, place: ReplicaId) -> Option<ReplicaId> {
        self.seats.seat(place)
    }

    pub(crate) fn places(&self, seats: ReplicaSet) -> ReplicaSet {
        self.seats.places(seats)
    }

    /// Gives the protocol an input that is for it as it is.
    pub(crate) fn step(&mut self, now: Now, input: Input<Body>, outlet: &mut Outlet<'_>) {
        let now = later(now, self.opening.floor);
        inside!(&mut self.inner, inside => inside.step(now, input));
        self.pass(outlet);
    }

    /// Tells the protocol what of its own is durable.
    pub(crate) fn durable(&mut self, now: Now, durable: Durable, outlet: &mut Outlet<'_>) {
        let durable = inside!(&mut self.inner, inside => {
            inside.shift.inner(durable, inside.effects.last_record())
        });
        self.step(now, Input::Durable(durable), outlet);
    }

    /// Lets the effects out.
    pub(crate) fn pass(&mut self, outlet: &mut Outlet<'_>) {
        let Self { opening, seats, inner, sample } = self;
        let sample = sample.as_deref_mut();
        inside!(inner, inside => inside.pass(&opening.epoch, seats, sample, outlet));
    }

    pub(crate) fn persist_executed(&mut self, outlet: &mut Outlet<'_>) {
        inside!(&mut self.inner, inside => inside.protocol.persist_executed(&mut inside.effects));
        self.pass(outlet);
    }

    pub(crate) fn withdraw(&mut self) -> Vec<(Token, Command)> {
        inside!(&mut self.inner, inside => inside.protocol.withdraw())
    }

    pub(crate) fn image(&self) -> Vec<Record> {
        let epoch = self.number();
        let bodies = inside!(&self.inner, inside => inside.image());
        bodies.into_iter().map(|body| Record::Of { epoch, body }).collect()
    }

    pub(crate) fn can_install(&self, handover: &[RecordBody]) -> bool {
        inside!(&self.inner, inside => inside.can_install(handover))
    }

    pub(crate) fn install(&mut self, now: Now, handover: Vec<RecordBody>, outlet: &mut Outlet<'_>) {
        let now = later(now, self.opening.floor);
        inside!(&mut self.inner, inside => inside.install(now, handover));
        self.pass(outlet);
    }

    pub(crate) fn needs_state(&self) -> ReplicaSet {
        self.places(inside!(&self.inner, inside => inside.protocol.needs_state()))
    }

    pub(crate) fn wants_state(&self) -> bool {
        inside!(&self.inner, inside => inside.protocol.wants_state())
    }

    pub(crate) fn hold(&mut self, now: Now) {
        inside!(&mut self.inner, inside => inside.protocol.hold(now));
    }

    pub(crate) fn hand_over(&mut self, to: ReplicaId, now: Now, outlet: &mut Outlet<'_>) -> bool {
        let Some(to) = self.seat(to) else { return false };
        let now = later(now, self.opening.floor);
        let begins = inside!(&mut self.inner, inside => {
            inside.protocol.hand_over(to, now, &mut inside.effects)
        });
        self.pass(outlet);
        begins
    }

    pub(crate) fn proposed_after(&self) -> WallTime {
        let after = inside!(&self.inner, inside => inside.protocol.proposed_after());
        after.max(self.opening.floor)
    }

    pub(crate) fn counters(&self) -> Vec<(&'static str, u64)> {
        inside!(&self.inner, inside => Protocol::counters(&inside.protocol))
    }

    pub(crate) fn leader(&self) -> Option<ReplicaId> {
        let seat = inside!(&self.inner, inside => Protocol::leader(&inside.protocol));
        seat.map(|seat| self.seats.place(seat))
    }

    pub(crate) fn status(&self) -> Option<String> {
        inside!(&self.inner, inside => Protocol::status(&inside.protocol))
    }

    pub(crate) fn account(&self, subject: Subject, now: Now) -> Account {
        let mut account =
            inside!(&self.inner, inside => Protocol::account(&inside.protocol, subject, now));
        for waiting in &mut account.waiting {
            waiting.held_by = waiting.held_by.map(|seat| self.seats.place(seat));
        }
        account
    }

    pub(crate) fn check_invariants(&self) {
        inside!(&self.inner, inside => inside.protocol.check_invariants());
    }

    pub(crate) fn ordering(&self) -> Ordering<'_> {
        match &self.inner {
            Inner::EPaxos(inside) => Ordering::EPaxos(&inside.protocol),
            Inner::MultiPaxos(inside) => Ordering::MultiPaxos(&inside.protocol),
            Inner::FastPaxos(inside) => Ordering::FastPaxos(&inside.protocol),
        }
    }
}

impl<P: Ordered> Inside<P> {
    fn restore(config: P::Config, records: Vec<RecordBody>, shift: Shift, now: Now) -> Box<Self> {
        let mut effects = EffectsOf::<P>::default();
        let records = records.into_iter().filter_map(P::of_record);
        let protocol = P::restore(config, records, now, &mut effects);
        Box::new(Self { protocol, effects, shift })
    }

    fn step(&mut self, now: Now, input: Input<Body>) {
        let input = match input {
            Input::Receive { from, message } => match P::message(message) {
                Some(message) => Input::Receive { from, message },
                // Of another protocol: its sender is not of one mind with us.
                None => return,
            },
            Input::Propose { token, command } => Input::Propose { token, command },
            Input::Read { token, assurance, footprint } => {
                Input::Read { token, assurance, footprint }
            }
            Input::Durable(durable) => Input::Durable(durable),
            Input::PeerUp(peer) => Input::PeerUp(peer),
            Input::PeerSuspected(peer) => Input::PeerSuspected(peer),
            Input::Wake => Input::Wake,
        };
        self.protocol.step(now, input, &mut self.effects);
    }

    fn pass(
        &mut self,
        epoch: &Epoch,
        seats: &Seats,
        sample: Option<&mut Sample>,
        outlet: &mut Outlet<'_>,
    ) {
        let mut passage = Passage::<P> {
            number: epoch.number,
            seats,
            current: outlet.is_current.then_some(epoch),
            sample,
            reads: outlet.reads,
            outcome: outlet.outcome,
            mistakes: outlet.mistakes,
            protocol: PhantomData,
        };
        outlet.fx.graft(&mut self.effects, &mut self.shift, &mut passage);
    }

    fn image(&self) -> Vec<RecordBody> {
        self.protocol.image().into_iter().map(P::record).collect()
    }

    fn can_install(&self, handover: &[RecordBody]) -> bool {
        let handover = handover.iter().cloned().filter_map(P::of_record);
        self.protocol.can_install(&handover.collect::<Vec<_>>())
    }

    fn install(&mut self, now: Now, handover: Vec<RecordBody>) {
        let handover = handover.into_iter().filter_map(P::of_record).collect();
        self.protocol.install(now, handover, &mut self.effects);
    }
}

/// The part of an epoch's image that another member may take over.
pub(crate) fn handover(image: Vec<RecordBody>) -> Vec<RecordBody> {
    fn of<P: Ordered>(image: Vec<RecordBody>) -> Vec<RecordBody> {
        let records = image.into_iter().filter_map(P::of_record).collect();
        P::handover(records).into_iter().map(P::record).collect()
    }
    match image.first() {
        None => Vec::new(),
        Some(RecordBody::EPaxos(_)) => of::<EPaxos>(image),
        Some(RecordBody::MultiPaxos(_)) => of::<MultiPaxos>(image),
        Some(RecordBody::FastPaxos(_)) => of::<FastPaxos>(image),
    }
}

/// Clocks may differ, and an epoch's times come after its seal's.
fn later(now: Now, floor: WallTime) -> Now {
    Now { wall: now.wall.max(WallTime(floor.0.saturating_add(1))), ..now }
}

impl Hash for Run {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (&self.opening, &self.sample).hash(state);
        inside!(&self.inner, inside => inside.protocol.hash(state));
    }
}
