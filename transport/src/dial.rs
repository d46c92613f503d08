//! Connecting to a peer: overlapping attempts, jittered back-off, one hello.
//!
//! An attempt that started during an outage waits for QUIC's ever longer retransmission timers, so
//! attempts overlap: a new one starts every back-off, while older ones still get the time that a
//! very slow path needs. The first handshake to complete wins and only that one says hello, so
//! the acceptor sees connections in the order in which this side means them.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use panchayat_consensus::NodeId;
use quinn::{ClientConfig, Connection};
use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{RngCore, SeedableRng};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;

use crate::close::CloseCode;
use crate::config::Timing;
use crate::error::Refusal;
use crate::hello::{Accepted, introduce, lost};
use crate::identity::NODE_DNS_NAME;
use crate::peer::{Peer, is_silent, silent_at};
use crate::shared::{Role, Shared, transport_config};

/// Most handshakes in progress towards one peer; beyond, the oldest is given up.
const ATTEMPTS_MAX: usize = 12;

/// The pause before the next attempt: doubles up to a limit, with jitter so that nodes which lost
/// each other at once do not come back at once.
#[derive(Debug)]
pub(crate) struct Backoff {
    min: Duration,
    max: Duration,
    next: Duration,
    rng: Xoshiro256PlusPlus,
}

impl Backoff {
    pub(crate) fn new(timing: &Timing, me: NodeId, peer: NodeId) -> Self {
        let seed = RandomState::new().hash_one((me, peer));
        Self {
            min: timing.reconnect_min,
            max: timing.reconnect_max,
            next: Duration::ZERO,
            rng: Xoshiro256PlusPlus::seed_from_u64(seed),
        }
    }

    /// The next attempt may start at once.
    pub(crate) fn reset(&mut self) {
        self.next = Duration::ZERO;
    }

    /// How long to wait now: between half and all of the present step.
    fn pause(&mut self) -> Duration {
        let step = self.next;
        self.next = (step * 2).clamp(self.min, self.max);
        let part = (self.rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
        step.mul_f64(0.5 + part / 2.0)
    }
}

/// The connection that won the race and has not been answered yet; at most one.
///
/// It outlives [`dial`]: the peer may accept it, and close the old link for it, before its answer
/// is here. Giving it up because the old link ended would leave both sides without any.
pub(crate) type Hello = JoinSet<Option<Result<Accepted, Refusal>>>;

/// The outcome of the hello under way; `None` if there is none, or it was refused.
pub(crate) async fn answered(shared: &Shared, peer: &Peer, hello: &mut Hello) -> Option<Accepted> {
    match hello.join_next().await? {
        Ok(Some(Ok(accepted))) => Some(accepted),
        Ok(Some(Err(refusal))) => {
            shared.refused(peer.addr(), &refusal);
            None
        }
        // The mesh is shutting down.
        Ok(None) | Err(_) => None,
    }
}

/// Waits until a connection to `peer` is needed (there is no link, or it is silent), then makes
/// one. Handshakes under way are given up when this future is dropped, but not `hello`.
pub(crate) async fn dial(
    shared: &Arc<Shared>,
    peer: &Arc<Peer>,
    have_link: bool,
    backoff: &mut Backoff,
    hello: &mut Hello,
) -> Accepted {
    loop {
        if let Some(accepted) = answered(shared, peer, hello).await {
            return accepted;
        }
        while have_link && !is_silent(shared, peer) {
            tokio::time::sleep_until(silent_at(shared, peer).into()).await;
        }
        if have_link {
            backoff.reset();
        }
        if let Some(accepted) = race(shared, peer, have_link, backoff, hello).await {
            return accepted;
        }
    }
}

/// Starts attempts until one leads to a connection; `None` if the old link speaks again first.
async fn race(
    shared: &Arc<Shared>,
    peer: &Arc<Peer>,
    have_link: bool,
    backoff: &mut Backoff,
    hello: &mut Hello,
) -> Option<Accepted> {
    let mut attempts = JoinSet::new();
    let mut handles: VecDeque<AbortHandle> = VecDeque::new();
    let mut next = Instant::now() + backoff.pause();
    loop {
        tokio::select! {
            () = tokio::time::sleep_until(next) => {
                if have_link && !is_silent(shared, peer) {
                    return None;
                }
                handles.retain(|handle| !handle.is_finished());
                if handles.len() >= ATTEMPTS_MAX && let Some(oldest) = handles.pop_front() {
                    oldest.abort();
                }
                let attempt = handshake(Arc::clone(shared), Arc::clone(peer));
                handles.push_back(attempts.spawn(shared.tasks.track(attempt)));
                next = Instant::now() + backoff.pause();
            }
            Some(done) = attempts.join_next(), if !attempts.is_empty() => {
                match done {
                    Ok(Some(Ok(connection))) => {
                        attempts.abort_all();
                        let saying = say_hello(Arc::clone(shared), Arc::clone(peer), connection);
                        hello.spawn(shared.tasks.track(saying));
                        if let Some(accepted) = answered(shared, peer, hello).await {
                            return Some(accepted);
                        }
                    }
                    Ok(Some(Err(refusal))) => shared.refused(peer.addr(), &refusal),
                    // Given up by us: aborted, or the mesh is shutting down.
                    Ok(None) | Err(_) => {}
                }
            }
        }
    }
}

/// One QUIC handshake; says nothing about acceptance.
async fn handshake(shared: Arc<Shared>, peer: Arc<Peer>) -> Result<Connection, Refusal> {
    peer.counters.dials.fetch_add(1, Ordering::Relaxed);
    let endpoint = shared.endpoint().ok_or_else(|| Refusal::Lost("shutting down".into()))?;
    let rtt = peer.rtt.unwrap_or(shared.timing.initial_rtt);
    let mut config = ClientConfig::new(shared.crypto.read().dial.clone());
    config.transport_config(transport_config(
        &shared.limits,
        &shared.timing,
        rtt,
        Role::DiallingNode,
        shared.datagrams,
    ));
    let connecting = endpoint
        .connect_with(config, peer.addr(), NODE_DNS_NAME)
        .map_err(|e| Refusal::Lost(e.to_string()))?;
    let late = |_| Refusal::Lost("handshake timed out".into());
    let connected = tokio::time::timeout(shared.timing.handshake_timeout, connecting);
    connected.await.map_err(late)?.map_err(lost)
}

/// Checks whom we have reached and waits to be accepted; closes the connection otherwise.
async fn say_hello(
    shared: Arc<Shared>,
    peer: Arc<Peer>,
    connection: Connection,
) -> Result<Accepted, Refusal> {
    let timeout = hello_timeout(&shared.timing, peer.rtt);
    match introduce(&connection, shared.cluster, Some(shared.me), peer.node, timeout).await {
        Ok(version) => Ok(Accepted { connection, version }),
        Err(refusal) => {
            let code: CloseCode = refusal.code();
            connection.close(code.into(), refusal.to_string().as_bytes());
            Err(refusal)
        }
    }
}

/// How long an answer to our hello may take. It is one round trip on a path that has just carried
/// a handshake, and no other attempt starts meanwhile: a peer that died, or was cut off, right
/// between the two must not cost a whole handshake timeout.
fn hello_timeout(timing: &Timing, rtt: Option<Duration>) -> Duration {
    let round_trips = rtt.unwrap_or(timing.initial_rtt).saturating_mul(10);
    timing.silent_after.saturating_mul(4).max(round_trips).min(timing.handshake_timeout)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_with_jitter_up_to_the_limit_and_start_again() {
        let timing = Timing::default();
        let mut backoff = Backoff::new(&timing, NodeId(1), NodeId(2));
        assert_eq!(backoff.pause(), Duration::ZERO);
        let pauses: Vec<Duration> = (0..10).map(|_| backoff.pause()).collect();
        assert!(pauses[0] >= timing.reconnect_min / 2 && pauses[0] <= timing.reconnect_min);
        assert!(pauses.iter().all(|pause| *pause <= timing.reconnect_max));
        assert!(pauses[9] >= timing.reconnect_max / 2);
        backoff.reset();
        assert_eq!(backoff.pause(), Duration::ZERO);
    }
}
