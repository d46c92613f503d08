//! One peer, and the task that keeps a link to it.
//!
//! Of two nodes the one with the lower id dials, always, so the two never dial each other at once.
//! The newest established connection wins on both sides: when a peer falls silent, a fresh
//! connection is raced against the old one, which still exists, and replaces it if it gets through
//! first. (After a partition the old connection answers only when its own timers say so.)

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use panchayat_consensus::NodeId;
use parking_lot::Mutex;
use quinn::Connection;
use tokio::sync::{mpsc, watch};

use crate::bulk::Transfers;
use crate::close::CloseCode;
use crate::config::{Limits, PeerConfig};
use crate::dial::{Backoff, Hello, answered, dial};
use crate::error::DownReason;
use crate::hello::Accepted;
use crate::link::Link;
use crate::queue::SendQueue;
use crate::shared::Shared;
use crate::stats::{PeerCounters, PeerStats};

/// Accepted connections that wait for the supervisor.
pub(crate) const ARRIVALS_MAX: usize = 4;

/// A link that lasted this long was good: the next attempt to connect starts without delay.
const GOOD_AFTER: Duration = Duration::from_secs(1);

/// Another node, whether or not there is a link to it.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) node: NodeId,
    pub(crate) rtt: Option<Duration>,
    pub(crate) queue: SendQueue,
    pub(crate) counters: PeerCounters,
    /// Transfers to this peer, and from it.
    pub(crate) served: Transfers,
    pub(crate) fetched: Transfers,
    addr: Mutex<SocketAddr>,
    up: AtomicBool,
    /// Microseconds since the mesh's start, plus 1; 0 is never.
    last_heard: AtomicU64,
    link: Mutex<Option<Accepted>>,
    arrivals: mpsc::Sender<Accepted>,
    removed: watch::Sender<bool>,
}

impl Peer {
    pub(crate) fn new(
        config: &PeerConfig,
        limits: &Limits,
        arrivals: mpsc::Sender<Accepted>,
    ) -> Self {
        Self {
            node: config.node,
            rtt: config.rtt,
            queue: SendQueue::new(limits.queue_bytes_max),
            counters: PeerCounters::new(),
            served: Transfers::new(limits.transfers_per_peer_max),
            fetched: Transfers::new(limits.transfers_per_peer_max),
            addr: Mutex::new(config.addr),
            up: AtomicBool::new(false),
            last_heard: AtomicU64::new(0),
            link: Mutex::new(None),
            arrivals,
            removed: watch::Sender::new(false),
        }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        *self.addr.lock()
    }

    pub(crate) fn set_addr(&self, addr: SocketAddr) {
        *self.addr.lock() = addr;
    }

    pub(crate) fn is_up(&self) -> bool {
        self.up.load(Ordering::Acquire)
    }

    /// Something of this peer arrived at `micros` since the mesh's start.
    pub(crate) fn heard(&self, micros: u64) {
        self.last_heard.fetch_max(micros + 1, Ordering::Relaxed);
    }

    /// How long ago anything arrived; `None` if nothing ever did.
    pub(crate) fn since_heard(&self, shared: &Shared) -> Option<Duration> {
        let last = self.last_heard.load(Ordering::Relaxed).checked_sub(1)?;
        Some(Duration::from_micros(shared.micros().saturating_sub(last)))
    }

    /// Hands an accepted connection to the supervisor; gives it back if too many wait.
    pub(crate) fn arrive(&self, accepted: Accepted) -> Result<(), Accepted> {
        self.arrivals.try_send(accepted).map_err(|error| match error {
            mpsc::error::TrySendError::Full(accepted)
            | mpsc::error::TrySendError::Closed(accepted) => accepted,
        })
    }

    /// The link's connection, if there is one.
    pub(crate) fn connection(&self) -> Option<Connection> {
        self.link.lock().as_ref().map(|link| link.connection.clone())
    }

    /// The version spoken on the link, if there is one.
    pub(crate) fn wire_version(&self) -> Option<u8> {
        self.link.lock().as_ref().map(|link| link.version)
    }

    /// Closes the link's connection, if there is one, at once.
    pub(crate) fn close(&self, code: CloseCode) {
        if let Some(link) = &*self.link.lock() {
            link.connection.close(code.into(), code.to_string().as_bytes());
        }
    }

    /// Asks the supervisor to end; false if it was asked before.
    pub(crate) fn remove(&self) -> bool {
        !self.removed.send_replace(true)
    }

    fn up(&self, shared: &Shared, accepted: Accepted) {
        self.heard(shared.micros());
        self.counters.links.fetch_add(1, Ordering::Relaxed);
        let wire_version = accepted.version;
        *self.link.lock() = Some(accepted);
        self.queue.open();
        self.up.store(true, Ordering::Release);
        tracing::info!(node = %shared.me, peer = %self.node, wire_version, "peer up");
        shared.handler.peer_up(self.node);
    }

    /// Takes the link down in the books; does nothing if it is down.
    pub(crate) fn down(&self, shared: &Shared, reason: DownReason) {
        let Some(link) = self.link.lock().take() else { return };
        self.counters.past.lock().add(&link.connection.stats());
        // What waits goes over the new connection when there already is one.
        if reason != DownReason::Superseded {
            self.queue.close();
        }
        // Last, as it is last when a link comes up: whoever sees the peer down is let in no more.
        self.up.store(false, Ordering::Release);
        tracing::info!(node = %shared.me, peer = %self.node, %reason, "peer down");
        shared.handler.peer_down(self.node, reason);
    }

    pub(crate) fn stats(&self, shared: &Shared) -> PeerStats {
        let now = self.connection().map(|connection| connection.stats());
        let mut totals = *self.counters.past.lock();
        if let Some(now) = &now {
            totals.add(now);
        }
        let queue_bytes = self.queue.bytes();
        let counters = &self.counters;
        PeerStats {
            addr: self.addr(),
            up: self.is_up(),
            wire_version: self.wire_version(),
            last_heard: self.since_heard(shared),
            links: counters.links.load(Ordering::Relaxed),
            superseded: counters.superseded.load(Ordering::Relaxed),
            dials: counters.dials.load(Ordering::Relaxed),
            rtt: now.map(|now| now.path.rtt),
            rtt_min: now.map(|now| now.path.min_rtt),
            congestion_window: now.map_or(0, |now| now.path.cwnd),
            congestion_events: totals.congestion_events,
            packets_sent: totals.packets_sent,
            packets_lost: totals.packets_lost,
            datagrams_sent: totals.datagrams_sent,
            datagrams_received: totals.datagrams_received,
            udp_bytes_sent: totals.udp_bytes_sent,
            udp_bytes_received: totals.udp_bytes_received,
            send_calls: totals.send_calls,
            lanes: std::array::from_fn(|i| counters.lanes[i].snapshot(queue_bytes[i])),
            datagrams: counters.datagrams.snapshot(),
            dropped_full: counters.dropped_full.load(Ordering::Relaxed),
            dropped_down: counters.dropped_down.load(Ordering::Relaxed),
            repeats_spared: counters.repeats_spared.load(Ordering::Relaxed),
            ping: counters.pings(),
            served: self.served.stats(),
            fetched: self.fetched.stats(),
        }
    }
}

/// Keeps a link to `peer` until the peer is removed (or this future is dropped).
pub(crate) async fn supervise(
    shared: Arc<Shared>,
    peer: Arc<Peer>,
    mut arrivals: mpsc::Receiver<Accepted>,
) {
    let mut removed = peer.removed.subscribe();
    let mut backoff = Backoff::new(&shared.timing, shared.me, peer.node);
    let mut hello = Hello::new();
    let mut link: Option<Link> = None;
    loop {
        let have_link = link.is_some();
        let event = tokio::select! {
            _ = removed.wait_for(|removed| *removed) => Event::Removed,
            Some(accepted) = arrivals.recv() => Event::Connected(accepted),
            reason = ended(&mut link) => Event::Ended(reason),
            accepted = dial(&shared, &peer, have_link, &mut backoff, &mut hello),
                if shared.me < peer.node => Event::Connected(accepted),
        };
        let event = match event {
            // The peer closed the old link for the new one, before its answer to our hello came.
            Event::Ended(reason @ DownReason::ClosedByPeer(CloseCode::Superseded)) => {
                let newer = answered(&shared, &peer, &mut hello).await;
                newer.map_or(Event::Ended(reason), Event::Connected)
            }
            event => event,
        };
        match event {
            // It ended while it waited here: it must not replace a link that works.
            Event::Connected(accepted) if accepted.connection.close_reason().is_some() => {}
            Event::Connected(accepted) => {
                if let Some(old) = link.take() {
                    peer.counters.superseded.fetch_add(1, Ordering::Relaxed);
                    // No frame of the old link may follow the first of the new one.
                    old.stop(CloseCode::Superseded).await;
                    peer.down(&shared, DownReason::Superseded);
                }
                peer.up(&shared, accepted.clone());
                link = Some(Link::start(&shared, &peer, accepted));
            }
            Event::Ended(reason) => {
                if let Some(old) = link.take() {
                    if old.since.elapsed() >= GOOD_AFTER {
                        backoff.reset();
                    }
                    old.stop(CloseCode::Dropped).await;
                }
                peer.down(&shared, reason);
            }
            Event::Removed => {
                if let Some(old) = link.take() {
                    old.stop(CloseCode::Removed).await;
                }
                peer.down(&shared, DownReason::Removed);
                // Only now may the same node be added again: its events stay in order.
                shared.peers.write().remove(&peer.node);
                return;
            }
        }
    }
}

enum Event {
    Connected(Accepted),
    Ended(DownReason),
    Removed,
}

async fn ended(link: &mut Option<Link>) -> DownReason {
    match link {
        Some(link) => link.ended().await,
        None => std::future::pending().await,
    }
}

/// Whether nothing was heard of `peer` for so long that a fresh connection should be tried.
pub(crate) fn is_silent(shared: &Shared, peer: &Peer) -> bool {
    peer.since_heard(shared).is_none_or(|since| since >= shared.timing.silent_after)
}

/// The time until `peer` would count as silent.
pub(crate) fn silent_at(shared: &Shared, peer: &Peer) -> Instant {
    let since = peer.since_heard(shared).unwrap_or(shared.timing.silent_after);
    Instant::now() + shared.timing.silent_after.saturating_sub(since)
}
