//! A client that is told what became of each of its requests, whoever dies meanwhile: it asks one
//! replica after the other, under the same name.

use std::time::{Duration, Instant};

use panchayat::identity::Identity;
use panchayat::kv::KvStore;
use panchayat::transport::ClientConfig;
use panchayat::{
    Cluster, ProposeError, RemoteClient, RemoteError, Request, Requests, StateMachine,
};

use crate::load::PATIENCE;

/// How long one replica is waited for before the next is asked.
const ATTEMPT: Duration = Duration::from_secs(2);
/// Between two attempts, so that a replica that has just died is not asked in a tight loop.
const PAUSE: Duration = Duration::from_millis(20);

pub(crate) struct Asking {
    cluster: Cluster,
    identity: Identity,
    workload: &'static str,
    requests: Requests,
    connections: Vec<Option<RemoteClient<KvStore>>>,
    /// Attempts after the first, of all requests.
    pub(crate) repeated: u64,
}

/// What is known of a request in the end.
pub(crate) enum Known<O> {
    Answer(O),
    /// It was applied; its output was too long to be kept for whoever asks again.
    Applied,
}

impl Asking {
    pub(crate) fn new(cluster: &Cluster, identity: &Identity, workload: &'static str) -> Self {
        Self {
            cluster: cluster.clone(),
            identity: identity.clone(),
            workload,
            requests: Requests::new(),
            connections: cluster.members.iter().map(|_| None).collect(),
            repeated: 0,
        }
    }

    /// The name of what is asked next.
    pub(crate) fn next(&self) -> Request {
        self.requests.next()
    }

    /// Asks at `seat`, and then at the others, until one of them knows what became of `request`.
    pub(crate) async fn settle<S: StateMachine>(
        &mut self,
        request: Request,
        seat: usize,
        command: &S::Command,
    ) -> Known<S::Output> {
        let deadline = Instant::now() + PATIENCE;
        let mut seat = seat;
        loop {
            match self.attempt::<S>(request, seat, command).await {
                Some(Ok(output)) => return Known::Answer(output),
                Some(Err(RemoteError::Propose(ProposeError::OutputNotKept))) => {
                    return Known::Applied;
                }
                Some(Err(error)) => assert!(Instant::now() < deadline, "{request:?}: {error}"),
                None => assert!(Instant::now() < deadline, "{request:?}: nobody is there"),
            }
            seat = (seat + 1) % self.connections.len();
            self.repeated += 1;
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Asks `seat` once. `None` if it cannot be reached.
    pub(crate) async fn attempt<S: StateMachine>(
        &mut self,
        request: Request,
        seat: usize,
        command: &S::Command,
    ) -> Option<Result<S::Output, RemoteError>> {
        let client = self.connection(seat).await?.workload::<S>(self.workload);
        let answer = client.propose_request(request, command).await;
        if matches!(answer, Err(RemoteError::Client(_))) {
            self.connections[seat] = None;
        }
        Some(answer)
    }

    async fn connection(&mut self, seat: usize) -> Option<RemoteClient<KvStore>> {
        if self.connections[seat].is_none() {
            let member = &self.cluster.members[seat];
            let config = ClientConfig {
                connect_timeout: Duration::from_millis(500),
                request_timeout: ATTEMPT,
                idle_timeout: ATTEMPT,
                ..ClientConfig::default()
            };
            let made = RemoteClient::connect(member.addr, member.node, &self.identity, config);
            self.connections[seat] = made.await.ok();
        }
        self.connections[seat].clone()
    }
}
