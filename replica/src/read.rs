//! Queries from callers to the replica's thread and their answers back.
//!
//! Queries wait in a channel of their own, since only the caller and the replica's thread know
//! their type; an event in the inbox announces each. How many may be without an answer is bounded,
//! and none waits longer than [`Limits::read_timeout`](crate::Limits::read_timeout).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crossbeam::channel::{Receiver, Sender, unbounded};
use panchayat_consensus::{Now, Protocol, ReadLevel, ReadRefusal, Span, Token};
use panchayat_core::{Group, ReadRequest, Reading, StateMachine};
use rustc_hash::FxHashMap;
use thiserror::Error;
use tokio::sync::oneshot;

use crate::begun::Asked;
use crate::limits::Limits;

/// Why a query has no answer. Nothing was read and nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ReadError {
    /// This replica could not answer it as it was asked.
    #[error("not read: {0}")]
    Refused(ReadRefusal),
    /// The replica is stopping or has stopped.
    #[error("not read: the replica has stopped")]
    Shutdown,
}

type Reply<S> = oneshot::Sender<Result<Reading<<S as StateMachine>::Answer>, ReadRefusal>>;

/// A query on its way to the thread.
struct Ask<S: StateMachine> {
    query: S::Query,
    level: ReadLevel,
    reply: Reply<S>,
    place: Place,
}

/// One of the places that there are for queries without an answer.
struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// The callers' side.
pub(crate) struct Asks<S: StateMachine> {
    sender: Sender<Ask<S>>,
    places: Arc<AtomicUsize>,
}

/// The thread's side.
pub(crate) struct Readers<S: StateMachine> {
    asks: Receiver<Ask<S>>,
    waiting: FxHashMap<Token, (Reply<S>, Place)>,
    timeout: Duration,
}

/// Both sides.
pub(crate) fn channel<S: StateMachine>(limits: &Limits) -> (Asks<S>, Readers<S>) {
    let (sender, asks) = unbounded();
    let places = Arc::new(AtomicUsize::new(limits.reads_max));
    let waiting = FxHashMap::default();
    (Asks { sender, places }, Readers { asks, waiting, timeout: limits.read_timeout })
}

impl<S: StateMachine> Asks<S> {
    /// Puts a query in the channel; `announce` tells the thread, and says whether it is there.
    pub(crate) fn ask(
        &self,
        query: S::Query,
        level: ReadLevel,
        announce: impl FnOnce() -> bool,
    ) -> Result<Asked<S::Answer>, ReadError> {
        let less = |left: usize| left.checked_sub(1);
        if self.places.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_err() {
            return Err(ReadError::Refused(ReadRefusal::Overloaded));
        }
        let place = Place(self.places.clone());
        let (reply, answer) = oneshot::channel();
        let sent = self.sender.send(Ask { query, level, reply, place });
        if sent.is_err() || !announce() {
            return Err(ReadError::Shutdown);
        }
        Ok(Asked(answer))
    }
}

impl<S: StateMachine> Readers<S> {
    /// A query was announced: hands it to the group under `token`. `now` must be read after the
    /// announcement was taken from the inbox.
    pub(crate) fn take<P: Protocol>(&mut self, group: &mut Group<P, S>, token: Token, now: Now) {
        let Ok(Ask { query, level, reply, place }) = self.asks.try_recv() else { return };
        self.waiting.insert(token, (reply, place));
        let until = now.monotonic + Span(self.timeout.as_micros() as u64);
        group.read(now, token, ReadRequest { query, level, until });
    }

    /// The same while nothing may leave the group: only what may be old is answered.
    pub(crate) fn take_blocked<P: Protocol>(&mut self, group: &Group<P, S>, now: Now) {
        let Ok(Ask { query, level, reply, .. }) = self.asks.try_recv() else { return };
        let age = group.age(now);
        let result = match level {
            ReadLevel::Stale { max } if max == Span::MAX || age.is_some_and(|age| age <= max) => {
                Ok(Reading { answer: group.machine().query(query), age })
            }
            ReadLevel::Stale { .. } => Err(ReadRefusal::TooOld { age }),
            _ => Err(ReadRefusal::Unreachable),
        };
        // A caller that went away does not want it.
        let _ = reply.send(result);
    }

    /// Ends a read.
    pub(crate) fn answer(&mut self, token: Token, result: Result<Reading<S::Answer>, ReadRefusal>) {
        if let Some((reply, _place)) = self.waiting.remove(&token) {
            let _ = reply.send(result);
        }
    }
}
