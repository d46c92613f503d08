//! Clients that append to shared lists through whichever replica answers, and write down what they
//! asked and were told.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use panchayat::identity::Identity;
use panchayat::kv::{KvCommand, KvOp, KvOutput, KvStore};
use panchayat::transport::ClientConfig;
use panchayat::{Cluster, RemoteClient};
use panchayat_sim::history::{ListAppendHistory, Lists, TxnOp, check_list_append};
use tokio::task::JoinHandle;

const KEYS: u64 = 4;
/// Without progress for this long a scenario has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(40);

pub(crate) struct Load {
    shared: Arc<Shared>,
    clients: Vec<JoinHandle<()>>,
}

struct Shared {
    cluster: Cluster,
    identity: Identity,
    /// Whose lists; `None` for the only workload of the replicas.
    workload: Option<&'static str>,
    start: Instant,
    stop: AtomicBool,
    next_element: AtomicU64,
    history: Mutex<ListAppendHistory<u64>>,
    acknowledged: Vec<AtomicU64>,
}

impl Load {
    /// Starts `clients` of them, spread over the replicas.
    pub(crate) fn start(cluster: &Cluster, identity: &Identity, clients: u64) -> Self {
        Self::start_at(cluster, identity, clients, None)
    }

    /// The same for one of several workloads.
    pub(crate) fn start_at(
        cluster: &Cluster,
        identity: &Identity,
        clients: u64,
        workload: Option<&'static str>,
    ) -> Self {
        let seats = cluster.members.len();
        let shared = Arc::new(Shared {
            cluster: cluster.clone(),
            identity: identity.clone(),
            workload,
            start: Instant::now(),
            stop: AtomicBool::new(false),
            next_element: AtomicU64::new(1),
            history: Mutex::new(ListAppendHistory::new()),
            acknowledged: (0..seats).map(|_| AtomicU64::new(0)).collect(),
        });
        let clients = (0..clients)
            .map(|client| {
                let shared = shared.clone();
                let seat = client as usize % seats;
                tokio::spawn(async move { shared.run_client(client, seat).await })
            })
            .collect();
        Self { shared, clients }
    }

    /// Waits until `more` transactions have been acknowledged, by any replica.
    pub(crate) async fn wait_for_more(&self, more: u64, when: &str) {
        let total = || self.shared.acknowledged.iter().map(|at| at.load(Ordering::Relaxed)).sum();
        wait_until(total, more, when).await;
    }

    /// Waits until the replica at `seat` has acknowledged `more` transactions.
    pub(crate) async fn wait_for_more_at(&self, seat: usize, more: u64, when: &str) {
        wait_until(|| self.shared.acknowledged[seat].load(Ordering::Relaxed), more, when).await;
    }

    /// Stops the clients, reads every list at every replica, and checks the whole history.
    pub(crate) async fn finish(self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        for client in self.clients {
            client.await.expect("a client ended in order");
        }
        for (seat, member) in self.shared.cluster.members.iter().enumerate() {
            let reads = (0..KEYS).map(|key| TxnOp::Read { key }).collect();
            let deadline = Instant::now() + PATIENCE;
            let client = self.shared.connect_until(seat, deadline).await.expect("a final read");
            let process = 1_000 + seat as u64;
            let read = self.shared.transact(&client, process, seat, reads).await;
            assert!(read, "the final read at {} has no answer", member.name);
        }
        let history = self.shared.history.lock().expect("not poisoned");
        let report = check_list_append(&history);
        assert!(report.is_strictly_serializable(), "{report}");
        println!("  {} transactions, {} acknowledged: {report}", history.len(), report.committed);
    }
}

pub(crate) async fn wait_until(count: impl Fn() -> u64, more: u64, when: &str) {
    let (from, deadline) = (count(), Instant::now() + PATIENCE);
    while count() < from + more {
        assert!(Instant::now() < deadline, "{when}: {} of {more} in time", count() - from);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

impl Shared {
    async fn run_client(&self, client: u64, seat: usize) {
        let mut random = client + 1;
        let mut draw = |bound: u64| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (random >> 33) % bound
        };
        // An unknown outcome may still take effect; a new name for what follows says so.
        let mut process = client;
        while !self.stop.load(Ordering::Relaxed) {
            let soon = Instant::now() + Duration::from_millis(200);
            let Some(connection) = self.connect_until(seat, soon).await else { continue };
            while !self.stop.load(Ordering::Relaxed) {
                let ops = (0..1 + draw(3)).map(|_| {
                    let key = draw(KEYS);
                    if draw(3) == 0 {
                        TxnOp::Read { key }
                    } else {
                        let element = self.next_element.fetch_add(1, Ordering::Relaxed);
                        TxnOp::Append { key, element }
                    }
                });
                let ops: Vec<_> = ops.collect();
                if !self.transact(&connection, process, seat, ops).await {
                    process += 100;
                    break;
                }
            }
        }
    }

    async fn connect_until(&self, seat: usize, deadline: Instant) -> Option<RemoteClient<KvStore>> {
        let member = &self.cluster.members[seat];
        let config = ClientConfig {
            connect_timeout: Duration::from_millis(500),
            request_timeout: Duration::from_secs(8),
            idle_timeout: Duration::from_secs(2),
            ..ClientConfig::default()
        };
        loop {
            let attempt =
                RemoteClient::connect(member.addr, member.node, &self.identity, config.clone());
            match attempt.await {
                Ok(client) => {
                    return Some(match self.workload {
                        Some(name) => client.workload(name),
                        None => client,
                    });
                }
                Err(_) if Instant::now() < deadline => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                Err(_) => return None,
            }
        }
    }

    /// Runs one transaction and writes it down; true if it was answered.
    async fn transact(
        &self,
        client: &RemoteClient<KvStore>,
        process: u64,
        seat: usize,
        ops: Vec<TxnOp<u64>>,
    ) -> bool {
        let command = command(&ops);
        let op = {
            let mut history = self.history.lock().expect("not poisoned");
            history.invoke(process, self.now_us(), ops.clone())
        };
        let result = client.propose(&command).await;
        let mut history = self.history.lock().expect("not poisoned");
        match result {
            Ok(KvOutput::Committed(outputs)) => {
                history.returned(op, self.now_us(), lists(&ops, &outputs));
                self.acknowledged[seat].fetch_add(1, Ordering::Relaxed);
                true
            }
            Ok(other) => panic!("a transaction without conditions answered {other:?}"),
            Err(error) => {
                if !error.is_unknown() {
                    history.failed(op);
                }
                false
            }
        }
    }

    fn now_us(&self) -> u64 {
        self.start.elapsed().as_micros() as u64
    }
}

fn key_bytes(key: u64) -> Bytes {
    Bytes::from(format!("list-{key}"))
}

fn command(ops: &[TxnOp<u64>]) -> KvCommand {
    let ops = ops.iter().map(|op| match op {
        TxnOp::Read { key } => KvOp::Get { key: key_bytes(*key) },
        TxnOp::Append { key, element } => {
            let suffix = Bytes::copy_from_slice(&element.to_le_bytes());
            KvOp::Append { key: key_bytes(*key), suffix }
        }
    });
    KvCommand::Transaction { conditions: Vec::new(), ops: ops.collect() }
}

fn lists(ops: &[TxnOp<u64>], outputs: &[KvOutput]) -> Lists {
    let reads = ops.iter().zip(outputs).filter(|(op, _)| matches!(op, TxnOp::Read { .. }));
    reads
        .map(|(_, output)| match output {
            KvOutput::Value(value) => elements(value.as_deref().unwrap_or_default()),
            other => panic!("a read answered {other:?}"),
        })
        .collect()
}

pub(crate) fn elements(list: &[u8]) -> Vec<u64> {
    assert!(list.len().is_multiple_of(8), "a torn list");
    let (chunks, _) = list.as_chunks::<8>();
    chunks.iter().map(|chunk| u64::from_le_bytes(*chunk)).collect()
}
