//! How many transfers there may be at once, and what has become of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Transfers with one peer in one direction, since the start. `begun` is the sum of `finished`,
/// `failed`, `refused` and those in progress.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TransferStats {
    /// Transfers asked for.
    pub begun: u64,
    /// Those that came to their end: all was sent, and (as the server sees it) acknowledged.
    pub finished: u64,
    /// Those that broke, stalled, or were given up.
    pub failed: u64,
    /// Those turned away before any data: at a limit, or by the owner of the serving node.
    pub refused: u64,
    /// Bytes of data, of all of them: given to QUIC by the server, to the owner by the fetcher.
    pub bytes: u64,
}

impl TransferStats {
    /// Transfers in progress.
    pub fn active(&self) -> u64 {
        self.begun.saturating_sub(self.finished + self.failed + self.refused)
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.begun += other.begun;
        self.finished += other.finished;
        self.failed += other.failed;
        self.refused += other.refused;
        self.bytes += other.bytes;
    }
}

/// Transfers with one peer in one direction: the places for them, and the counters.
#[derive(Debug)]
pub(crate) struct Transfers {
    places: Arc<Semaphore>,
    counters: Arc<Counters>,
}

#[derive(Debug, Default)]
struct Counters {
    begun: AtomicU64,
    finished: AtomicU64,
    failed: AtomicU64,
    refused: AtomicU64,
    bytes: AtomicU64,
}

impl Transfers {
    pub(crate) fn new(places: usize) -> Self {
        let places = Arc::new(Semaphore::new(places.min(Semaphore::MAX_PERMITS)));
        Self { places, counters: Arc::default() }
    }

    /// Begins a transfer. `None`, counted as refused, if all places are taken, with this peer or
    /// (`all`) with every peer together.
    pub(super) fn begin(&self, all: &Arc<Semaphore>) -> Option<Transfer> {
        self.counters.begun.fetch_add(1, Ordering::Relaxed);
        let own = Arc::clone(&self.places).try_acquire_owned().ok();
        let places = own.and_then(|own| Some([own, Arc::clone(all).try_acquire_owned().ok()?]));
        let Some(places) = places else {
            self.counters.refused.fetch_add(1, Ordering::Relaxed);
            return None;
        };
        let counters = Arc::clone(&self.counters);
        Some(Transfer { counters, bytes: 0, places: Some(places), ended: false })
    }

    pub(crate) fn stats(&self) -> TransferStats {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counters = &self.counters;
        // The ends first: one that is counted between must not exceed the beginnings.
        let (finished, failed) = (get(&counters.finished), get(&counters.failed));
        let (refused, bytes) = (get(&counters.refused), get(&counters.bytes));
        TransferStats { begun: get(&counters.begun), finished, failed, refused, bytes }
    }
}

/// A transfer in progress. It counts as failed if it goes without a word on how it ended.
#[derive(Debug)]
pub(super) struct Transfer {
    counters: Arc<Counters>,
    bytes: u64,
    places: Option<[OwnedSemaphorePermit; 2]>,
    ended: bool,
}

impl Transfer {
    /// So much data moved.
    pub(super) fn moved(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
        self.counters.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// How much data has moved.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Gives its places to others, before it is known how it ended.
    pub(super) fn free(&mut self) {
        self.places = None;
    }

    pub(super) fn finished(&mut self) {
        let counters = Arc::clone(&self.counters);
        self.end(&counters.finished);
    }

    pub(super) fn failed(&mut self) {
        let counters = Arc::clone(&self.counters);
        self.end(&counters.failed);
    }

    /// Turned away; after data has moved that is a failure.
    pub(super) fn refused(&mut self) {
        let counters = Arc::clone(&self.counters);
        self.end(if self.bytes == 0 { &counters.refused } else { &counters.failed });
    }

    fn end(&mut self, counter: &AtomicU64) {
        if !std::mem::replace(&mut self.ended, true) {
            self.places = None;
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Transfer {
    fn drop(&mut self) {
        self.failed();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_end_is_counted_once_and_frees_its_places() {
        let all = Arc::new(Semaphore::new(2));
        let transfers = Transfers::new(3);
        let mut finished = transfers.begin(&all).unwrap();
        let mut refused = transfers.begin(&all).unwrap();
        assert!(transfers.begin(&all).is_none(), "two places in all");
        assert_eq!(transfers.stats().active(), 2);
        finished.moved(7);
        finished.finished();
        refused.refused();
        assert_eq!(all.available_permits(), 2);
        drop((finished, refused));
        drop(transfers.begin(&all).unwrap());
        let mut late = transfers.begin(&all).unwrap();
        late.moved(1);
        late.refused();
        let expected = TransferStats { begun: 5, finished: 1, failed: 2, refused: 2, bytes: 8 };
        assert_eq!(transfers.stats(), expected);
        assert_eq!(transfers.stats().active(), 0);
    }
}
