//! Who is connected: what `CLIENT LIST` tells, and `CLIENT KILL` ends.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::access::DEFAULT_USER;

/// What others may know of a connection.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) id: u64,
    pub(super) addr: SocketAddr,
    pub(super) local: SocketAddr,
    pub(super) began: Instant,
    /// Milliseconds from `began` to the last request.
    pub(super) last_ms: AtomicU64,
    pub(super) about: Mutex<About>,
    killed: AtomicBool,
    kill: Notify,
}

/// What a client says of itself, and did last.
#[derive(Clone, Debug, Default)]
pub(super) struct About {
    pub(super) name: String,
    pub(super) library: String,
    pub(super) library_version: String,
    pub(super) resp: i64,
    pub(super) last: &'static str,
    pub(super) queued: Option<usize>,
    pub(super) watched: usize,
    pub(super) user: String,
}

/// All connections of a replica.
#[derive(Debug, Default)]
pub(super) struct Registry {
    next: AtomicU64,
    peers: Mutex<BTreeMap<u64, Arc<Peer>>>,
}

impl Peer {
    /// Ends the connection.
    pub(super) fn kill(&self) {
        self.killed.store(true, Ordering::Relaxed);
        self.kill.notify_one();
    }

    /// Waits until it is to end.
    pub(super) async fn killed(&self) {
        while !self.killed.load(Ordering::Relaxed) {
            self.kill.notified().await;
        }
    }

    /// For how many seconds it has asked for nothing.
    pub(super) fn idle_seconds(&self) -> u64 {
        let age = self.began.elapsed().as_millis() as u64;
        age.saturating_sub(self.last_ms.load(Ordering::Relaxed)) / 1_000
    }

    /// A line of `CLIENT LIST`.
    pub(super) fn line(&self) -> String {
        let about = self.about.lock().clone();
        let flags = if about.queued.is_some() { "x" } else { "N" };
        format!(
            "id={} addr={} laddr={} fd=0 name={} age={} idle={} flags={flags} db=0 sub=0 psub=0 ssub=0 \
             multi={} watch={} qbuf=0 qbuf-free=0 argv-mem=0 multi-mem=0 rbs=0 rbp=0 obl=0 oll=0 \
             omem=0 tot-mem=0 events=r cmd={} user={} redir=-1 resp={} lib-name={} lib-ver={}",
            self.id,
            self.addr,
            self.local,
            about.name,
            self.began.elapsed().as_secs(),
            self.idle_seconds(),
            about.queued.map_or(-1, |count| count as i64),
            about.watched,
            about.last,
            about.user,
            about.resp,
            about.library,
            about.library_version,
        )
    }
}

impl Registry {
    /// A new connection.
    pub(super) fn enter(&self, addr: SocketAddr, local: SocketAddr) -> Arc<Peer> {
        let id = self.next.fetch_add(1, Ordering::Relaxed) + 1;
        let peer = Arc::new(Peer {
            id,
            addr,
            local,
            began: Instant::now(),
            last_ms: AtomicU64::new(0),
            about: Mutex::new(About {
                resp: 2,
                last: "NULL",
                user: DEFAULT_USER.to_owned(),
                ..About::default()
            }),
            killed: AtomicBool::new(false),
            kill: Notify::new(),
        });
        self.peers.lock().insert(id, peer.clone());
        peer
    }

    /// One that has ended.
    pub(super) fn leave(&self, id: u64) {
        self.peers.lock().remove(&id);
    }

    /// All there are, the oldest first.
    pub(super) fn peers(&self) -> Vec<Arc<Peer>> {
        self.peers.lock().values().cloned().collect()
    }
}
