//! What connections may hold, all together and each.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Longest command of a replica: room for the largest request, and what stands around it.
pub(crate) const COMMAND_BYTES_MAX: usize = 16 << 20;

/// What clients may ask of a server at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Most connections at once.
    pub(crate) connections_max: usize,
    /// Largest request: its arguments, and 48 bytes for each.
    pub(crate) request_bytes_max: usize,
    /// Most bytes of requests and replies that a connection may have under way; above, nothing more
    /// is read from it.
    pub(crate) connection_bytes_max: usize,
    /// The same over all connections.
    pub(crate) total_bytes_max: usize,
    /// Longest reply, as it is sent.
    pub(crate) reply_bytes_max: usize,
    /// How long a command may wait for a quorum.
    pub(crate) command_timeout: Duration,
    /// How long the rest of a request may be missing, and a reply may stay unread.
    pub(crate) stall_timeout: Duration,
    /// How long a connection may ask for nothing; for ever if zero.
    pub(crate) idle_timeout: Duration,
}

/// A connection that is not at fault may always have so much.
const SHARE_MIN: usize = 64 << 10;

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 12_000,
            request_bytes_max: COMMAND_BYTES_MAX - (64 << 10),
            connection_bytes_max: 64 << 20,
            total_bytes_max: 512 << 20,
            reply_bytes_max: 256 << 20,
            command_timeout: Duration::from_secs(10),
            stall_timeout: Duration::from_secs(30),
            idle_timeout: Duration::ZERO,
        }
    }
}

/// What all connections together hold.
#[derive(Debug, Default)]
pub(crate) struct Held {
    connections: AtomicUsize,
    bytes: AtomicUsize,
}

/// What one connection holds.
#[derive(Debug)]
pub(crate) struct Holding<'a> {
    held: &'a Held,
    bytes: usize,
}

impl Held {
    /// Counts one more connection, unless there are too many.
    pub(crate) fn connect(&self, limits: &Limits) -> bool {
        let more = |count: usize| (count < limits.connections_max).then_some(count + 1);
        self.connections.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }

    /// One less.
    pub(crate) fn disconnect(&self) {
        self.connections.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// What a connection holds, nothing so far.
    pub(crate) fn hold(&self) -> Holding<'_> {
        Holding { held: self, bytes: 0 }
    }
}

impl Holding<'_> {
    /// Says how much it is now. False if there is too much in all, and this connection has more
    /// than its share of it: then it has to go, for the sake of the others.
    pub(crate) fn set(&mut self, bytes: usize, limits: &Limits) -> bool {
        let all = &self.held.bytes;
        let before = match bytes >= self.bytes {
            true => all.fetch_add(bytes - self.bytes, Ordering::Relaxed),
            false => all.fetch_sub(self.bytes - bytes, Ordering::Relaxed),
        };
        let grew = bytes > self.bytes;
        let total = before + bytes - self.bytes;
        self.bytes = bytes;
        if !grew || total <= limits.total_bytes_max {
            return true;
        }
        let share = limits.total_bytes_max / self.held.connections().max(1);
        bytes <= share.max(SHARE_MIN)
    }
}

impl Drop for Holding<'_> {
    fn drop(&mut self) {
        self.held.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_holds_more_than_a_share_of_too_much_has_to_go() {
        let limits = Limits { total_bytes_max: 1 << 20, connections_max: 2, ..Limits::default() };
        let held = Held::default();
        assert!(held.connect(&limits) && held.connect(&limits) && !held.connect(&limits));
        let (mut greedy, mut modest) = (held.hold(), held.hold());
        assert!(greedy.set(900 << 10, &limits));
        assert!(modest.set(200 << 10, &limits), "that is within its share");
        assert!(!greedy.set(901 << 10, &limits));
        assert!(greedy.set(900 << 10, &limits), "less is always fine");
        drop(greedy);
        assert_eq!(held.bytes(), 200 << 10);
        drop(modest);
        assert_eq!(held.bytes(), 0);
        held.disconnect();
        assert!(held.connect(&limits));
    }
}
