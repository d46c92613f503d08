//! Asking acceptors to promise, and to report how they voted: for a new ballot and every slot, or
//! for the classic round of the present one and a stretch of slots.
//!
//! An acceptor reports in as many parts as that takes. Parts count in order.

use std::collections::BTreeMap;

use panchayat_consensus::{After, Ballot, Now, ReplicaId, ReplicaSet, Slot, Span, Time, WallTime};

use crate::coordinate::Coordinator;
use crate::entry::Entry;
use crate::message::{Message, Report};
use crate::mode::Mode;
use crate::mutation::Mutation;
use crate::replica::{FastPaxos, Fx, Own, Role};
use crate::round::Round;

/// What acceptors have promised and reported so far.
#[derive(Clone, Debug, Hash)]
pub(crate) struct Survey {
    pub(crate) ballot: Ballot,
    pub(crate) first: Slot,
    /// The last slot asked about; 0 for all.
    pub(crate) upto: Slot,
    /// Per member, the slot that its next part starts from.
    wanted: Vec<Slot>,
    /// Who has promised and reported everything. This replica itself when its promise is durable.
    pub(crate) done: ReplicaSet,
    /// The votes of the others.
    pub(crate) votes: BTreeMap<Slot, Vec<(Round, Entry)>>,
    /// The votes of those that have not reported everything.
    partial: Vec<Vec<(Slot, Round, Entry)>>,
    pub(crate) resend_due: Time,
    /// Whether its owner coordinated before, and wants no more than another mode.
    renews: bool,
}

impl Survey {
    pub(crate) fn new(ballot: Ballot, first: Slot, upto: Slot, n: usize, resend_due: Time) -> Self {
        Self {
            ballot,
            first,
            upto,
            wanted: vec![first; n],
            done: ReplicaSet::EMPTY,
            votes: BTreeMap::new(),
            partial: vec![Vec::new(); n],
            resend_due,
            renews: false,
        }
    }

    fn request(&self, from: Slot) -> Message {
        let ballot = self.ballot;
        match self.upto {
            0 => Message::Prepare { ballot, from },
            upto => Message::Close { ballot, from, upto, due: WallTime(0) },
        }
    }
}

impl FastPaxos {
    /// Promises an own ballot, and asks the others to.
    pub(crate) fn prepare(&mut self, ballot: Ballot, now: Now, fx: &mut Fx) {
        if ballot <= self.promised {
            self.role = Role::Follower;
            return;
        }
        let renews = self.is_coordinator();
        self.counters.prepares += u64::from(!renews);
        let after = self.join(ballot, now, fx);
        let (n, first) = (self.config.quorums.n(), self.chosen + 1);
        let due = now.monotonic + self.config.timing.heartbeat_interval;
        let survey = Survey { renews, ..Survey::new(ballot, first, 0, n, due) };
        self.role = Role::Candidate(Box::new(survey));
        self.standing.due = now.monotonic + self.config.timing.election_timeout.times(2);
        self.own.push_back((after, Own::Promise(ballot)));
        self.send(self.others(), Message::Prepare { ballot, from: first }, after, fx);
    }

    fn survey_mut(&mut self) -> Option<&mut Survey> {
        match &mut self.role {
            Role::Candidate(survey) => Some(survey),
            Role::Coordinator(coordinator) => coordinator.closing.as_mut(),
            Role::Follower | Role::Asking(..) => None,
        }
    }

    /// Asks those again that have not answered.
    pub(crate) fn attend_survey(&mut self, now: Now, fx: &mut Fx) {
        let (others, interval) = (self.others(), self.config.timing.heartbeat_interval);
        let (after, patience) = (self.promise, self.config.timing.patience.max(interval));
        let next = self.chosen + 1;
        let Some(survey) = self.survey_mut() else { return };
        if now.monotonic < survey.resend_due {
            return;
        }
        survey.resend_due = now.monotonic + patience;
        // What was executed meanwhile need not be reported, and may be collected where it was.
        survey.wanted.iter_mut().for_each(|wanted| *wanted = (*wanted).max(next));
        let asked = others.minus(survey.done);
        let requests: Vec<_> =
            asked.iter().map(|r| (r, survey.request(survey.wanted[r.index()]))).collect();
        for (replica, request) in requests {
            self.send(ReplicaSet::only(replica), request, after, fx);
        }
    }

    pub(crate) fn on_prepare(
        &mut self,
        from: ReplicaId,
        ballot: Ballot,
        slot: Slot,
        now: Now,
        fx: &mut Fx,
    ) {
        let to = ReplicaSet::only(from);
        if ballot < self.promised {
            self.refuse(from, ballot, fx);
        } else if slot <= self.log.base() {
            self.send(to, Message::Gone { base: self.log.base() }, After::NOTHING, fx);
        } else {
            self.join(ballot, now, fx);
            // As long as it goes on asking.
            if self.following.is_none() {
                self.give_time(now);
            }
            self.report(to, ballot, slot, 0, fx);
        }
    }

    /// Says what was voted for or is known from `first` to `upto`, if that is not 0, once all of
    /// that and the promise are durable.
    pub(crate) fn report(
        &self,
        to: ReplicaSet,
        ballot: Ballot,
        first: Slot,
        upto: Slot,
        fx: &mut Fx,
    ) {
        let (mut reports, mut bytes, mut next) = (Vec::new(), 0, 0);
        for (slot, state) in self.log.above(first - 1) {
            if upto > 0 && slot > upto {
                break;
            }
            let (round, entry) = match (&state.chosen, &state.vote) {
                (Some(entry), _) => (None, entry.clone()),
                (None, Some((round, entry))) => (Some(*round), entry.clone()),
                (None, None) => continue,
            };
            bytes += entry.bytes();
            if bytes > self.config.limits.batch_bytes_max && !reports.is_empty() {
                next = slot;
                break;
            }
            reports.push(Report { slot, round, entry });
        }
        let message = Message::Reported { ballot, upto, from: first, reports, next };
        self.send(to, message, fx.after_last(), fx);
    }

    /// A [`Message::Reported`].
    pub(crate) fn on_reported(&mut self, from: ReplicaId, part: Message, now: Now, fx: &mut Fx) {
        let Message::Reported { ballot, upto, from: slot, reports, next } = part else { return };
        self.note_heard(from, ballot, now);
        let after = self.promise;
        let lasts = now.monotonic + self.config.timing.election_timeout.times(2);
        let Some(survey) = self.survey_mut() else { return };
        let expected = (survey.ballot, survey.upto, survey.wanted[from.index()]);
        if expected != (ballot, upto, slot) || survey.done.contains(from) {
            return;
        }
        let mut chosen = Vec::new();
        for Report { slot, round, entry } in reports {
            match round {
                None => chosen.push((slot, entry)),
                Some(round) => survey.partial[from.index()].push((slot, round, entry)),
            }
        }
        let mut request = None;
        if next == 0 {
            survey.done.insert(from);
            for (slot, round, entry) in std::mem::take(&mut survey.partial[from.index()]) {
                survey.votes.entry(slot).or_default().push((round, entry));
            }
        } else {
            survey.wanted[from.index()] = next;
            request = Some(survey.request(next));
        }
        if matches!(self.role, Role::Candidate(_)) {
            self.standing.due = lasts;
        }
        for (slot, entry) in chosen {
            self.learn(slot, vec![entry], now, fx);
        }
        if let Some(request) = request {
            self.send(ReplicaSet::only(from), request, after, fx);
        }
        self.take_over_if_promised(now, fx);
        self.finish_close(now, fx);
    }

    /// The own promise is durable.
    pub(crate) fn count_own_promise(&mut self, ballot: Ballot, now: Now, fx: &mut Fx) {
        let me = self.me();
        if let Role::Candidate(survey) = &mut self.role
            && survey.ballot == ballot
        {
            survey.done.insert(me);
            self.take_over_if_promised(now, fx);
        }
    }

    fn take_over_if_promised(&mut self, now: Now, fx: &mut Fx) {
        let Role::Candidate(survey) = &self.role else { return };
        if survey.done.len() >= self.config.quorums.q1() && survey.done.contains(self.me()) {
            let survey = survey.clone();
            self.take_over(*survey, now, fx);
        }
    }

    fn take_over(&mut self, survey: Survey, now: Now, fx: &mut Fx) {
        self.counters.elections_won += u64::from(!survey.renews);
        let reported = survey.votes.last_key_value().map_or(0, |(slot, _)| *slot);
        let mut last = reported.max(self.highest());
        let values = self.values_for(&survey, last);
        let n = self.config.quorums.n();
        let mut coordinator = Coordinator::new(survey.ballot, n, now);
        coordinator.proposed = last;
        self.role = Role::Coordinator(Box::new(coordinator));
        self.following = None;
        self.standing.failures = 0;
        if self.mutated(Mutation::AnyOverVotes) {
            // What was found is left to whoever votes next.
            last = self.chosen;
        } else {
            self.counters.recovered += values.len() as u64;
            for (slot, entry) in values {
                self.settle(slot, entry);
            }
        }
        self.fast.mode = Mode::Unknown;
        self.begin_mode(last, now);
        self.beat(now, fx);
        self.give_all(now, fx);
        self.lead_known(now);
        self.advance(now, fx);
    }

    /// In classic rounds the coordinator gives slots to all commands that have none.
    fn lead_known(&mut self, now: Now) {
        if self.fast.from == 0 {
            for key in self.known.keys() {
                self.known.wait(WallTime(0), Span(0), key, now.monotonic);
            }
        }
    }
}
