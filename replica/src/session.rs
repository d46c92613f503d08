//! Requests that are applied once, however often they are tried.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use panchayat_consensus::{ClientId, Request, WallTime};
use panchayat_core::StateMachine;

use crate::error::ProposeError;
use crate::replica::Replica;

/// Names a client's requests: a name drawn at random, and numbers that count up.
///
/// Clones count on together. A session that is not shared needs no storage: whoever starts again
/// makes a new one. To recognize a request across restarts of the *client*, keep the [`Request`].
#[derive(Clone)]
pub struct Requests {
    client: ClientId,
    next: Arc<AtomicU64>,
}

impl Requests {
    /// A client that nobody else is.
    pub fn new() -> Self {
        Self { client: random_client(), next: Arc::new(AtomicU64::new(1)) }
    }

    /// Who asks.
    pub fn client(&self) -> ClientId {
        self.client
    }

    /// The name of a request that is first tried now. Every attempt at it, at whatever replica,
    /// carries the same, and the same command.
    pub fn next(&self) -> Request {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Request {
            client: self.client,
            sequence: self.next.fetch_add(1, Ordering::Relaxed),
            issued_at: WallTime(wall.as_micros() as u64),
        }
    }
}

impl Default for Requests {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Requests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Requests").field("client", &self.client).finish_non_exhaustive()
    }
}

/// A client's session with a replica: made by [`Replica::session`].
///
/// ```
/// # use panchayat::{ProposeError, Replica, kv::{KvCommand, KvStore, KvOutput}};
/// # async fn pay(
/// #     mumbai: Replica<KvStore>, delhi: Replica<KvStore>, command: KvCommand,
/// # ) -> Result<KvOutput, ProposeError> {
/// let session = mumbai.session();
/// let request = session.request();
/// match session.propose_request(request, &command).await {
///     // Nobody knows whether it was applied. Tried again, elsewhere, it is applied once.
///     Err(error) if !error.is_certain() => delhi.propose_request(request, &command).await,
///     result => result,
/// }
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Session<S: StateMachine> {
    replica: Replica<S>,
    requests: Requests,
}

impl<S: StateMachine> Session<S> {
    pub(crate) fn new(replica: Replica<S>) -> Self {
        Self { replica, requests: Requests::new() }
    }

    /// Who asks.
    pub fn client(&self) -> ClientId {
        self.requests.client()
    }

    /// The name of the next request, to be tried now and again.
    pub fn request(&self) -> Request {
        self.requests.next()
    }

    /// Proposes `command` as the next request. If the outcome is ambiguous and must be known, make
    /// the [`request`](Self::request) first, and try with it again.
    ///
    /// # Errors
    /// As [`Replica::propose_request`].
    pub async fn propose(&self, command: &S::Command) -> Result<S::Output, ProposeError> {
        self.propose_request(self.request(), command).await
    }

    /// One attempt at `request`.
    ///
    /// # Errors
    /// As [`Replica::propose_request`].
    pub async fn propose_request(
        &self,
        request: Request,
        command: &S::Command,
    ) -> Result<S::Output, ProposeError> {
        self.replica.propose_request(request, command).await
    }
}

fn random_client() -> ClientId {
    let mut bytes = [0; 16];
    let mut filled = 0;
    while filled < bytes.len() {
        match rustix::rand::getrandom(&mut bytes[filled..], rustix::rand::GetRandomFlags::empty()) {
            Ok(count) => filled += count,
            Err(rustix::io::Errno::INTR) => {}
            // No kernel that runs this refuses; a name that might be another's is out of question.
            Err(error) => panic!("the system has no random numbers: {error}"),
        }
    }
    ClientId(u128::from_le_bytes(bytes))
}
