//! What a connection waits for, in the order in which it is to be answered.

use std::pin::Pin;
use std::task::{Context, Poll};

use panchayat::{Asked, Begun, ReadLevel};
use tokio::time::Instant;

use super::encode::Resp;
use super::failure;
use super::groups::Keys;
use super::service::{Service, wall_now};
use super::session::Changes;
use crate::redis::{Answer, Batch, Outcome, Query, Reply};

/// One or more replies to come.
pub(super) struct Pending {
    pub(super) work: Work,
    pub(super) shape: Shape,
    /// What nothing that conflicts may overtake.
    pub(super) keys: Keys,
    pub(super) deadline: Instant,
    /// What it takes.
    pub(super) bytes: usize,
    /// How replies are written.
    pub(super) resp: Resp,
}

/// What is waited for.
pub(super) enum Work {
    /// Nothing.
    Done(Reply),
    /// A batch.
    Command(Begun<Outcome>),
    /// A batch that changes nothing.
    Query { asked: Asked<Answer>, batch: Batch, workload: usize },
    /// Something with several steps. Nothing else is under way meanwhile.
    Steps(Pin<Box<dyn Future<Output = (Reply, Changes)> + Send>>),
}

/// How an outcome becomes replies.
pub(super) enum Shape {
    /// Each call of the batch is a request of its own.
    Each(usize),
    /// All are one transaction; `Some` where a reply is known already.
    Transaction(Vec<Option<Reply>>),
}

impl Pending {
    /// A reply that is known.
    pub(super) fn done(reply: Reply, resp: Resp) -> Self {
        Self {
            bytes: reply.cost(),
            work: Work::Done(reply),
            shape: Shape::Each(1),
            keys: Keys::default(),
            deadline: Instant::now(),
            resp,
        }
    }

    /// Whether nothing may be begun before it has ended.
    pub(super) fn is_alone(&self) -> bool {
        matches!(self.work, Work::Steps(_))
    }

    /// When it has been waited for long enough. Steps see to that themselves.
    pub(super) fn due(&self) -> Option<Instant> {
        let waits = matches!(self.work, Work::Command(_) | Work::Query { .. });
        waits.then_some(self.deadline)
    }

    /// Whether it has been waited for long enough.
    pub(super) fn is_late(&self) -> bool {
        self.due().is_some_and(|due| due <= Instant::now())
    }

    /// The replies, when they are there.
    pub(super) fn poll(
        &mut self,
        service: &Service,
        cx: &mut Context<'_>,
    ) -> Poll<(Vec<Reply>, Changes)> {
        let outcome = match &mut self.work {
            Work::Done(reply) => {
                let reply = std::mem::replace(reply, Reply::Null);
                return Poll::Ready((vec![reply], Changes::default()));
            }
            Work::Steps(steps) => {
                return steps.as_mut().poll(cx).map(|(reply, changes)| (vec![reply], changes));
            }
            Work::Command(begun) => match Pin::new(begun).poll(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(result) => {
                    result.map(|applied| applied.output).map_err(|error| failure::of_write(&error))
                }
            },
            Work::Query { asked, batch, workload } => match Pin::new(asked).poll(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(error)) => Err(failure::of_read(&error)),
                Poll::Ready(Ok(reading)) => match reading.answer {
                    Answer::Told(outcome) => Ok(outcome),
                    Answer::Due => {
                        // Only agreed time can tell: it is ordered.
                        match service.workloads[*workload].store.begin(batch) {
                            Ok(begun) => {
                                self.work = Work::Command(begun);
                                return self.poll(service, cx);
                            }
                            Err(error) => Err(failure::of_write(&error)),
                        }
                    }
                },
            },
        };
        Poll::Ready((self.replies(outcome), Changes::default()))
    }

    /// The replies when it was waited for long enough.
    pub(super) fn timed_out(&mut self) -> Vec<Reply> {
        let reply = match self.work {
            Work::Query { .. } => failure::read_timeout(),
            _ => failure::write_timeout(),
        };
        self.replies(Err(reply))
    }

    fn replies(&mut self, outcome: Result<Outcome, Reply>) -> Vec<Reply> {
        match (&mut self.shape, outcome) {
            (Shape::Each(_), Ok(Outcome::Done(replies))) => replies,
            (Shape::Each(count), Ok(Outcome::Refused { .. })) => {
                vec![Reply::error("ERR a guard did not hold"); *count]
            }
            (Shape::Each(count), Err(error)) => vec![error; *count],
            (Shape::Transaction(known), Ok(Outcome::Done(replies))) => {
                let mut replies = replies.into_iter();
                let all = std::mem::take(known)
                    .into_iter()
                    .map(|known| known.or_else(|| replies.next()).unwrap_or(Reply::Null));
                vec![Reply::Array(all.collect())]
            }
            (Shape::Transaction(_), Ok(Outcome::Refused { .. })) => vec![Reply::NullArray],
            (Shape::Transaction(_), Err(error)) => vec![error],
        }
    }
}

/// Begins with a batch in a workload: as a query if it changes nothing.
pub(super) fn begin(
    service: &Service,
    workload: usize,
    batch: Batch,
    level: ReadLevel,
) -> Result<Work, Reply> {
    let store = &service.workloads[workload].store;
    let writes = batch.calls.iter().any(|call| call.spec.writes());
    let stale = matches!(level, ReadLevel::Stale { .. });
    if service.health.is_cut_off() && (writes || !stale) {
        return Err(failure::no_quorum());
    }
    if writes {
        return store.begin(&batch).map(Work::Command).map_err(|error| failure::of_write(&error));
    }
    let query = Query { now: wall_now(), loose: stale, batch: batch.clone() };
    let asked = store.ask(query, level).map_err(|error| failure::of_read(&error))?;
    Ok(Work::Query { asked, batch, workload })
}
