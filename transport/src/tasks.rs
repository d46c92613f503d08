//! Every task of a mesh, counted, so that shutdown can end them and know that none is left.

use std::future::Future;
use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::watch;

/// Spawns tasks that end when the group is cancelled, and waits for their end.
#[derive(Clone, Debug)]
pub(crate) struct Tasks {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    handle: Handle,
    cancelled: watch::Sender<bool>,
    live: watch::Sender<usize>,
}

/// Counts a task for as long as its future exists, however it ends.
struct Live(Arc<Inner>);

impl Live {
    fn new(inner: &Arc<Inner>) -> Self {
        inner.live.send_modify(|live| *live += 1);
        Self(Arc::clone(inner))
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.0.live.send_modify(|live| *live -= 1);
    }
}

impl Tasks {
    pub(crate) fn new(handle: Handle) -> Self {
        let inner =
            Inner { handle, cancelled: watch::Sender::new(false), live: watch::Sender::new(0) };
        Self { inner: Arc::new(inner) }
    }

    /// Runs `future` until it ends or the group is cancelled.
    pub(crate) fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        let tracked = self.track(future);
        self.inner.handle.spawn(async move {
            let _ = tracked.await;
        });
    }

    /// `future`, counted and cancelled with the group (`None`); for a `JoinSet` of its own.
    pub(crate) fn track<F>(&self, future: F) -> impl Future<Output = Option<F::Output>> + use<F>
    where
        F: Future,
    {
        let live = Live::new(&self.inner);
        let mut cancelled = self.inner.cancelled.subscribe();
        async move {
            let _live = live;
            tokio::select! {
                biased;
                _ = cancelled.wait_for(|cancelled| *cancelled) => None,
                output = future => Some(output),
            }
        }
    }

    /// Asks every task to end.
    pub(crate) fn cancel(&self) {
        self.inner.cancelled.send_replace(true);
    }

    /// Waits until no task is left.
    pub(crate) async fn wait(&self) {
        let mut live = self.inner.live.subscribe();
        // The sender lives in `self`: it cannot be gone while we wait.
        let _ = live.wait_for(|live| *live == 0).await;
    }

    /// How many tasks there are now.
    pub(crate) fn live(&self) -> usize {
        *self.inner.live.borrow()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn cancel_ends_every_task_and_wait_sees_it() {
        let tasks = Tasks::new(Handle::current());
        tasks.spawn(std::future::pending());
        tasks.spawn(async {});
        let mut set = tokio::task::JoinSet::new();
        set.spawn(tasks.track(std::future::pending::<()>()));
        tokio::task::yield_now().await;
        assert!(tasks.live() >= 2);
        tasks.cancel();
        tasks.wait().await;
        assert_eq!(tasks.live(), 0);
        assert_eq!(set.join_next().await.unwrap().unwrap(), None);
    }
}
