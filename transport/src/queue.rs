//! The outgoing queue of one peer: one byte-bounded queue per lane.
//!
//! Any thread pushes, without waiting; the lane's writer task takes everything there is. What the
//! writer has taken but QUIC has not yet accepted still counts against the limit, so a peer that
//! stops reading costs a bounded amount of memory.

use std::collections::VecDeque;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::error::SendError;
use crate::lane::{LANES, Lane};
use crate::under_way::{Print, UnderWay};

/// What an entry costs beside its bytes, so that empty frames are bounded too.
const ENTRY_BYTES: usize = 64;

/// Most bytes handed to the writer at once; beyond it one write would delay its own release.
const BATCH_BYTES_MAX: usize = 1 << 20;

/// The queues towards one peer.
#[derive(Debug)]
pub(crate) struct SendQueue {
    lanes: [LaneQueue; LANES],
}

/// What became of a frame that was to be queued once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Queued {
    Now,
    /// The same frame is still under way.
    Before,
}

#[derive(Debug)]
struct LaneQueue {
    state: Mutex<LaneState>,
    bytes_max: usize,
    ready: Notify,
}

#[derive(Debug, Default)]
struct LaneState {
    frames: VecDeque<Bytes>,
    /// Cost of `frames` and of the batches the writer still holds.
    bytes: usize,
    open: bool,
    /// Kept for the bulk lane only.
    under_way: UnderWay,
}

fn cost(frame: &Bytes) -> usize {
    frame.len() + ENTRY_BYTES
}

impl SendQueue {
    /// Closed queues with these limits, in bytes.
    pub(crate) fn new(bytes_max: [usize; LANES]) -> Self {
        Self {
            lanes: bytes_max.map(|bytes_max| LaneQueue {
                state: Mutex::new(LaneState::default()),
                bytes_max,
                ready: Notify::new(),
            }),
        }
    }

    /// Lets frames in: the peer is up.
    pub(crate) fn open(&self) {
        for lane in &self.lanes {
            lane.state.lock().open = true;
        }
    }

    /// Drops what waits and lets nothing in: the peer is down.
    pub(crate) fn close(&self) {
        for lane in &self.lanes {
            let mut state = lane.state.lock();
            state.open = false;
            state.bytes -= state.frames.iter().map(cost).sum::<usize>();
            state.frames.clear();
            state.under_way.begin(0);
        }
    }

    /// A link begins: what an earlier one was given and did not deliver is lost.
    pub(crate) fn begin(&self) {
        let mut state = self.lanes[Lane::Bulk.index()].state.lock();
        let queued = state.frames.len();
        state.under_way.begin(queued);
    }

    /// Of the bulk lane, so many frames of this link have arrived.
    pub(crate) fn arrived(&self, count: u64) {
        let mut state = self.lanes[Lane::Bulk.index()].state.lock();
        let queued = state.frames.len();
        state.under_way.arrived(count, queued);
    }

    /// Queues `frame`. Never waits.
    pub(crate) fn push(&self, lane: Lane, frame: Bytes) -> Result<(), SendError> {
        self.put(lane, frame, None).map(|_| ())
    }

    /// Queues `frame` for the bulk lane, unless the same is still under way there. Never waits.
    pub(crate) fn push_once(&self, frame: Bytes) -> Result<Queued, SendError> {
        let print = Print::of(&frame);
        self.put(Lane::Bulk, frame, Some(print))
    }

    fn put(&self, lane: Lane, frame: Bytes, print: Option<Print>) -> Result<Queued, SendError> {
        let bulk = lane == Lane::Bulk;
        let lane = &self.lanes[lane.index()];
        let mut state = lane.state.lock();
        if !state.open {
            return Err(SendError::Down);
        }
        if print.is_some_and(|print| state.under_way.contains(print)) {
            return Ok(Queued::Before);
        }
        let cost = cost(&frame);
        if state.bytes + cost > lane.bytes_max {
            return Err(SendError::Full);
        }
        state.bytes += cost;
        state.frames.push_back(frame);
        if bulk {
            state.under_way.queued(print);
        }
        let first = state.frames.len() == 1;
        drop(state);
        if first {
            lane.ready.notify_one();
        }
        Ok(Queued::Now)
    }

    /// Waits for frames, then takes up to [`BATCH_BYTES_MAX`] of them (at least one).
    pub(crate) async fn take(&self, lane: Lane) -> Batch<'_> {
        let lane = &self.lanes[lane.index()];
        loop {
            if let Some(batch) = lane.try_take() {
                return batch;
            }
            lane.ready.notified().await;
        }
    }

    /// Bytes that wait in, or are being written from, each lane.
    pub(crate) fn bytes(&self) -> [usize; LANES] {
        std::array::from_fn(|i| self.lanes[i].state.lock().bytes)
    }
}

impl LaneQueue {
    fn try_take(&self) -> Option<Batch<'_>> {
        let mut state = self.state.lock();
        let mut bytes = 0;
        let mut count = 0;
        for frame in &state.frames {
            if count > 0 && bytes + cost(frame) > BATCH_BYTES_MAX {
                break;
            }
            bytes += cost(frame);
            count += 1;
        }
        if count == 0 {
            return None;
        }
        let frames = if count == state.frames.len() {
            std::mem::take(&mut state.frames)
        } else {
            state.frames.drain(..count).collect()
        };
        Some(Batch { lane: self, frames, bytes })
    }
}

/// Frames taken from a lane; they count against its limit until this is dropped.
#[derive(Debug)]
pub(crate) struct Batch<'a> {
    lane: &'a LaneQueue,
    /// The frames, oldest first.
    pub(crate) frames: VecDeque<Bytes>,
    bytes: usize,
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        self.lane.state.lock().bytes -= self.bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(bytes_max: usize) -> SendQueue {
        let queue = SendQueue::new([bytes_max; LANES]);
        queue.open();
        queue
    }

    #[test]
    fn a_full_lane_refuses_and_leaves_the_others_alone() {
        let queue = queue(2 * (100 + ENTRY_BYTES));
        let frame = Bytes::from(vec![0; 100]);
        assert_eq!(queue.push(Lane::Bulk, frame.clone()), Ok(()));
        assert_eq!(queue.push(Lane::Bulk, frame.clone()), Ok(()));
        assert_eq!(queue.push(Lane::Bulk, frame.clone()), Err(SendError::Full));
        assert_eq!(queue.push(Lane::Urgent, frame), Ok(()));
    }

    #[tokio::test]
    async fn a_batch_counts_until_it_is_dropped() {
        let queue = queue(100 + ENTRY_BYTES);
        let frame = Bytes::from(vec![0; 100]);
        queue.push(Lane::Normal, frame.clone()).unwrap();
        let batch = queue.take(Lane::Normal).await;
        assert_eq!(queue.push(Lane::Normal, frame.clone()), Err(SendError::Full));
        drop(batch);
        assert_eq!(queue.push(Lane::Normal, frame), Ok(()));
    }

    #[tokio::test]
    async fn closing_drops_what_waits_but_not_what_is_being_written() {
        let queue = queue(10_000);
        queue.push(Lane::Normal, Bytes::from_static(b"taken")).unwrap();
        let batch = queue.take(Lane::Normal).await;
        queue.push(Lane::Normal, Bytes::from_static(b"waits")).unwrap();
        queue.close();
        assert_eq!(queue.push(Lane::Normal, Bytes::new()), Err(SendError::Down));
        assert_eq!(queue.bytes()[Lane::Normal.index()], 5 + ENTRY_BYTES);
        drop(batch);
        assert_eq!(queue.bytes(), [0; LANES]);
    }

    #[tokio::test]
    async fn the_same_frame_is_queued_again_only_when_it_is_no_longer_under_way() {
        let queue = queue(10_000);
        let once = |byte: u8| queue.push_once(Bytes::from(vec![byte; 1000]));
        queue.begin();
        assert_eq!(once(1), Ok(Queued::Now));
        assert_eq!(once(1), Ok(Queued::Before));
        assert_eq!(once(2), Ok(Queued::Now));
        assert_eq!(queue.bytes()[Lane::Bulk.index()], 2 * (1000 + ENTRY_BYTES));
        drop(queue.take(Lane::Bulk).await);
        assert_eq!(once(1), Ok(Queued::Before), "it was sent, and that is all we know");
        queue.arrived(1);
        assert_eq!(once(1), Ok(Queued::Now));
        assert_eq!(once(2), Ok(Queued::Before));
        // A link replaced the old one; what waited goes over it, what was sent is lost.
        queue.begin();
        assert_eq!(once(1), Ok(Queued::Before));
        assert_eq!(once(2), Ok(Queued::Now));
        queue.close();
        queue.open();
        assert_eq!(once(1), Ok(Queued::Now));
    }

    #[tokio::test]
    async fn a_batch_is_bounded() {
        let queue = queue(usize::MAX);
        for _ in 0..40 {
            queue.push(Lane::Bulk, Bytes::from(vec![0; 100_000])).unwrap();
        }
        let batch = queue.take(Lane::Bulk).await;
        assert_eq!(batch.frames.len(), BATCH_BYTES_MAX / (100_000 + ENTRY_BYTES));
        assert_eq!(queue.take(Lane::Bulk).await.frames.len(), batch.frames.len());
    }
}
