//! The second thread: has the next segment ready before it is needed.
//!
//! Here a full disk is met, while the segment in use still has room: before anything that would
//! not fit has been acknowledged.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::directory::Directory;
use crate::error::{JournalFailed, StorageError};
use crate::queue::{FullReason, Queue, Shared};

/// Until the journal is closed or fails.
pub(crate) fn run(shared: &Arc<Shared>, directory: &Directory) {
    let _poison = PoisonOnPanic(Arc::clone(shared));
    let stopping = || shared.stopping.load(Ordering::Acquire);
    while let Some(number) = wait_for_need(shared) {
        match directory.create(number, &stopping) {
            Ok(Some(segment)) => {
                let mut queue = shared.queue.lock();
                queue.next = Some(segment);
                if queue.full.take().is_some() {
                    tracing::info!("the journal has space again");
                }
                shared.work.notify_all();
            }
            Ok(None) => return,
            Err(StorageError::DiskFull { path, source, .. }) => {
                let mut queue = shared.queue.lock();
                if queue.full.is_none() {
                    let dir = directory.dir().to_owned();
                    tracing::error!(file = %path.display(), %source, "the journal is full");
                    queue.full = Some(FullReason::Device { dir });
                    // Who waits for room in the queue must not wait for room on the disk.
                    shared.wake_all();
                }
                if !stopping() {
                    let retry_after = Some(shared.config.full_retry_after);
                    Queue::wait(&mut queue, &shared.prepare, retry_after);
                }
            }
            Err(error) => return shared.fail(error.into()),
        }
    }
}

/// The number of the segment to create, once one is needed and allowed; `None` at the end.
fn wait_for_need(shared: &Shared) -> Option<u64> {
    let journal_bytes_max = shared.config.journal_bytes_max;
    let mut queue = shared.queue.lock();
    loop {
        if shared.stopping.load(Ordering::Acquire) || queue.failed.is_some() {
            return None;
        }
        if queue.next.is_none() {
            let bytes: u64 = queue.segments.iter().map(|segment| segment.bytes).sum();
            if bytes + shared.config.segment_bytes <= journal_bytes_max {
                return queue.segments.last().map(|current| current.number + 1);
            }
            if queue.full.is_none() {
                tracing::error!(journal_bytes_max, "the journal is full");
                queue.full = Some(FullReason::Limit { journal_bytes_max });
                shared.wake_all();
            }
        }
        Queue::wait(&mut queue, &shared.prepare, None);
    }
}

struct PoisonOnPanic(Arc<Shared>);

impl Drop for PoisonOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.fail(JournalFailed::Panicked);
        }
    }
}
