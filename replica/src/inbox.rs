//! What reaches the replica's thread, and how much of it may wait.
//!
//! The channel itself has no bound; everything of size that goes in holds a permit of a bounded
//! pool until the thread has dealt with it. So a caller learns at once that there is no room, and
//! a peer's reader waits without holding up other peers. A caller is refused as well while
//! proposals wait too long at the [`door`](crate::door).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use bytes::Bytes;
use crossbeam::channel::{Receiver, Sender, unbounded};
use panchayat_consensus::{Account, Command, NodeId, ReplicaId, Subject};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::applied::Applied;
use crate::error::ProposeError;
use crate::limits::Limits;
use crate::membership::{Change, ChangeError, GroupView};
use crate::metrics::CoreMetrics;
use crate::phases::Phases;
use crate::snapshots::{Asked, Report};

/// What became of a proposal.
pub(crate) type Outcome<O> = Result<Applied<O>, ProposeError>;

/// An outcome on its way.
pub(crate) type Answer<O> = (Reply<O>, Outcome<O>);

/// Where the outcome of a proposal goes.
pub(crate) type Reply<O> = oneshot::Sender<Outcome<O>>;

/// Where it is said whether members or protocol have changed.
pub(crate) type ChangeReply = oneshot::Sender<Result<(), ChangeError>>;

/// A command that has not been proposed yet.
pub(crate) struct Proposal<O> {
    pub(crate) command: Command,
    pub(crate) reply: Reply<O>,
    pub(crate) room: Room,
    /// When it was proposed.
    pub(crate) asked_at: Instant,
    pub(crate) phases: Phases,
}

pub(crate) enum Event<O> {
    Propose(Proposal<O>),
    Frame {
        from: NodeId,
        frame: Bytes,
        permit: OwnedSemaphorePermit,
    },
    /// A query waits in the channel for queries.
    Read,
    Measure(oneshot::Sender<CoreMetrics>),
    /// Somebody wants to know what waits for what.
    Account(Subject, oneshot::Sender<Account>),
    /// The journal has news.
    Durable,
    /// The thread that writes snapshots has news.
    Snapshot(Report),
    /// A peer asks for a state.
    State(Asked),
    /// Somebody wants a snapshot: its number when it is durable.
    TakeSnapshot(oneshot::Sender<u64>),
    /// Leadership is to go to that member. Whether it will is answered.
    HandOver(ReplicaId, oneshot::Sender<bool>),
    /// Members or protocol are to change.
    Change(Box<Change>, ChangeReply),
    /// Who the members are, and what orders commands.
    View(oneshot::Sender<GroupView>),
    /// A transfer of a peer's state has come to an end.
    StateNews,
    /// Finish what is in flight, then stop.
    Shutdown,
    /// Stop now.
    Abandon,
}

/// How many proposals, and how many of their bytes, may still be without a result. Nobody waits
/// for more: counting is all it takes.
#[derive(Debug)]
struct Budget {
    places: AtomicUsize,
    bytes: AtomicUsize,
}

/// What a proposal without a result holds: a place, and its bytes.
#[derive(Debug)]
pub(crate) struct Room {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Budget {
    /// Takes a place and so many bytes, or nothing.
    fn take(self: &Arc<Self>, bytes: usize) -> Option<Room> {
        take(&self.places, 1)?;
        if take(&self.bytes, bytes).is_none() {
            self.places.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        Some(Room { budget: self.clone(), bytes })
    }
}

/// Takes `count` of what is left, if there is so much. Only the number is shared, so no order with
/// other memory is needed.
fn take(left: &AtomicUsize, count: usize) -> Option<usize> {
    let less = |left: usize| left.checked_sub(count);
    left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).ok()
}

impl Drop for Room {
    fn drop(&mut self) {
        self.budget.places.fetch_add(1, Ordering::Relaxed);
        self.budget.bytes.fetch_add(self.bytes, Ordering::Relaxed);
    }
}

pub(crate) struct Inbox<O> {
    sender: Sender<Event<O>>,
    budget: Arc<Budget>,
    frame_bytes: Arc<Semaphore>,
    limits: Limits,
    durable_announced: Arc<AtomicBool>,
    door_shut: Arc<AtomicBool>,
    /// Proposals refused here as too many.
    refused: Arc<AtomicU64>,
}

impl<O> Clone for Inbox<O> {
    fn clone(&self) -> Self {
        Self {
            sender: self.sender.clone(),
            budget: self.budget.clone(),
            frame_bytes: self.frame_bytes.clone(),
            limits: self.limits,
            durable_announced: self.durable_announced.clone(),
            door_shut: self.door_shut.clone(),
            refused: self.refused.clone(),
        }
    }
}

impl<O> Inbox<O> {
    pub(crate) fn new(limits: Limits) -> (Self, Receiver<Event<O>>) {
        let (sender, receiver) = unbounded();
        let inbox = Self {
            sender,
            budget: Arc::new(Budget {
                places: AtomicUsize::new(limits.proposals_max),
                bytes: AtomicUsize::new(limits.proposal_bytes_max as usize),
            }),
            frame_bytes: Arc::new(Semaphore::new(limits.inbox_bytes_max as usize)),
            limits,
            durable_announced: Arc::default(),
            door_shut: Arc::default(),
            refused: Arc::default(),
        };
        (inbox, receiver)
    }

    pub(crate) fn propose(&self, command: Command, reply: Reply<O>) -> Result<(), ProposeError> {
        let bytes = encoded_bytes(&command);
        let bytes_max = self.limits.command_bytes_max;
        if bytes > bytes_max {
            return Err(ProposeError::TooLarge { bytes, bytes_max });
        }
        let cost = bytes.min(self.limits.proposal_bytes_max as usize);
        let open = !self.door_shut.load(Ordering::Relaxed);
        let Some(room) = open.then(|| self.budget.take(cost)).flatten() else {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return Err(ProposeError::Overloaded);
        };
        let (asked_at, phases) = (Instant::now(), Phases::proposed());
        let proposal = Proposal { command, reply, room, asked_at, phases };
        let event = Event::Propose(proposal);
        self.sender.send(event).map_err(|_| ProposeError::Shutdown)
    }

    /// How many proposals were refused as too many before they got in.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Says whether proposals wait so long that no more may come for now.
    pub(crate) fn shut_door(&self, shut: bool) {
        if self.door_shut.load(Ordering::Relaxed) != shut {
            self.door_shut.store(shut, Ordering::Relaxed);
        }
    }

    /// Takes a frame, or gives it back if there is no room now.
    pub(crate) fn try_frame(&self, from: NodeId, frame: Bytes) -> Result<(), Bytes> {
        match self.frame_bytes.clone().try_acquire_many_owned(self.cost(&frame)) {
            Ok(permit) => {
                // A thread that has stopped wants no frames.
                let _ = self.sender.send(Event::Frame { from, frame, permit });
                Ok(())
            }
            Err(_) => Err(frame),
        }
    }

    /// Takes a frame as soon as there is room.
    pub(crate) async fn frame(&self, from: NodeId, frame: Bytes) {
        let cost = self.cost(&frame);
        if let Ok(permit) = self.frame_bytes.clone().acquire_many_owned(cost).await {
            let _ = self.sender.send(Event::Frame { from, frame, permit });
        }
    }

    /// Tells the thread that more is durable. Costs nothing while it has not heard the last word.
    pub(crate) fn announce_durable(&self) {
        if !self.durable_announced.swap(true, Ordering::AcqRel) {
            let _ = self.sender.send(Event::Durable);
        }
    }

    /// The thread has heard; the next word is sent again.
    pub(crate) fn durable_heard(&self) {
        self.durable_announced.swap(false, Ordering::AcqRel);
    }

    /// False if the thread has stopped.
    pub(crate) fn tell(&self, event: Event<O>) -> bool {
        self.sender.send(event).is_ok()
    }

    /// A small frame costs something too; a large one never more than there is.
    fn cost(&self, frame: &Bytes) -> u32 {
        u32::try_from(frame.len() + 256).unwrap_or(u32::MAX).min(self.limits.inbox_bytes_max)
    }
}

/// What a command takes in messages and records: its payload, and nine bytes a key.
fn encoded_bytes(command: &Command) -> usize {
    command.payload.len() + command.footprint.keys().len() * 9 + 64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proposal_takes_a_place_and_its_bytes_or_nothing() {
        let left = |budget: &Budget| {
            (budget.places.load(Ordering::Relaxed), budget.bytes.load(Ordering::Relaxed))
        };
        let budget = Arc::new(Budget { places: 2.into(), bytes: 100.into() });
        let first = budget.take(60).unwrap();
        assert!(budget.take(41).is_none());
        assert_eq!(left(&budget), (1, 40));
        let second = budget.take(40).unwrap();
        assert!(budget.take(0).is_none());
        assert_eq!(left(&budget), (0, 0));
        drop((first, second));
        assert_eq!(left(&budget), (2, 100));
    }
}
