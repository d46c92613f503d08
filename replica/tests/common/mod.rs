//! Local clusters with small limits, and what tests do to them, whatever protocol orders their
//! commands.

#![allow(dead_code, unused_imports, unused_macros)]

use std::path::Path;
use std::time::{Duration, Instant};

use panchayat::kv::{KvCommand, KvOp, KvOutput, KvStore};
use panchayat::{
    Durability, Limits, LocalCluster, LocalConfig, LocalError, ProposeError, ProtocolChoice,
    Replica, ReplicaId, Topology,
};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task::JoinSet;

/// Makes each scenario, a function that takes the protocol, a test under every protocol.
macro_rules! under_every_protocol {
    ($($scenario:ident,)*) => {
        $crate::common::under!(epaxos: panchayat::ProtocolChoice::EPaxos; $($scenario,)*);
        $crate::common::under!(
            multipaxos: panchayat::ProtocolChoice::MultiPaxos(Default::default());
            $($scenario,)*
        );
        $crate::common::under!(
            fastpaxos: panchayat::ProtocolChoice::FastPaxos(Default::default());
            $($scenario,)*
        );
    };
}

/// Makes each scenario a test under one protocol.
macro_rules! under {
    ($name:ident: $protocol:expr; $($scenario:ident,)*) => {
        mod $name {
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $scenario() {
                    let _turn = $crate::common::turn().await;
                    super::$scenario($protocol).await;
                }
            )*
        }
    };
}

pub(crate) use {under, under_every_protocol};

pub(crate) const MUMBAI: ReplicaId = ReplicaId(0);
pub(crate) const DELHI: ReplicaId = ReplicaId(1);
pub(crate) const BANGALORE: ReplicaId = ReplicaId(2);

/// Clusters at once: more of them starve each other's heartbeats on a small machine.
static TURNS: Semaphore = Semaphore::const_new(3);

/// Waits until a scenario may start its cluster.
pub(crate) async fn turn() -> SemaphorePermit<'static> {
    TURNS.acquire().await.expect("never closed")
}

/// Without what is waited for after so long, a test has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// Limits that are reached soon.
pub(crate) fn small() -> Limits {
    Limits {
        command_bytes_max: 64 << 10,
        snapshot_journal_bytes: 128 << 10,
        journal_segment_bytes: 1 << 20,
        journal_bytes_max: 8 << 20,
        retained_max: 400,
        ..Limits::default()
    }
}

pub(crate) fn config(dir: &Path, protocol: &ProtocolChoice) -> LocalConfig {
    let mut config = LocalConfig::new(Topology::builtin(), "india3", dir);
    config.profile = Some("ideal".to_owned());
    config.protocol = protocol.clone();
    config.limits = small();
    config
}

pub(crate) async fn start_with(
    dir: &Path,
    protocol: &ProtocolChoice,
    change: impl FnOnce(&mut LocalConfig),
) -> LocalCluster<KvStore> {
    let mut config = config(dir, protocol);
    change(&mut config);
    LocalCluster::start(config, |_| KvStore::default()).await.unwrap()
}

pub(crate) async fn start(
    dir: &Path,
    protocol: &ProtocolChoice,
    durability: Durability,
) -> LocalCluster<KvStore> {
    start_with(dir, protocol, |config| config.durability = durability).await
}

pub(crate) async fn try_start(
    dir: &Path,
    protocol: &ProtocolChoice,
    durability: Durability,
) -> Result<LocalCluster<KvStore>, LocalError> {
    let mut config = config(dir, protocol);
    config.durability = durability;
    LocalCluster::start(config, |_| KvStore::default()).await
}

fn put_command(key: String, value: String) -> KvCommand {
    KvCommand::One(KvOp::Put { key: key.into(), value: value.into() })
}

/// One attempt; `None` without an answer.
pub(crate) async fn try_put(
    cluster: &LocalCluster<KvStore>,
    at: ReplicaId,
    key: String,
    value: String,
) -> Option<Result<(), ProposeError>> {
    let command = put_command(key, value);
    let answer = cluster.replicas()[at.index()].propose(&command);
    let answer = tokio::time::timeout(Duration::from_secs(3), answer).await.ok()?;
    Some(answer.map(|output| assert_eq!(output, KvOutput::Done)))
}

pub(crate) async fn put(
    cluster: &LocalCluster<KvStore>,
    at: ReplicaId,
    key: String,
    value: String,
) {
    put_at(cluster.replicas()[at.index()].clone(), put_command(key, value)).await;
}

/// Tries again while the command is certainly not applied.
async fn put_at(replica: Replica<KvStore>, command: KvCommand) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = tokio::time::timeout(PATIENCE, replica.propose(&command)).await;
        match answer.expect("an answer in time") {
            Ok(output) => return assert_eq!(output, KvOutput::Done),
            Err(error) => {
                assert!(error.is_certain() && Instant::now() < deadline, "{error}");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
}

/// Writes many at once, spread over `seats`; some keys are everybody's.
pub(crate) async fn put_many(
    cluster: &LocalCluster<KvStore>,
    seats: &[ReplicaId],
    round: usize,
    count: usize,
) {
    let mut writes = JoinSet::new();
    for i in 0..count {
        let replica = cluster.replicas()[seats[i % seats.len()].index()].clone();
        let value = format!("{round}-{i}-{}", "x".repeat(200));
        writes.spawn(put_at(replica, put_command(format!("key-{}", i % 40), value)));
    }
    while let Some(write) = writes.join_next().await {
        write.unwrap();
    }
}

pub(crate) async fn read(
    cluster: &LocalCluster<KvStore>,
    at: ReplicaId,
    key: &'static str,
) -> Option<String> {
    let replica = &cluster.replicas()[at.index()];
    let command = KvCommand::One(KvOp::Get { key: key.into() });
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = tokio::time::timeout(PATIENCE, replica.propose(&command)).await;
        match answer.expect("an answer in time") {
            Ok(KvOutput::Value(value)) => {
                return value.map(|value| String::from_utf8(value.to_vec()).unwrap());
            }
            Ok(other) => panic!("{other:?}"),
            // Whatever became of it: a read may be repeated.
            Err(error) => {
                assert!(Instant::now() < deadline, "{error}");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
}

pub(crate) async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds().await {
        assert!(Instant::now() < deadline, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until all replicas have equal states and have executed equally much.
pub(crate) async fn caught_up(cluster: &LocalCluster<KvStore>) {
    let equal = async || {
        let mut seen = Vec::new();
        for replica in cluster.replicas() {
            let core = replica.metrics().await.expect("it runs").core;
            seen.push((core.state_hash, core.executed));
        }
        seen.windows(2).all(|pair| pair[0] == pair[1])
    };
    eventually("all replicas are equal", equal).await;
}
