//! Open files: clients may not use up those that the journal needs.
//!
//! The limit is the whole process's, so what is left of it is, too.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Kept for journals, snapshots, certificates, peers and operators.
const KEPT: u64 = 512;

static CLIENTS_MAX: OnceLock<usize> = OnceLock::new();
static CLIENTS: AtomicUsize = AtomicUsize::new(0);

/// Takes as many open files as the system allows this process, and keeps some from clients.
pub(crate) fn raise() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    let limit = if raised.is_ok() { maximum } else { current };
    let room = limit.map_or(u64::MAX, |limit| limit.saturating_sub(KEPT).max(limit / 2));
    if room < 1_024 {
        tracing::warn!(
            limit,
            "few open files are allowed: so many clients at most; raise `ulimit -n`"
        );
    }
    let _ = CLIENTS_MAX.set(usize::try_from(room).unwrap_or(usize::MAX));
}

/// A descriptor that a client's connection uses.
#[derive(Debug)]
pub(crate) struct Descriptor(());

impl Descriptor {
    /// For one more connection, if what must be kept is still there then.
    pub(crate) fn take() -> Option<Self> {
        let most = CLIENTS_MAX.get().copied().unwrap_or(usize::MAX);
        let more = |count: usize| (count < most).then_some(count + 1);
        let taken = CLIENTS.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        taken.is_ok().then_some(Self(()))
    }
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        CLIENTS.fetch_sub(1, Ordering::Relaxed);
    }
}
