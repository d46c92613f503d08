//! Several workloads in one process, over one mesh and one journal.

#[path = "../examples/ledger/machine.rs"]
#[allow(dead_code)]
mod ledger;

use std::path::Path;
use std::time::{Duration, Instant};

use ledger::{Command, Ledger, Outcome, Query};
use panchayat::kv::{KvCommand, KvOp, KvOutput, KvQuery, KvStore};
use panchayat::transport::ClientConfig;
use panchayat::{
    Builder, Durability, FastPaxosChoice, KvRouter, Leader, Limits, LocalConfig, LocalError,
    LocalNodes, MultiPaxosChoice, NoWorkload, Node, ProposeError, ProtocolChoice, ReadLevel,
    RemoteClient, Replica, ReplicaId, Requests, RouteError, StartError, StateMachine, Topology,
    Workload,
};
use tokio::sync::{Semaphore, SemaphorePermit};

const DELHI: ReplicaId = ReplicaId(1);
const PATIENCE: Duration = Duration::from_secs(180);

/// Clusters at once: more of them starve each other's heartbeats on a small machine.
static TURNS: Semaphore = Semaphore::const_new(2);

async fn turn() -> SemaphorePermit<'static> {
    TURNS.acquire().await.expect("never closed")
}

fn config(dir: &Path) -> LocalConfig {
    let mut config = LocalConfig::new(Topology::builtin(), "india3", dir);
    config.profile = Some("ideal".to_owned());
    config.durability = Durability::Os;
    config.limits = Limits {
        snapshot_journal_bytes: 128 << 10,
        journal_segment_bytes: 1 << 20,
        journal_bytes_max: 8 << 20,
        command_bytes_max: 64 << 10,
        ..Limits::default()
    };
    config
}

/// A ledger on EPaxos, an order book's stand-in led from Mumbai, and alerts on Fast Paxos.
fn three(_city: &str, builder: Builder) -> Builder {
    let mumbai = MultiPaxosChoice { leader: Leader::At("mumbai".into()), ..Default::default() };
    let orders = ProtocolChoice::MultiPaxos(mumbai);
    let alerts = ProtocolChoice::FastPaxos(FastPaxosChoice::default());
    builder
        .workload(Workload::new("payments").protocol(ProtocolChoice::EPaxos), Ledger::default())
        .workload(Workload::new("orderbook").protocol(orders), KvStore::default())
        .workload(Workload::new("alerts").protocol(alerts), KvStore::default())
}

fn kv(node: &Node, workload: &str) -> Replica<KvStore> {
    node.workload(workload).unwrap()
}

fn payments(node: &Node) -> Replica<Ledger> {
    node.workload("payments").unwrap()
}

fn append(key: &'static str, suffix: &str) -> KvCommand {
    KvCommand::One(KvOp::Append { key: key.into(), suffix: suffix.to_owned().into() })
}

/// Proposes until there is an answer, as one request: on a busy machine an attempt may be given up.
async fn propose<S: StateMachine>(replica: &Replica<S>, command: S::Command) -> S::Output {
    let (request, deadline) = (Requests::new().next(), Instant::now() + PATIENCE);
    loop {
        match replica.propose_request(request, &command).await {
            Ok(output) => return output,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn read_kv(replica: &Replica<KvStore>, key: &'static str) -> KvOutput {
    propose(replica, KvCommand::One(KvOp::Get { key: key.into() })).await
}

#[tokio::test(flavor = "multi_thread")]
async fn each_workload_has_its_own_state_protocol_and_past() {
    let _turn = turn().await;
    let dir = tempfile::tempdir().unwrap();
    for run in 1..=3u64 {
        let mut cluster = LocalNodes::start(config(dir.path()), three).await.unwrap();
        for (seat, node) in cluster.nodes().iter().enumerate() {
            assert_eq!(node.workloads().collect::<Vec<_>>(), ["payments", "orderbook", "alerts"]);
            let reference = run << 8 | seat as u64;
            let deposit = Command::Deposit { reference, to: 7, paise: 100 };
            assert_eq!(propose(&payments(node), deposit).await, Outcome::Done);
            propose(&kv(node, "orderbook"), append("k", "o")).await;
            propose(&kv(node, "alerts"), append("k", "a")).await;
        }
        if run == 2 {
            cluster.kill(DELHI);
            for node in [&cluster.nodes()[0], &cluster.nodes()[2]] {
                propose(&kv(node, "orderbook"), append("k", "o")).await;
            }
            cluster.restart(DELHI, three).await.unwrap();
            propose(&kv(&cluster.nodes()[1], "orderbook"), append("k", "o")).await;
        }
        let times = if run == 1 { run } else { run + 1 } as usize;
        for node in cluster.nodes() {
            let balance = payments(node).read(Query::Balance(7), ReadLevel::Linearizable).await;
            assert_eq!(balance.unwrap().answer, run * 300);
            let orders = KvOutput::Value(Some("o".repeat(3 * times).into()));
            assert_eq!(read_kv(&kv(node, "orderbook"), "k").await, orders, "{}", node.name());
            let alerts = KvOutput::Value(Some("a".repeat(3 * run as usize).into()));
            assert_eq!(read_kv(&kv(node, "alerts"), "k").await, alerts, "{}", node.name());
        }
        let metrics = cluster.nodes()[0].metrics().await.unwrap();
        let counts: Vec<_> = metrics.workloads.iter().map(|(_, core)| core.executed).collect();
        // One command of each city in every run; reads of one key are no commands under EPaxos.
        assert!(counts.iter().all(|executed| *executed >= 3 * run), "{counts:?}");
        assert_eq!(cluster.shutdown(PATIENCE).await.len(), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_belong_together_is_refused() {
    let _turn = turn().await;
    let dir = tempfile::tempdir().unwrap();
    let cluster = LocalNodes::start(config(dir.path()), three).await.unwrap();
    let mumbai = &cluster.nodes()[0];
    let unknown = mumbai.workload::<KvStore>("payment").unwrap_err();
    assert!(matches!(&unknown, NoWorkload::Unknown { known, .. } if known.contains("payments")));
    let other = mumbai.workload::<KvStore>("payments").unwrap_err();
    assert!(matches!(other, NoWorkload::OtherMachine { .. }), "{other}");
    let deposit = Command::Deposit { reference: 1, to: 1, paise: 1 };
    propose(&payments(mumbai), deposit).await;
    cluster.shutdown(PATIENCE).await;

    let started =
        async |add: fn(&str, Builder) -> Builder| match LocalNodes::start(config(dir.path()), add)
            .await
        {
            Err(LocalError::Start { source, .. }) => *source,
            other => panic!("{other:?}"),
        };
    let fewer =
        started(|_, builder| builder.workload(Workload::new("orderbook"), KvStore::default()));
    // Another protocol than the one its promises were made under comes to light first.
    assert!(matches!(fewer.await, StartError::Marker(_)));
    let fewer =
        started(|_, builder| builder.workload(Workload::new("payments"), Ledger::default()));
    assert!(matches!(fewer.await, StartError::StrayRecords { .. }));
    for names in [["twice", "twice"], ["", "b"], ["A", "b"]] {
        let add = |_: &str, builder: Builder| {
            let [one, other] = names.map(Workload::new);
            builder.workload(one, KvStore::default()).workload(other, KvStore::default())
        };
        let fresh = tempfile::tempdir().unwrap();
        let refused = LocalNodes::start(config(fresh.path()), add).await;
        let Err(LocalError::Start { source, .. }) = refused else { panic!("{names:?}") };
        assert!(matches!(*source, StartError::Workload { .. }), "{source}");
    }
    let again = LocalNodes::start(config(dir.path()), three).await.unwrap();
    let ledger = payments(&again.nodes()[2]);
    let balance = ledger.read(Query::Balance(1), ReadLevel::Linearizable);
    assert_eq!(balance.await.unwrap().answer, 1, "nothing was harmed");
    again.shutdown(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workload_can_be_added_later() {
    let _turn = turn().await;
    let dir = tempfile::tempdir().unwrap();
    let one =
        |_: &str, builder: Builder| builder.workload(Workload::new("payments"), Ledger::default());
    let cluster = LocalNodes::start(config(dir.path()), one).await.unwrap();
    let deposit = Command::Deposit { reference: 1, to: 1, paise: 4 };
    propose(&payments(&cluster.nodes()[0]), deposit).await;
    cluster.shutdown(PATIENCE).await;
    // The second start finds records of both.
    for times in 1..=2 {
        let cluster = LocalNodes::start(config(dir.path()), three).await.unwrap();
        let [mumbai, _, bangalore] = cluster.nodes() else { panic!("three cities") };
        propose(&kv(mumbai, "orderbook"), append("k", "x")).await;
        let orders = KvOutput::Value(Some("x".repeat(times).into()));
        assert_eq!(read_kv(&kv(bangalore, "orderbook"), "k").await, orders);
        let balance = payments(bangalore).read(Query::Balance(1), ReadLevel::Linearizable).await;
        assert_eq!(balance.unwrap().answer, 4);
        cluster.shutdown(PATIENCE).await;
    }
}

/// The journal is cut below what every group has released, so one that writes nothing must not
/// keep it for ever.
#[tokio::test(flavor = "multi_thread")]
async fn a_quiet_workload_does_not_keep_the_journal_of_a_busy_one() {
    let _turn = turn().await;
    let dir = tempfile::tempdir().unwrap();
    let cluster = LocalNodes::start(config(dir.path()), three).await.unwrap();
    let node = &cluster.nodes()[0];
    let deposit = Command::Deposit { reference: 1, to: 1, paise: 5 };
    propose(&payments(node), deposit).await;
    let mut writing = tokio::task::JoinSet::new();
    for client in 0..16 {
        let replica = kv(&cluster.nodes()[client % 3], "orderbook");
        writing.spawn(async move {
            for round in 0..60 {
                let key = format!("key {client} {}", round % 5);
                let put = KvOp::Put { key: key.into(), value: vec![7; 30_000].into() };
                propose(&replica, KvCommand::One(put)).await;
            }
        });
    }
    while let Some(done) = writing.join_next().await {
        done.unwrap();
    }
    for node in cluster.nodes() {
        let metrics = node.metrics().await.unwrap();
        assert!(metrics.journal_file_bytes <= 8 << 20, "{}", metrics.journal_file_bytes);
        let taken = |at: usize| metrics.workloads[at].1.snapshots.taken;
        assert!(taken(0) >= 1 && taken(1) >= 1, "{}, {}", taken(0), taken(1));
    }
    cluster.shutdown(PATIENCE).await;
    let again = LocalNodes::start(config(dir.path()), three).await.unwrap();
    for node in again.nodes() {
        let balance = payments(node).read(Query::Balance(1), ReadLevel::Linearizable).await;
        assert_eq!(balance.unwrap().answer, 5);
    }
    again.shutdown(PATIENCE).await;
}

/// A producer without bounds gets `Overloaded`; the others hardly notice.
#[tokio::test(flavor = "multi_thread")]
async fn an_overloaded_workload_does_not_starve_another() {
    let _turn = turn().await;
    let dir = tempfile::tempdir().unwrap();
    let few = |builder: Builder| {
        let limits =
            Limits { proposals_max: 256, command_bytes_max: 64 << 10, ..Limits::default() };
        builder
            .workload(Workload::new("flood").limits(limits), KvStore::default())
            .workload(Workload::new("calm"), KvStore::default())
    };
    let mut config = config(dir.path());
    config.durability = Durability::Memory;
    let cluster = LocalNodes::start(config, |_, builder| few(builder)).await.unwrap();
    let calm = async || {
        let mut times = Vec::new();
        for round in 0..40 {
            let began = Instant::now();
            let replica = kv(&cluster.nodes()[round % 3], "calm");
            replica.propose(&append("k", ".")).await.unwrap();
            times.push(began.elapsed());
        }
        times.sort_unstable();
        (times[times.len() / 2], times[times.len() - 1])
    };
    let (quiet_p50, quiet_max) = calm().await;
    let mut flood = tokio::task::JoinSet::new();
    for client in 0..2_000usize {
        let replica = kv(&cluster.nodes()[client % 3], "flood");
        flood.spawn(async move {
            let mut refused = 0u64;
            loop {
                match replica.propose(&append("hot", "")).await {
                    Ok(_) => {}
                    Err(ProposeError::Overloaded) => {
                        refused += 1;
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                    Err(_) => return refused,
                }
            }
        });
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    let (p50, max) = calm().await;
    cluster.shutdown(Duration::from_secs(1)).await;
    let mut refused = 0;
    while let Some(client) = flood.join_next().await {
        refused += client.unwrap();
    }
    println!(
        "calm alone {quiet_p50:?} / {quiet_max:?}, beside a flood {p50:?} / {max:?} (p50 / max)"
    );
    assert!(refused > 0, "nobody was overloaded");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_and_clients_find_their_workload() {
    let _turn = turn().await;
    let dir = tempfile::tempdir().unwrap();
    let cluster = LocalNodes::start(config(dir.path()), three).await.unwrap();
    let node = &cluster.nodes()[0];
    let router = KvRouter::new(kv(node, "orderbook")).route("alert:", kv(node, "alerts"));
    let put = |key: &'static str| KvOp::Put { key: key.into(), value: "v".into() };
    for key in ["alert:fire", "TCS"] {
        router.propose(&KvCommand::One(put(key))).await.unwrap();
    }
    let value = KvOutput::Value(Some("v".into()));
    assert_eq!(read_kv(&kv(node, "alerts"), "alert:fire").await, value);
    assert_eq!(read_kv(&kv(node, "orderbook"), "alert:fire").await, KvOutput::Value(None));
    assert_eq!(read_kv(&kv(node, "orderbook"), "TCS").await, value);
    let ops = vec![put("alert:fire"), put("TCS")];
    let across = KvCommand::Transaction { conditions: Vec::new(), ops };
    let refused = router.propose(&across).await.unwrap_err();
    assert!(matches!(refused, RouteError::CrossWorkload { .. }), "{refused}");
    let both = KvQuery::GetMany { keys: vec!["alert:fire".into(), "TCS".into()] };
    let refused = router.read(both, ReadLevel::Linearizable).await.unwrap_err();
    assert!(refused.to_string().contains("different workloads"), "{refused}");
    let one = KvQuery::Get { key: "TCS".into() };
    router.read(one, ReadLevel::Linearizable).await.unwrap();

    let identity = cluster.client_identity("outside").unwrap();
    let member = cluster.cluster().members[DELHI.index()].clone();
    let client = RemoteClient::<KvStore>::connect(
        member.addr,
        member.node,
        &identity,
        ClientConfig::default(),
    );
    let client = client.await.unwrap();
    let paid = client.workload::<Ledger>("payments");
    let deposit = Command::Deposit { reference: 9, to: 1, paise: 3 };
    assert_eq!(paid.propose(&deposit).await.unwrap(), Outcome::Done);
    let get = KvCommand::One(KvOp::Get { key: "alert:fire".into() });
    assert_eq!(client.workload::<KvStore>("alerts").propose(&get).await.unwrap(), value);
    assert!(client.workload::<KvStore>("nothing").propose(&get).await.is_err());
    assert!(client.propose(&get).await.is_err(), "there is none without a name");
    cluster.shutdown(PATIENCE).await;
}
