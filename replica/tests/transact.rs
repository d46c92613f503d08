//! Interactive transactions: strictly serializable under contention, whatever orders them.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use common::{DELHI, MUMBAI, start, under_every_protocol};
use panchayat::kv::{Condition, KvCommand, KvOp, KvOutput, KvStore};
use panchayat::transact::{Retry, Stop, TransactError, Transactions};
use panchayat::transport::ClientConfig;
use panchayat::{Durability, LocalCluster, ProtocolChoice, RemoteClient, Replica};

under_every_protocol! {
    increments_are_not_lost,
    what_was_only_read_must_still_hold,
    what_is_reported_was_true_after_everything_answered_before,
}

type Bank = Transactions<Replica<KvStore>>;

fn transactions(cluster: &LocalCluster<KvStore>) -> Vec<Arc<Bank>> {
    let patient =
        Retry { attempts_max: 200, pause_max: Duration::from_millis(200), ..Retry::default() };
    let of = |replica: &Replica<KvStore>| {
        Arc::new(Transactions::new(replica.clone()).with_retry(patient))
    };
    cluster.replicas().iter().map(of).collect()
}

async fn increment(bank: &Bank, key: &'static str) -> Result<i64, TransactError<()>> {
    let incremented = bank.run(|txn| async move {
        let next = txn.number(key).await? + 1;
        txn.put(key, next.to_string());
        Ok(next)
    });
    incremented.await
}

async fn increments_are_not_lost(protocol: ProtocolChoice) {
    let dir = tempfile::tempdir().unwrap();
    let cluster = start(dir.path(), &protocol, Durability::Memory).await;
    let mut clients = tokio::task::JoinSet::new();
    for bank in transactions(&cluster) {
        for _ in 0..2 {
            let bank = bank.clone();
            clients.spawn(async move {
                let mut seen = Vec::new();
                for _ in 0..5 {
                    seen.push(increment(&bank, "sum").await.unwrap());
                }
                seen
            });
        }
    }
    let mut seen: Vec<i64> = clients.join_all().await.into_iter().flatten().collect();
    seen.sort_unstable();
    assert_eq!(seen, (1..=30).collect::<Vec<_>>(), "each increment leaves its own number behind");
}

/// Of two doctors on call one may leave. Each looks at both, and changes only itself: with nothing
/// but writes in conflict both would go (a write skew).
async fn what_was_only_read_must_still_hold(protocol: ProtocolChoice) {
    let dir = tempfile::tempdir().unwrap();
    let cluster = start(dir.path(), &protocol, Durability::Memory).await;
    let banks = transactions(&cluster);
    let leave = async |bank: &Bank, me: &'static str| {
        let left = bank.run(|txn| async move {
            let on_call = txn.get_many(["asha", "ravi"]).await?.into_iter().flatten().count();
            if on_call < 2 {
                return Err(Stop::Abort("nobody else is on call"));
            }
            txn.delete(me);
            Ok(())
        });
        left.await
    };
    for _ in 0..10 {
        let come = banks[2].run(|txn| async move {
            txn.put("asha", "on call");
            txn.put("ravi", "on call");
            Ok::<(), Stop<()>>(())
        });
        come.await.unwrap();
        let (asha, ravi) = tokio::join!(leave(&banks[0], "asha"), leave(&banks[1], "ravi"));
        let refused = Err(TransactError::Aborted("nobody else is on call"));
        assert!((asha == Ok(()) && ravi == refused) || (asha == refused && ravi == Ok(())));
    }
}

/// Every transaction sees what was acknowledged elsewhere before it began, though it reads from a
/// state that may lag behind: also if it writes nothing, and if it aborts.
async fn what_is_reported_was_true_after_everything_answered_before(protocol: ProtocolChoice) {
    let dir = tempfile::tempdir().unwrap();
    let cluster = start(dir.path(), &protocol, Durability::Memory).await;
    let banks = transactions(&cluster);
    for round in 1..=10 {
        assert_eq!(increment(&banks[0], "round").await, Ok(round));
        for bank in &banks[1..] {
            let read = bank.run(|txn| async move { Ok::<_, Stop<()>>(txn.number("round").await?) });
            assert_eq!(read.await, Ok(round));
            let behind = bank.run(|txn| async move {
                match txn.number("round").await? {
                    seen if seen < round => Err(Stop::Abort(seen)),
                    seen => Ok(seen),
                }
            });
            assert_eq!(behind.await, Ok(round));
        }
    }
}

/// The control: the same two commands without the conditions on what is only read.
#[tokio::test]
async fn without_validation_there_is_write_skew() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = start(dir.path(), &ProtocolChoice::EPaxos, Durability::Memory).await;
    let mumbai = &cluster.replicas()[MUMBAI.index()];
    for doctor in ["asha", "ravi"] {
        let come = KvOp::Put { key: doctor.into(), value: "on call".into() };
        mumbai.propose(&KvCommand::One(come)).await.unwrap();
    }
    let leave = |me: &'static str, watched: &[&'static str]| {
        let is_there = |key: &&'static str| Condition::Is {
            key: (*key).into(),
            expected: Some("on call".into()),
        };
        KvCommand::Transaction {
            conditions: watched.iter().map(is_there).collect(),
            ops: vec![KvOp::Delete { key: me.into() }],
        }
    };
    for me in ["asha", "ravi"] {
        let output = mumbai.propose(&leave(me, &[me])).await.unwrap();
        assert_eq!(output, KvOutput::Committed(vec![KvOutput::Done]), "nobody is left");
    }
    let output = mumbai.propose(&leave("asha", &["asha", "ravi"])).await.unwrap();
    assert!(matches!(output, KvOutput::ConditionFailed { .. }), "{output:?}");
}

#[tokio::test]
async fn bounds_are_kept_and_said() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = start(dir.path(), &ProtocolChoice::EPaxos, Durability::Memory).await;
    let mumbai = &cluster.replicas()[MUMBAI.index()];
    let few = Retry { attempts_max: 3, pause: Duration::from_millis(1), ..Retry::default() };
    let bank = Transactions::new(mumbai.clone()).with_retry(few);
    let runs = AtomicU32::new(0);
    let (meddler, counted) = (&mumbai, &runs);
    let disturbed = bank.run(|txn| async move {
        let seen = txn.number("k").await?;
        counted.fetch_add(1, Ordering::Relaxed);
        let meddle = KvCommand::One(KvOp::Add { key: "k".into(), amount: 1 });
        meddler.propose(&meddle).await.unwrap();
        txn.put("k", (seen + 1).to_string());
        Ok::<(), Stop<()>>(())
    });
    assert_eq!(disturbed.await, Err(TransactError::Contended { attempts: 3 }));
    assert_eq!(runs.into_inner(), 3);

    let wide = bank.run(|txn| async move {
        (0..5_000).for_each(|key| txn.put(key.to_string(), ""));
        Ok::<(), Stop<()>>(())
    });
    let refused = wide.await.unwrap_err();
    assert!(matches!(refused, TransactError::TooManyKeys { keys: 5_000, .. }), "{refused:?}");

    let own = bank.run(|txn| async move {
        txn.put("a", "5");
        txn.add("a", 2);
        txn.add("k", 10);
        let seen = (txn.number("a").await?, txn.number("k").await?);
        txn.delete("a");
        Ok::<_, Stop<()>>((seen, txn.get("a").await?))
    });
    assert_eq!(own.await, Ok(((7, 13), None)), "a transaction sees what it has written");
    mumbai.clone().shutdown().await.unwrap();
    let stopped = bank.run(|txn| async move { Ok::<_, Stop<()>>(txn.number("k").await?) }).await;
    assert!(matches!(&stopped, Err(TransactError::NotApplied(_))), "{stopped:?}");
}

#[tokio::test]
async fn clients_outside_have_transactions_too() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = start(dir.path(), &ProtocolChoice::EPaxos, Durability::Memory).await;
    let identity = cluster.client_identity("teller").unwrap();
    let member = cluster.cluster().members[DELHI.index()].clone();
    let client = RemoteClient::<KvStore>::connect(
        member.addr,
        member.node,
        &identity,
        ClientConfig::default(),
    );
    let bank = Transactions::new(client.await.unwrap());
    for expected in 1..=3 {
        let incremented = bank.run(|txn| async move {
            let next = txn.number("k").await? + 1;
            txn.put("k", next.to_string());
            Ok::<_, Stop<()>>(next)
        });
        assert_eq!(incremented.await, Ok(expected));
    }
    let sold_out = bank.run(|txn| async move {
        match txn.number("seats").await? {
            0 => Err(Stop::Abort("sold out")),
            seats => Ok(seats),
        }
    });
    assert_eq!(sold_out.await, Err(TransactError::Aborted("sold out")));
}
