//! Queries answered from the state, once it is known to be current enough.
//!
//! What a protocol says of a read holds for what it has handed out for execution by then; so the
//! query waits here until exactly that is applied. A protocol may also order the read like a
//! command: then it is answered at its place in the order, and nowhere else is anything done.
//!
//! How old the state may be is known from two sources. A read that a whole quorum or a leader
//! vouched for says that at its beginning, by this replica's own clock, nothing was missing. And
//! the protocol says before which time of coordinators' wall clocks everything has been executed;
//! that trusts that the members' clocks agree within [`SessionConfig::skew`].
//!
//! A read that takes too long is refused here, whatever its protocol does: its caller hears in
//! time that no quorum can be reached.
//!
//! [`SessionConfig::skew`]: crate::SessionConfig::skew

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use panchayat_consensus::{
    Assurance, Input, NotApplied, Now, Protocol, ReadLevel, ReadRefusal, Span, Time, Token,
};

use super::Group;
use super::sink::Sink;
use crate::state_machine::StateMachine;

/// Most reads that wait at once.
const READS_MAX: usize = 1 << 16;

/// The answer to a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading<A> {
    /// What the state machine answered.
    pub answer: A,
    /// How old the state was at most: it held everything answered longer than this before the
    /// query was asked. Zero for reads that miss nothing; `None` if not known.
    pub age: Option<Span>,
}

/// A query, and how it is to be answered.
#[derive(Clone, Copy, Debug)]
pub struct ReadRequest<Q> {
    /// The query.
    pub query: Q,
    /// How current the answer must be.
    pub level: ReadLevel,
    /// When it is refused, if it was not answered before.
    pub until: Time,
}

#[derive(Debug)]
struct Asked<Q> {
    request: ReadRequest<Q>,
    since: Time,
    /// How old the state may have been then.
    age: Option<Span>,
}

/// Reads without an answer.
#[derive(Debug)]
pub(super) struct Reads<Q> {
    asked: BTreeMap<Token, Asked<Q>>,
    due: BTreeSet<(Time, Token)>,
    /// To be answered when so many commands are executed; and whether it is then known that the
    /// whole state misses nothing answered before they began.
    ready: VecDeque<(u64, Token, Vouched)>,
    refused: VecDeque<(Token, ReadRefusal)>,
    /// Everything answered before this moment is in the state.
    current: Option<Time>,
}

/// What is vouched for when a read is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Vouched {
    /// The whole state misses nothing.
    State,
    /// What the query looks at misses nothing.
    Query,
    /// Nothing but what was known before.
    Nothing,
}

impl<Q> Default for Reads<Q> {
    fn default() -> Self {
        Self {
            asked: BTreeMap::new(),
            due: BTreeSet::new(),
            ready: VecDeque::new(),
            refused: VecDeque::new(),
            current: None,
        }
    }
}

impl<Q> Reads<Q> {
    /// The protocol vouches for a read, when so many commands are executed.
    pub(super) fn ready(&mut self, token: Token, executed: u64, vouched: Vouched) {
        if self.asked.contains_key(&token) {
            self.ready.push_back((executed, token, vouched));
        }
    }

    /// A read will not be answered. What may be old is refused for being so.
    pub(super) fn refuse(&mut self, token: Token, reason: ReadRefusal) {
        let Some(Asked { request, age, .. }) = self.take(token) else { return };
        let reason = match (request.level, reason) {
            (ReadLevel::Stale { .. }, ReadRefusal::Unreachable) => ReadRefusal::TooOld { age },
            _ => reason,
        };
        self.refused.push_back((token, reason));
    }

    /// What was ordered like a command was not executed. True if it was a read.
    pub(super) fn reject(&mut self, token: Token, reason: NotApplied) -> bool {
        let is_read = self.asked.contains_key(&token);
        let overloaded = reason == NotApplied::Overloaded;
        let reason = if overloaded { ReadRefusal::Overloaded } else { ReadRefusal::Unreachable };
        self.refuse(token, reason);
        is_read
    }

    /// Refuses what has waited too long.
    pub(super) fn expire(&mut self, now: Time) -> bool {
        let mut expired = false;
        while let Some((_, token)) = self.due.first().filter(|(due, _)| *due <= now).copied() {
            self.refuse(token, ReadRefusal::Unreachable);
            expired = true;
        }
        expired
    }

    /// The state was replaced by another: nothing is known of it, and who waits is refused.
    pub(super) fn forget(&mut self) {
        let tokens: Vec<Token> = self.asked.keys().copied().collect();
        tokens.into_iter().for_each(|token| self.refuse(token, ReadRefusal::Unreachable));
        self.ready.clear();
        self.current = None;
    }

    /// When the first one has waited too long.
    pub(super) fn first_due(&self) -> Option<Time> {
        self.due.first().map(|(due, _)| *due)
    }

    fn take(&mut self, token: Token) -> Option<Asked<Q>> {
        let asked = self.asked.remove(&token)?;
        self.due.remove(&(asked.request.until, token));
        Some(asked)
    }
}

impl<P: Protocol, S: StateMachine> Group<P, S> {
    /// A client wants an answer to a query. It comes in the next turn or a later one.
    ///
    /// `now` must not be earlier than the moment the client asked.
    pub fn read(&mut self, now: Now, token: Token, request: ReadRequest<S::Query>) {
        let age = self.age(now);
        let (level, until) = (request.level, request.until);
        let footprint = S::query_footprint(&request.query);
        let full = self.reads.asked.len() >= READS_MAX;
        self.reads.asked.insert(token, Asked { request, since: now.monotonic, age });
        self.reads.due.insert((until, token));
        if full {
            return self.reads.refuse(token, ReadRefusal::Overloaded);
        }
        if self.installing.is_some() {
            return self.reads.refuse(token, ReadRefusal::Unreachable);
        }
        if level == ReadLevel::Linearizable {
            self.protocol.note_read(&footprint);
        }
        let assurance = match level {
            ReadLevel::Stale { max } if max == Span::MAX || age.is_some_and(|age| age <= max) => {
                return self.reads.ready(token, self.executed(), Vouched::Nothing);
            }
            ReadLevel::Stale { .. } | ReadLevel::Linearizable => Assurance::Quorum,
            ReadLevel::Lease => Assurance::Lease,
        };
        self.catch_up(now);
        let input = Input::Read { token, assurance, footprint };
        self.protocol.step(now, input, &mut self.effects);
    }

    /// How old the state is at most: everything answered longer ago is in it. `None` if that is not
    /// known.
    pub fn age(&self, now: Now) -> Option<Span> {
        let seen = self.reads.current.map(|current| now.monotonic - current);
        let settled = (self.settled.0 > 0).then(|| {
            let behind = now.wall.0.saturating_sub(self.settled.0);
            Span(behind.saturating_add(self.sessions.config().skew.0))
        });
        [seen, settled].into_iter().flatten().min()
    }

    /// Refuses the reads that have waited too long, and does nothing else: for a driver that cannot
    /// take a turn, because the journal has no room.
    pub fn refuse_late_reads(&mut self, now: Now, sink: &mut impl Sink<P, S>) {
        self.reads.expire(now.monotonic);
        self.refuse_reads(sink);
    }

    fn refuse_reads(&mut self, sink: &mut impl Sink<P, S>) {
        while let Some((token, reason)) = self.reads.refused.pop_front() {
            sink.read_refused(token, reason);
        }
    }

    /// Refuses and answers what can be by now.
    pub(super) fn serve_reads(&mut self, sink: &mut impl Sink<P, S>) {
        self.refuse_reads(sink);
        let executed = self.executed();
        while let Some((count, token, vouched)) = self.reads.ready.front().copied() {
            if count > executed {
                break;
            }
            self.reads.ready.pop_front();
            self.answer_read(token, vouched, sink);
        }
    }

    pub(super) fn answer_read(
        &mut self,
        token: Token,
        vouched: Vouched,
        sink: &mut impl Sink<P, S>,
    ) {
        let Some(Asked { request, since, age }) = self.reads.take(token) else { return };
        if vouched == Vouched::State {
            self.reads.current = self.reads.current.max(Some(since));
        }
        let age = if vouched == Vouched::Nothing { age } else { Some(Span(0)) };
        sink.read(token, Reading { answer: self.machine.query(request.query), age });
    }
}
