//! Commands that commute do not order each other, however many meet on one key.

mod common;

use common::{BANGALORE, DELHI, MUMBAI, read, start};
use panchayat::kv::{Condition, KvCommand, KvOp, KvOutput};
use panchayat::{Durability, Path, ProtocolChoice};

/// Additions at each replica.
const EACH: i64 = 150;

fn add(key: &str, amount: i64) -> KvOp {
    KvOp::Add { key: key.to_owned().into(), amount }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_counter_that_everybody_touches_stays_on_the_fast_path() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = start(dir.path(), &ProtocolChoice::EPaxos, Durability::Memory).await;
    let mut clients = tokio::task::JoinSet::new();
    for replica in cluster.replicas() {
        for amount in 1..=EACH {
            let replica = replica.clone();
            clients.spawn(async move {
                let command = KvCommand::One(add("popularity", amount));
                replica.propose_traced(&command).await.unwrap()
            });
        }
    }
    let mut fast = 0;
    while let Some(applied) = clients.join_next().await {
        let applied = applied.unwrap();
        assert_eq!(applied.output, KvOutput::Done);
        // A busy machine may take a coordinator for dead; nothing else may cost it the fast path.
        assert_ne!(applied.path, Path::Slow, "{:?}", applied.id);
        fast += i64::from(applied.path == Path::Fast);
    }
    assert!(fast > 2 * EACH, "{fast} of {} on the fast path", 3 * EACH);
    let sum = (3 * EACH * (EACH + 1) / 2).to_string();
    for seat in [MUMBAI, DELHI, BANGALORE] {
        assert_eq!(read(&cluster, seat, "popularity").await.as_ref(), Some(&sum));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn payers_who_pay_the_same_shop_do_not_wait_for_each_other() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = start(dir.path(), &ProtocolChoice::EPaxos, Durability::Memory).await;
    let mumbai = &cluster.replicas()[MUMBAI.index()];
    for payer in 0..3 {
        mumbai.propose(&KvCommand::One(add(&format!("payer {payer}"), 100))).await.unwrap();
    }
    let mut clients = tokio::task::JoinSet::new();
    for (payer, replica) in cluster.replicas().iter().cloned().enumerate() {
        let from = format!("payer {payer}");
        let pay = KvCommand::Transaction {
            conditions: vec![Condition::AtLeast { key: from.clone().into(), least: 7 }],
            ops: vec![add(&from, -7), add("shop", 7)],
        };
        clients.spawn(async move {
            let mut paid = 0;
            for _ in 0..20 {
                let applied = replica.propose_traced(&pay).await.unwrap();
                assert_ne!(applied.path, Path::Slow);
                paid += u64::from(matches!(applied.output, KvOutput::Committed(_)));
            }
            paid
        });
    }
    assert_eq!(clients.join_all().await, [14; 3], "14 times 7 is what fits into 100");
    assert_eq!(read(&cluster, DELHI, "shop").await.as_deref(), Some("294"));
    assert_eq!(read(&cluster, DELHI, "payer 2").await.as_deref(), Some("2"));
}
