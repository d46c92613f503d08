//! The invariants of epochs: those of every epoch's protocol, and that all agree on the epochs.

use std::collections::BTreeMap;

use panchayat_consensus::wire::from_bytes;
use panchayat_consensus::{
    Command, EffectsOf, EpochNumber, InstanceId, Now, Quorums, ReplicaId, ReplicaSet,
};
use panchayat_epaxos::EPaxos;
use panchayat_epochs::{
    Body, Epoch, Epochs, Message, Opening, Order, Ordering, Record, RecordBody,
};
use panchayat_fastpaxos::FastPaxos;
use panchayat_multipaxos::MultiPaxos;
use rustc_hash::{FxHashMap, FxHashSet};

use crate::epaxos::EPaxosChecks;
use crate::fastpaxos::FastPaxosChecks;
use crate::flaw::{Flaw, Invariant};
use crate::multipaxos::MultiPaxosChecks;
use crate::setup::Setup;
use crate::subject::{Checks, Place, Seat, Subject};

/// How far ahead of its proposer's clock a seal of EPaxos may be.
const SEAL_AHEAD_MAX_US: u64 = 100_000;

/// The checks of one epoch's protocol.
#[allow(clippy::enum_variant_names)]
#[derive(Debug)]
enum Watch {
    EPaxos(Box<EPaxosChecks>),
    MultiPaxos(Box<MultiPaxosChecks>),
    FastPaxos(Box<FastPaxosChecks>),
}

/// What the checks of one epoch's protocol go by.
#[allow(clippy::enum_variant_names)]
#[derive(Clone, Debug)]
pub enum FrozenOf {
    /// Of EPaxos*.
    EPaxos(<EPaxosChecks as Checks<EPaxos>>::Frozen),
    /// Of Multi-Paxos.
    MultiPaxos(<MultiPaxosChecks as Checks<MultiPaxos>>::Frozen),
    /// Of Fast Paxos.
    FastPaxos(<FastPaxosChecks as Checks<FastPaxos>>::Frozen),
}

#[derive(Debug)]
struct Watched {
    epoch: Epoch,
    watch: Watch,
}

/// Everything that is checked of epochs in one run.
#[derive(Debug, Default)]
pub struct EpochsChecks {
    setup: Option<Setup>,
    epochs: BTreeMap<u64, Watched>,
    openings: BTreeMap<u64, Opening>,
    /// Epochs whose beginning is durable somewhere, or was spoken of. Before that whoever began it may lose
    /// it in a crash, and what was decided there with it: nobody has heard of either.
    bound: FxHashSet<u64>,
    /// For the checks of epochs that are yet to begin.
    proposed: Vec<(Place, Command)>,
    /// Who holds the beginning of which epoch durably.
    entered: FxHashSet<(ReplicaId, u64)>,
    /// Which epoch each replica is in, and what it has executed a seal of.
    stands_in: FxHashMap<ReplicaId, u64>,
    sealed: FxHashMap<Place, u64>,
    /// Epochs below this one a run went through again when it began: their protocols are gone, and so are
    /// those who could say what of them was executed before.
    replayed: FxHashMap<Place, u64>,
    /// Runs of epochs' protocols that began in this run of their replica, with nothing.
    fresh: FxHashSet<(Place, u64)>,
    transitions: FxHashSet<&'static str>,
    changes: u64,
}

/// Runs `$do` with the checks of an epoch's protocol and what of `$what` is of that protocol.
macro_rules! each {
    ($watched:expr, $what:expr, $kind:ident, ($checks:ident, $inner:ident) => $do:expr) => {
        match ($watched, $what) {
            (Watch::EPaxos($checks), $kind::EPaxos($inner)) => $do,
            (Watch::MultiPaxos($checks), $kind::MultiPaxos($inner)) => $do,
            (Watch::FastPaxos($checks), $kind::FastPaxos($inner)) => $do,
            _ => Err(Flaw::general(
                Invariant::Epochs,
                "something of another protocol than its epoch's".into(),
            )),
        }
    };
}

impl EpochsChecks {
    /// An epoch begins somewhere: everywhere as the same.
    fn begins(&mut self, at: Place, opening: &Opening) -> Result<(), Flaw> {
        let number = opening.epoch.number.0;
        if let Some(known) = self.openings.get(&number) {
            if known == opening {
                return Ok(());
            }
            if !self.bound.contains(&number) {
                self.forget(number);
                return self.begins(at, opening);
            }
            let text = format!("{} begins {opening:?}, others began {known:?}", at.replica);
            return Err(Flaw::general(Invariant::Epochs, text));
        }
        if let Some(before) = self.openings.get(&(number - 1)) {
            if let Err(error) = before.epoch.may_be_followed_by(&opening.epoch) {
                let text = format!("{opening:?} may not follow {before:?}: {error}");
                return Err(Flaw::general(Invariant::Epochs, text));
            }
            self.changes += 1;
            self.transitions.insert(transition(&before.epoch, &opening.epoch));
        }
        self.openings.insert(number, opening.clone());
        let Some(setup) = &self.setup else { return Ok(()) };
        let n = opening.epoch.members.len();
        let quorums = Quorums::for_replicas(n).expect("epochs are checked");
        let mut setup = setup.clone();
        setup.delays_us = vec![vec![0; n]; n];
        setup.quorums = quorums;
        let epoch = opening.epoch.clone();
        let mut watch = watch(&epoch, quorums);
        match &mut watch {
            Watch::EPaxos(checks) => checks.begin(&setup),
            Watch::MultiPaxos(checks) => checks.begin(&setup),
            Watch::FastPaxos(checks) => checks.begin(&setup),
        }
        let mut watched = Watched { epoch, watch };
        self.proposed.iter().for_each(|(at, command)| watched.proposed(*at, command));
        self.epochs.insert(number, watched);
        Ok(())
    }

    /// The same, and it can be lost no more.
    fn binds(&mut self, at: Place, opening: &Opening) -> Result<(), Flaw> {
        self.begins(at, opening)?;
        self.bound.insert(opening.epoch.number.0);
        Ok(())
    }

    /// An epoch began only in the memory of replicas that have lost it.
    fn forget(&mut self, number: u64) {
        self.openings.remove(&number);
        self.epochs.remove(&number);
        self.fresh.retain(|(_, fresh)| *fresh != number);
    }

    fn of(&mut self, epoch: EpochNumber) -> Result<&mut Watched, Flaw> {
        self.epochs.get_mut(&epoch.0).ok_or_else(|| {
            Flaw::general(Invariant::Epochs, format!("{epoch:?} is spoken of before it began"))
        })
    }

    /// A run of an epoch's protocol begins at `at` without any record: whatever that replica had of it before
    /// a crash must have been worth nothing to anybody.
    fn begins_anew(&mut self, at: Place, number: u64) -> Result<(), Flaw> {
        if !self.fresh.insert((at, number)) {
            return Ok(());
        }
        let Some(setup) = self.setup.clone() else { return Ok(()) };
        let Some(watched) = self.epochs.get_mut(&number) else { return Ok(()) };
        let Ok(at) = watched.seated(at) else { return Ok(()) };
        let quorums = Quorums::for_replicas(watched.epoch.members.len());
        let seat = Seat {
            replica: at.replica,
            quorums: quorums.expect("epochs are checked"),
            seed: 0,
            tuning: &setup.tuning,
            mistake: None,
        };
        match &mut watched.watch {
            Watch::EPaxos(checks) => checks.restored(at, None, &[], &newborn::<EPaxos>(&seat)),
            Watch::MultiPaxos(checks) => {
                checks.restored(at, None, &[], &newborn::<MultiPaxos>(&seat))
            }
            Watch::FastPaxos(checks) => {
                checks.restored(at, None, &[], &newborn::<FastPaxos>(&seat))
            }
        }
    }

    fn enters(&mut self, at: ReplicaId, number: u64) {
        self.entered.insert((at, number));
    }
}

fn newborn<P: Subject>(seat: &Seat<'_>) -> P {
    P::restore(P::config(seat), [], Now::default(), &mut EffectsOf::<P>::default())
}

fn transition(before: &Epoch, after: &Epoch) -> &'static str {
    use panchayat_epochs::Order::{EPaxos, FastPaxos, MultiPaxos};
    match (before.order, after.order) {
        (EPaxos, MultiPaxos) => "epaxos_to_multipaxos",
        (EPaxos, FastPaxos) => "epaxos_to_fastpaxos",
        (MultiPaxos, EPaxos) => "multipaxos_to_epaxos",
        (MultiPaxos, FastPaxos) => "multipaxos_to_fastpaxos",
        (FastPaxos, EPaxos) => "fastpaxos_to_epaxos",
        (FastPaxos, MultiPaxos) => "fastpaxos_to_multipaxos",
        (EPaxos, EPaxos) => "epaxos_goes_on",
        (MultiPaxos, MultiPaxos) => "multipaxos_goes_on",
        (FastPaxos, FastPaxos) => "fastpaxos_goes_on",
    }
}

fn watch(epoch: &Epoch, quorums: Quorums) -> Watch {
    match epoch.order {
        panchayat_epochs::Order::EPaxos => Watch::EPaxos(Box::new(Checks::new(quorums))),
        panchayat_epochs::Order::MultiPaxos => Watch::MultiPaxos(Box::new(Checks::new(quorums))),
        panchayat_epochs::Order::FastPaxos => Watch::FastPaxos(Box::new(Checks::new(quorums))),
    }
}

impl Watched {
    /// A place as its seat here.
    fn seated(&self, at: Place) -> Result<Place, Flaw> {
        match self.epoch.seat_of(at.replica) {
            Some(replica) => Ok(Place { replica, ..at }),
            None => {
                let text = format!("{} has no seat in {:?}", at.replica, self.epoch.number);
                Err(Flaw::general(Invariant::Epochs, text))
            }
        }
    }

    fn proposed(&mut self, at: Place, command: &Command) {
        let Ok(at) = self.seated(at) else { return };
        match &mut self.watch {
            Watch::EPaxos(checks) => checks.proposed(at, command),
            Watch::MultiPaxos(checks) => checks.proposed(at, command),
            Watch::FastPaxos(checks) => checks.proposed(at, command),
        }
    }
}

/// The records of one epoch, as its own protocol's.
macro_rules! bodies {
    ($records:expr, $epoch:expr, $kind:ident) => {
        $records
            .iter()
            .filter_map(|record| match record {
                Record::Of { epoch, body: RecordBody::$kind(record) } if *epoch == $epoch => {
                    Some(record.clone())
                }
                _ => None,
            })
            .collect::<Vec<_>>()
    };
}

fn opened(records: &[Record]) -> Option<&Opening> {
    match records.first() {
        Some(Record::Opened(opening)) => Some(opening),
        _ => None,
    }
}

impl Checks<Epochs> for EpochsChecks {
    /// What the checks of the epoch go by in which the state was taken.
    type Frozen = Option<(u64, FrozenOf)>;

    fn new(_: Quorums) -> Self {
        Self::default()
    }

    fn begin(&mut self, setup: &Setup) {
        self.setup = Some(setup.clone());
    }

    fn proposed(&mut self, at: Place, command: &Command) {
        self.proposed.push((at, command.clone()));
        self.epochs.values_mut().for_each(|watched| watched.proposed(at, command));
    }

    fn persisted(&mut self, at: Place, record: &Record) -> Result<(), Flaw> {
        match record {
            Record::Opened(opening) | Record::Left(opening) => self.begins(at, opening),
            Record::Began(opening) => {
                self.begins(at, opening)?;
                self.begins_anew(at, opening.epoch.number.0)
            }
            Record::Of { epoch, body } => {
                let watched = self.of(*epoch)?;
                let at = watched.seated(at)?;
                each!(&mut watched.watch, body, RecordBody, (checks, record) => {
                    checks.persisted(at, record)
                })
            }
        }
    }

    fn durable(&mut self, at: Place, record: &Record) -> Result<(), Flaw> {
        match record {
            Record::Opened(opening) | Record::Began(opening) | Record::Left(opening) => {
                self.enters(at.replica, opening.epoch.number.0);
                self.binds(at, opening)
            }
            Record::Of { epoch, body } => {
                let watched = self.of(*epoch)?;
                let at = watched.seated(at)?;
                each!(&mut watched.watch, body, RecordBody, (checks, record) => {
                    checks.durable(at, record)
                })
            }
        }
    }

    fn restored(
        &mut self,
        at: Place,
        base: Option<(&[Record], &Self::Frozen)>,
        records: &[Record],
        protocol: &Epochs,
    ) -> Result<(), Flaw> {
        // Nothing is known of what a node that has not joined holds, and nothing may count.
        let (image, frozen) = base.map_or((&[][..], &None), |(image, frozen)| (image, frozen));
        let first = opened(image).or_else(|| opened(records)).map(|o| o.epoch.number.0);
        for record in image.iter().chain(records) {
            if let Record::Opened(opening) | Record::Began(opening) = record {
                self.binds(at, opening)?;
                self.enters(at.replica, opening.epoch.number.0);
            }
        }
        self.stands_in.remove(&at.replica);
        if let Some(epoch) = protocol.epoch() {
            self.stands_in.insert(at.replica, epoch.number.0);
            let before = protocol.epoch_before().map(|epoch| epoch.number.0);
            self.replayed.insert(at, before.unwrap_or(epoch.number.0));
        }
        let numbers: Vec<u64> = self.epochs.keys().copied().collect();
        for number in numbers.into_iter().filter(|number| first.is_some_and(|f| *number >= f)) {
            let epoch = EpochNumber(number);
            let Some(ordering) = protocol.ordering(epoch) else { continue };
            let watched = self.of(epoch)?;
            let at = watched.seated(at)?;
            let of_base = frozen.as_ref().filter(|(taken, _)| *taken == number);
            let frozen = of_base.map(|(_, frozen)| frozen);
            match (&mut watched.watch, ordering) {
                (Watch::EPaxos(checks), Ordering::EPaxos(protocol)) => {
                    let image = bodies!(image, epoch, EPaxos);
                    let base = frozen.and_then(|frozen| match frozen {
                        FrozenOf::EPaxos(frozen) => Some((&image[..], frozen)),
                        _ => None,
                    });
                    checks.restored(at, base, &bodies!(records, epoch, EPaxos), protocol)?;
                }
                (Watch::MultiPaxos(checks), Ordering::MultiPaxos(protocol)) => {
                    let image = bodies!(image, epoch, MultiPaxos);
                    let base = frozen.and_then(|frozen| match frozen {
                        FrozenOf::MultiPaxos(frozen) => Some((&image[..], frozen)),
                        _ => None,
                    });
                    checks.restored(at, base, &bodies!(records, epoch, MultiPaxos), protocol)?;
                }
                (Watch::FastPaxos(checks), Ordering::FastPaxos(protocol)) => {
                    let image = bodies!(image, epoch, FastPaxos);
                    let base = frozen.and_then(|frozen| match frozen {
                        FrozenOf::FastPaxos(frozen) => Some((&image[..], frozen)),
                        _ => None,
                    });
                    checks.restored(at, base, &bodies!(records, epoch, FastPaxos), protocol)?;
                }
                _ => {
                    let text = format!("{epoch:?} runs another protocol than it should");
                    return Err(Flaw::general(Invariant::Epochs, text));
                }
            }
        }
        Ok(())
    }

    fn snapshot_durable(&mut self, at: Place) {
        let Some(number) = self.stands_in.get(&at.replica).copied() else { return };
        self.enters(at.replica, number);
        for watched in self.epochs.values_mut() {
            let Ok(at) = watched.seated(at) else { continue };
            match &mut watched.watch {
                Watch::EPaxos(checks) => checks.snapshot_durable(at),
                Watch::MultiPaxos(checks) => checks.snapshot_durable(at),
                Watch::FastPaxos(checks) => checks.snapshot_durable(at),
            }
        }
    }

    fn freeze(&self, at: Place, image: &[Record]) -> Self::Frozen {
        let number = opened(image)?.epoch.number.0;
        let watched = self.epochs.get(&number)?;
        let at = watched.seated(at).ok()?;
        Some((
            number,
            match &watched.watch {
                Watch::EPaxos(checks) => FrozenOf::EPaxos(checks.freeze(at, &[])),
                Watch::MultiPaxos(checks) => FrozenOf::MultiPaxos(checks.freeze(at, &[])),
                Watch::FastPaxos(checks) => FrozenOf::FastPaxos(checks.freeze(at, &[])),
            },
        ))
    }

    fn taken_over(
        &mut self,
        at: Place,
        handover: &[Record],
        frozen: &Self::Frozen,
        protocol: &Epochs,
    ) -> Result<(), Flaw> {
        let Some(opening) = opened(handover) else {
            let text = "a state was handed over that is of no epoch".into();
            return Err(Flaw::general(Invariant::Epochs, text));
        };
        self.binds(at, opening)?;
        let epoch = opening.epoch.number;
        if self.stands_in.insert(at.replica, epoch.0) != Some(epoch.0) {
            self.begins_anew(at, epoch.0)?;
        }
        let (Some((number, frozen)), Some(ordering)) = (frozen, protocol.ordering(epoch)) else {
            // What it knew already led further on at once.
            let first = protocol.epoch_before().or(protocol.epoch()).map(|epoch| epoch.number.0);
            self.replayed.insert(at, first.unwrap_or(0));
            return Ok(());
        };
        if *number != epoch.0 {
            let text = format!("a state of epoch {number} is handed over as one of {epoch:?}");
            return Err(Flaw::general(Invariant::Epochs, text));
        }
        let watched = self.of(epoch)?;
        let at = watched.seated(at)?;
        match (&mut watched.watch, frozen, ordering) {
            (Watch::EPaxos(checks), FrozenOf::EPaxos(frozen), Ordering::EPaxos(protocol)) => {
                checks.taken_over(at, &bodies!(handover, epoch, EPaxos), frozen, protocol)
            }
            (
                Watch::MultiPaxos(checks),
                FrozenOf::MultiPaxos(frozen),
                Ordering::MultiPaxos(protocol),
            ) => checks.taken_over(at, &bodies!(handover, epoch, MultiPaxos), frozen, protocol),
            (
                Watch::FastPaxos(checks),
                FrozenOf::FastPaxos(frozen),
                Ordering::FastPaxos(protocol),
            ) => checks.taken_over(at, &bodies!(handover, epoch, FastPaxos), frozen, protocol),
            _ => {
                let text = format!("{epoch:?} is handed over as of another protocol");
                Err(Flaw::general(Invariant::Epochs, text))
            }
        }
    }

    fn sent(&mut self, at: Place, to: ReplicaSet, message: &Message) -> Result<(), Flaw> {
        match message {
            Message::Current { opening, .. } => self.binds(at, opening),
            Message::Reached { epoch } | Message::Report { epoch, .. } => self.speaks(at, *epoch),
            Message::Of { epoch, body } => {
                self.speaks(at, *epoch)?;
                let watched = self.of(*epoch)?;
                let at = watched.seated(at)?;
                let to = to.iter().filter_map(|place| watched.epoch.seat_of(place)).collect();
                each!(&mut watched.watch, body, Body, (checks, message) => {
                    checks.sent(at, to, message)
                })
            }
        }
    }

    fn stepped(
        &mut self,
        at: Place,
        protocol: &Epochs,
        touched: &[InstanceId],
    ) -> Result<(), Flaw> {
        let Some(current) = protocol.epoch().map(|epoch| epoch.number) else { return Ok(()) };
        self.stands_in.insert(at.replica, current.0);
        let before = protocol.epoch_before().map(|epoch| epoch.number);
        for epoch in [Some(current), before].into_iter().flatten() {
            let Some(ordering) = protocol.ordering(epoch) else { continue };
            let here = |id: &InstanceId| {
                let (of, id) = Epochs::named(*id);
                (of == epoch).then_some(id)
            };
            let touched: Vec<InstanceId> = touched.iter().filter_map(here).collect();
            let watched = self.of(epoch)?;
            let at = watched.seated(at)?;
            each!(&mut watched.watch, ordering, Ordering, (checks, protocol) => {
                checks.stepped(at, protocol, &touched)
            })?;
        }
        Ok(())
    }

    fn executing(&mut self, at: Place, id: InstanceId, command: &Command) -> Result<(), Flaw> {
        let (epoch, inner) = Epochs::named(id);
        let sealed = self.sealed.get(&at).copied().unwrap_or(0);
        if epoch.0 <= sealed {
            let text = format!("{} executes it after the seal of its epoch", at.replica);
            return Err(Flaw::of(Invariant::Epochs, id, text));
        }
        if let Some(opening) = self.openings.get(&epoch.0).filter(|_| epoch.0 > 1)
            && command.proposed_at <= opening.floor
        {
            let (floor, time) = (opening.floor, command.proposed_at);
            let text =
                format!("{} executes it as of {time:?}, and its epoch began {floor:?}", at.replica);
            return Err(Flaw::of(Invariant::Epochs, id, text));
        }
        let opens = Epoch::of_seal(command).filter(|_| !self.is_too_far_ahead(epoch, command));
        // One that says the same may have come before it in vain.
        let next = self.openings.get(&(epoch.0 + 1));
        let next = next.filter(|next| next.floor == command.proposed_at).map(|next| &next.epoch);
        if opens.is_some() && opens.as_ref() == next {
            self.sealed.insert(at, epoch.0);
        }
        if self.replayed.get(&at).is_some_and(|first| epoch.0 < *first) {
            return Ok(());
        }
        let watched = self.of(epoch)?;
        let at = watched.seated(at)?;
        match &mut watched.watch {
            Watch::EPaxos(checks) => checks.executing(at, inner, command),
            Watch::MultiPaxos(checks) => checks.executing(at, inner, command),
            Watch::FastPaxos(checks) => checks.executing(at, inner, command),
        }
    }

    fn answered(&mut self, id: InstanceId) {
        let (epoch, inner) = Epochs::named(id);
        if let Ok(watched) = self.of(epoch) {
            match &mut watched.watch {
                Watch::EPaxos(checks) => checks.answered(inner),
                Watch::MultiPaxos(checks) => checks.answered(inner),
                Watch::FastPaxos(checks) => checks.answered(inner),
            }
        }
    }

    fn together<'a>(
        &mut self,
        all: impl Iterator<Item = (Place, Now, &'a Epochs)>,
    ) -> Result<(), Flaw> {
        let all: Vec<_> = all.collect();
        for (number, watched) in &mut self.epochs {
            let epoch = EpochNumber(*number);
            let Watch::MultiPaxos(checks) = &mut watched.watch else { continue };
            let seats = &watched.epoch;
            checks.together(all.iter().filter_map(|(at, now, protocol)| {
                let replica = seats.seat_of(at.replica)?;
                let Some(Ordering::MultiPaxos(protocol)) = protocol.ordering(epoch) else {
                    return None;
                };
                Some((Place { replica, ..*at }, *now, protocol))
            }))?;
        }
        Ok(())
    }

    fn coverage(&self, add: &mut dyn FnMut(&'static str, u64)) {
        add("epochs_begun", self.changes);
        for transition in &self.transitions {
            add(transition, 1);
        }
        for watched in self.epochs.values() {
            match &watched.watch {
                Watch::EPaxos(checks) => checks.coverage(add),
                Watch::MultiPaxos(checks) => checks.coverage(add),
                Watch::FastPaxos(checks) => checks.coverage(add),
            }
        }
    }
}

impl EpochsChecks {
    /// Whether a seal of `epoch` is void for the time it was proposed at: the rule of `panchayat_epochs`, said
    /// once more.
    fn is_too_far_ahead(&self, epoch: EpochNumber, seal: &Command) -> bool {
        let is_epaxos = |opening: &Opening| opening.epoch.order == Order::EPaxos;
        let Ok(stated) = from_bytes::<Opening>(seal.payload.clone()) else { return true };
        self.openings.get(&epoch.0).is_some_and(is_epaxos)
            && seal.proposed_at.0 > stated.floor.0 + SEAL_AHEAD_MAX_US
    }

    /// Whoever speaks in an epoch holds its beginning durably.
    fn speaks(&self, at: Place, epoch: EpochNumber) -> Result<(), Flaw> {
        if self.entered.contains(&(at.replica, epoch.0)) {
            return Ok(());
        }
        let text = format!("{} speaks in {epoch:?}, whose beginning it could lose", at.replica);
        Err(Flaw::general(Invariant::DurablePromise, text))
    }
}
