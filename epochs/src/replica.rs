//! One replica through its epochs: its state, and where each input goes.

use std::hash::{Hash, Hasher};

use panchayat_consensus::{
    Account, Assurance, Command, Durable, Effects, EpochNumber, Footprint, Input, InstanceId,
    NotApplied, Now, Protocol, ReadRefusal, ReplicaId, ReplicaSet, Subject, Time, Token, WallTime,
};

use crate::adaptive::{Adaptive, Decision, Rest, is_own};
use crate::behind::Behind;
use crate::config::Config;
use crate::early::Early;
use crate::epoch::{Epoch, EpochError, Opening};
use crate::linger::Linger;
use crate::message::{Body, Message};
use crate::mutation::Mutation;
use crate::order::Ordering;
use crate::passage::{Mistakes, Outcome, Reads, name, named};
use crate::record::Record;
use crate::run::{Outlet, Run};

/// Effects of a replica.
pub(crate) type Fx = Effects<Message, Record>;

/// What a replica is to its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Standing {
    /// A member that votes in this epoch.
    Member(EpochNumber),
    /// It has no state yet, or none from which it could go on: one will come.
    Learner,
    /// It was a member once, and was replaced or removed. This epoch began without it.
    Removed(EpochNumber),
}

/// A replica of one group, through all epochs.
#[derive(Clone, Debug)]
pub struct Epochs {
    pub(crate) config: Config,
    /// The epoch this replica has come to; none before it has joined.
    pub(crate) opening: Option<Opening>,
    /// Its protocol; none if this replica is no member.
    pub(crate) current: Option<Run>,
    /// It was told that it is no member any more, and did not execute the seal: its state is of an
    /// earlier epoch.
    pub(crate) stale: bool,
    /// A state was taken over that is not durable yet.
    pub(crate) arriving: bool,
    /// The epoch before, for those who have not come to its end.
    pub(crate) previous: Option<Run>,
    pub(crate) durable: Durable,
    /// Places whose replicas have not been heard.
    pub(crate) suspected: ReplicaSet,
    pub(crate) reads: Reads,
    /// Messages of the next epoch.
    pub(crate) early: Early,
    pub(crate) linger: Linger,
    pub(crate) behind: Behind,
    /// What is known of what is asked, in a watched epoch.
    pub(crate) adaptive: Option<Adaptive>,
    pub(crate) decided: Option<Decision>,
    /// How long the group is to stay where it is.
    pub(crate) rest: Rest,
    pub(crate) counts: Counts,
}

/// What happened in this run.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    /// Seals executed here.
    pub(crate) changes: u64,
    /// Commands proposed again because a seal was first.
    pub(crate) proposed_again: u64,
    /// States of later epochs taken over.
    pub(crate) jumps: u64,
    /// Whether this replica was told that it is no member any more.
    pub(crate) dismissed: u64,
    /// Changes proposed of its own accord.
    pub(crate) decisions: u64,
}

impl Epochs {
    /// The epoch this replica has come to, as a member or not; `None` before it has joined.
    pub fn epoch(&self) -> Option<&Epoch> {
        self.opening.as_ref().map(|opening| &opening.epoch)
    }

    /// The newest epoch this replica has heard of. It may not have come to it.
    pub fn newest(&self) -> Option<&Epoch> {
        let heard = self.behind.newest.as_deref();
        let newest = [self.opening.as_ref(), heard].into_iter().flatten();
        newest.map(|opening| &opening.epoch).max_by_key(|epoch| epoch.number)
    }

    /// Who may have a place besides the members of [`epoch`](Self::epoch): the epoch before, while it is
    /// kept.
    pub fn epoch_before(&self) -> Option<&Epoch> {
        self.previous.as_ref().map(|run| &run.opening.epoch)
    }

    /// What this replica is to its group.
    pub fn standing(&self) -> Standing {
        match (&self.current, &self.opening) {
            (Some(run), _) => Standing::Member(run.number()),
            (None, Some(opening)) => Standing::Removed(opening.epoch.number),
            (None, None) => Standing::Learner,
        }
    }

    /// Whether `next` may follow the current epoch.
    ///
    /// # Errors
    /// [`EpochError`] names the rule broken.
    pub fn check_next(&self, next: &Epoch) -> Result<(), EpochError> {
        match &self.opening {
            Some(opening) => opening.epoch.may_be_followed_by(next),
            None => Err(EpochError::Number { expected: EpochNumber(1), found: next.number }),
        }
    }

    /// The protocol of an epoch, if it runs here: the current one or the one before.
    pub fn ordering(&self, epoch: EpochNumber) -> Option<Ordering<'_>> {
        let runs = [&self.current, &self.previous].into_iter().flatten();
        runs.into_iter().find(|run| run.number() == epoch).map(Run::ordering)
    }

    /// The current epoch's protocol.
    pub fn current(&self) -> Option<Ordering<'_>> {
        self.current.as_ref().map(Run::ordering)
    }

    /// The name in the life of the group of an instance of an epoch.
    pub fn name(epoch: EpochNumber, id: InstanceId) -> InstanceId {
        name(epoch, id)
    }

    /// The epoch of an instance that is named so, and its name there.
    pub fn named(id: InstanceId) -> (EpochNumber, InstanceId) {
        named(id)
    }

    /// Everything in the current epoch is proposed later than this.
    pub fn floor(&self) -> WallTime {
        self.opening.as_ref().map_or(WallTime(0), |opening| opening.floor)
    }

    /// This replica's place.
    pub fn place(&self) -> ReplicaId {
        self.config.place
    }

    /// Which members have said to have reached the current epoch, this replica included.
    pub fn reached(&self) -> ReplicaSet {
        // Those who were removed say so as well, and others may take their places.
        let members = self.epoch().map(|epoch| epoch.places()).unwrap_or_default();
        members.iter().filter(|place| self.linger.reached.contains(*place)).collect()
    }

    pub(crate) fn me(&self) -> ReplicaId {
        self.config.place
    }

    /// This replica's seat, if it is a member. Another node may have had its place before.
    pub(crate) fn seat_in(&self, epoch: &Epoch) -> Option<ReplicaId> {
        let Config { place, node, .. } = self.config;
        epoch.seat_of(place).filter(|seat| epoch.members[seat.index()].node == node)
    }

    pub(crate) fn number(&self) -> Option<EpochNumber> {
        self.epoch().map(|epoch| epoch.number)
    }

    pub(crate) fn mistakes(&self) -> Mistakes {
        Mistakes {
            executes_after_seal: self.mutated(Mutation::ExecuteAfterSeal),
            reads_across_seal: self.mutated(Mutation::ReadAcrossSeal),
        }
    }

    /// Does `what` with the protocol of the current epoch, or of the one before, and then what follows.
    fn with(
        &mut self,
        is_current: bool,
        now: Now,
        fx: &mut Fx,
        what: impl FnOnce(&mut Run, &mut Outlet<'_>),
    ) {
        let mistakes = self.mistakes();
        let run = if is_current { &mut self.current } else { &mut self.previous };
        let Some(run) = run else { return };
        let mut outcome = Outcome::default();
        let (reads, outcome_of) = (&mut self.reads, &mut outcome);
        let mut outlet = Outlet { is_current, reads, outcome: outcome_of, mistakes, fx };
        what(run, &mut outlet);
        self.follow(outcome, now, fx);
    }

    pub(crate) fn step_current(&mut self, now: Now, input: Input<Body>, fx: &mut Fx) {
        self.with(true, now, fx, |run, outlet| run.step(now, input, outlet));
    }

    fn step_previous(&mut self, now: Now, input: Input<Body>, fx: &mut Fx) {
        self.with(false, now, fx, |run, outlet| run.step(now, input, outlet));
    }

    pub(crate) fn propose(&mut self, token: Token, command: Command, now: Now, fx: &mut Fx) {
        let may = self.current.is_some() && (!command.is_seal() || self.may_seal(&command));
        if !may {
            if !is_own(token) {
                fx.reject(token, NotApplied::Sealed);
            }
        } else {
            if let Some(sample) = self.current.as_mut().and_then(|run| run.sample.as_mut())
                && !command.is_seal()
            {
                sample.proposed();
            }
            self.step_current(now, Input::Propose { token, command }, fx);
        }
    }

    fn may_seal(&self, seal: &Command) -> bool {
        Opening::of_seal(seal).is_some_and(|next| self.check_next(&next.epoch).is_ok())
    }

    pub(crate) fn read(
        &mut self,
        token: Token,
        assurance: Assurance,
        footprint: Footprint,
        now: Now,
        fx: &mut Fx,
    ) {
        if self.current.is_none() {
            fx.refuse_read(token, ReadRefusal::Unreachable);
            return;
        }
        self.reads.insert(token, (assurance, footprint.clone()));
        self.step_current(now, Input::Read { token, assurance, footprint }, fx);
    }

    fn receive(&mut self, from: ReplicaId, message: Message, now: Now, fx: &mut Fx) {
        match message {
            Message::Of { epoch, body } => self.receive_of(from, epoch, body, now, fx),
            Message::Report { epoch, report } => self.on_report(from, epoch, report, now),
            Message::Reached { epoch } => self.on_reached(from, epoch, now, fx),
            Message::Current { opening, reached } => {
                self.on_current(from, *opening, reached, now, fx)
            }
        }
    }

    fn receive_of(
        &mut self,
        from: ReplicaId,
        epoch: EpochNumber,
        body: Body,
        now: Now,
        fx: &mut Fx,
    ) {
        let Some(number) = self.number() else { return self.note_ahead(from, now) };
        if epoch > number {
            self.note_ahead(from, now);
            if epoch.0 == number.0 + 1 {
                self.early.push(from, epoch, body);
            }
            return;
        }
        let is_current = epoch == number;
        let run = if is_current { &self.current } else { &self.previous };
        match run.as_ref().filter(|run| run.number() == epoch).map(|run| run.seat(from)) {
            Some(Some(seat)) => {
                let input = Input::Receive { from: seat, message: body };
                if is_current {
                    self.step_current(now, input, fx);
                } else {
                    self.step_previous(now, input, fx);
                }
            }
            // It has no part in this epoch, or this replica has not.
            Some(None) => self.tell_current(from, now, fx),
            None if !is_current => self.tell_current(from, now, fx),
            None => {}
        }
    }

    fn hear(&mut self, place: ReplicaId, up: bool, now: Now, fx: &mut Fx) {
        if up {
            self.suspected.remove(place);
        } else {
            self.suspected.insert(place);
        }
        let input = if up { Input::PeerUp } else { Input::PeerSuspected };
        for is_current in [true, false] {
            let run = if is_current { &self.current } else { &self.previous };
            if let Some(seat) = run.as_ref().and_then(|run| run.seat(place)) {
                self.with(is_current, now, fx, |run, outlet| run.step(now, input(seat), outlet));
            }
        }
    }
}

impl Protocol for Epochs {
    type Config = Config;
    type Message = Message;
    type Record = Record;

    fn restore(
        config: Config,
        records: impl IntoIterator<Item = Record>,
        now: Now,
        effects: &mut Fx,
    ) -> Self {
        let mut replica = Self::new(config, now);
        replica.replay(records, now, effects);
        replica.attend(now, effects);
        replica
    }

    fn step(&mut self, now: Now, input: Input<Message>, effects: &mut Fx) {
        self.arrive(now, effects);
        match input {
            Input::Propose { token, command } => self.propose(token, command, now, effects),
            Input::Read { token, assurance, footprint } => {
                self.read(token, assurance, footprint, now, effects);
            }
            Input::Receive { from, message } => self.receive(from, message, now, effects),
            Input::Durable(durable) => {
                self.durable = durable;
                self.with(false, now, effects, |run, outlet| run.durable(now, durable, outlet));
                self.with(true, now, effects, |run, outlet| run.durable(now, durable, outlet));
            }
            Input::PeerUp(place) => self.hear(place, true, now, effects),
            Input::PeerSuspected(place) => self.hear(place, false, now, effects),
            Input::Wake => {
                self.step_previous(now, Input::Wake, effects);
                self.step_current(now, Input::Wake, effects);
            }
        }
        self.attend(now, effects);
    }

    fn image(&self) -> Vec<Record> {
        self.take_image()
    }

    fn handover(image: Vec<Record>) -> Vec<Record> {
        crate::restore::handover(image)
    }

    fn can_install(&self, handover: &[Record]) -> bool {
        self.leads_on(handover)
    }

    fn install(&mut self, now: Now, handover: Vec<Record>, effects: &mut Fx) {
        self.take_over(handover, now, effects);
        self.attend(now, effects);
    }

    fn needs_state(&self) -> ReplicaSet {
        self.states_ahead()
    }

    fn wants_state(&self) -> bool {
        self.is_without_state() || self.current.as_ref().is_some_and(Run::wants_state)
    }

    fn hold(&mut self, now: Now) {
        if let Some(run) = &mut self.current {
            run.hold(now);
        }
    }

    fn persist_executed(&mut self, effects: &mut Fx) {
        self.note_executed(effects);
    }

    fn withdraw(&mut self) -> Vec<(Token, Command)> {
        let mut waiting = self.current.as_mut().map(Run::withdraw).unwrap_or_default();
        waiting.retain(|(token, _)| !is_own(*token));
        waiting
    }

    fn hand_over(&mut self, to: ReplicaId, now: Now, effects: &mut Fx) -> bool {
        let mut begins = false;
        self.with(true, now, effects, |run, outlet| begins = run.hand_over(to, now, outlet));
        begins
    }

    fn note_read(&mut self, footprint: &Footprint) {
        if let Some(sample) = self.current.as_mut().and_then(|run| run.sample.as_mut()) {
            sample.asked(footprint);
        }
    }

    fn proposed_after(&self) -> WallTime {
        if self.stale {
            // Of what was proposed before the epochs it has heard of, it may have missed anything.
            return WallTime(0);
        }
        let floor = self.opening.as_ref().map_or(WallTime(0), |opening| opening.floor);
        self.current.as_ref().map_or(floor, Run::proposed_after)
    }

    fn counters(&self) -> Vec<(&'static str, u64)> {
        let mut counters = self.current.as_ref().map(Run::counters).unwrap_or_default();
        let Counts { changes, proposed_again, jumps, dismissed, decisions } = self.counts;
        let own = [
            ("epochs_changed", changes),
            ("proposed_again_in_next_epoch", proposed_again),
            ("epochs_jumped", jumps),
            ("dismissed", dismissed),
            ("changes_of_own_accord", decisions),
        ];
        counters.extend(own);
        counters
    }

    fn leader(&self) -> Option<ReplicaId> {
        self.current.as_ref().and_then(Run::leader)
    }

    fn account(&self, subject: Subject, now: Now) -> Account {
        let Some(run) = &self.current else { return Account::default() };
        let number = run.opening.epoch.number;
        let subject = match subject {
            Subject::Instance(id) => match named(id) {
                (epoch, id) if epoch == number => Subject::Instance(id),
                _ => return Account::default(),
            },
            other => other,
        };
        let mut account = run.account(subject, now);
        for waiting in &mut account.waiting {
            waiting.id = waiting.id.map(|id| name(number, id));
            waiting.waits_on.iter_mut().for_each(|id| *id = name(number, *id));
        }
        account
    }

    fn status(&self) -> Option<String> {
        let own = match self.standing() {
            Standing::Member(EpochNumber(1)) => None,
            Standing::Member(epoch) => Some(match self.moved_because() {
                Some(reason) => format!("epoch {}, of its own accord: {reason}", epoch.0),
                None => format!("epoch {}", epoch.0),
            }),
            Standing::Learner => Some("joins: it has no state yet".to_owned()),
            Standing::Removed(epoch) => Some(format!("removed: epoch {} is without it", epoch.0)),
        };
        let protocols = self.current.as_ref().and_then(Run::status);
        let both = [own, protocols].into_iter().flatten().collect::<Vec<_>>();
        (!both.is_empty()).then(|| both.join("; "))
    }

    fn check_invariants(&self) {
        for run in [&self.current, &self.previous].into_iter().flatten() {
            run.check_invariants();
        }
        let number = self.number();
        assert!(self.current.as_ref().is_none_or(|run| Some(run.number()) == number));
        assert!(self.previous.as_ref().is_none_or(|run| Some(run.number()) < number));
        assert!(self.adaptive.is_none() || self.current.is_some(), "who watches is a member");
        let member = self.epoch().is_some_and(|epoch| self.seat_in(epoch).is_some());
        assert_eq!(member, self.current.is_some(), "{}: member and protocol disagree", self.me());
    }
}

impl Epochs {
    pub(crate) fn new(config: Config, now: Now) -> Self {
        Self {
            config,
            opening: None,
            current: None,
            stale: false,
            arriving: false,
            previous: None,
            durable: Durable::default(),
            suspected: ReplicaSet::EMPTY,
            reads: Reads::new(),
            early: Early::default(),
            linger: Linger::new(now),
            behind: Behind::default(),
            adaptive: None,
            decided: None,
            rest: Rest::default(),
            counts: Counts::default(),
        }
    }

    /// Every now and then.
    fn attend(&mut self, now: Now, fx: &mut Fx) {
        self.attend_linger(now, fx);
        self.attend_behind(now, fx);
        self.attend_watch(now, fx);
        let due: [Option<Time>; 3] = [self.linger_due(), self.behind_due(), self.watch_due()];
        if let Some(due) = due.into_iter().flatten().min() {
            fx.wake_at(due);
        }
    }
}

/// Covers what a model checker must tell apart: everything that can change a later step.
impl Hash for Epochs {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.config.place.hash(state);
        (&self.opening, &self.current, &self.previous).hash(state);
        (self.stale, self.arriving).hash(state);
        (self.durable, self.suspected, &self.reads, &self.early).hash(state);
        (&self.linger, &self.behind, &self.adaptive, &self.decided, &self.rest).hash(state);
    }
}
