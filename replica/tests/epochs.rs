//! Members and protocols change under load, over QUIC and real threads: nothing acknowledged is lost, nothing
//! is applied twice, and clients notice a pause.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use panchayat::kv::{KvCommand, KvOp, KvOutput, KvStore};
use panchayat::{
    AdaptiveChoice, Change, ChangeError, Leader, LocalCluster, LocalConfig, MultiPaxosChoice,
    NodeId, ProtocolChoice, Replica, ReplicaId, Standing, Topology,
};
use tokio::task::JoinHandle;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(60);

async fn start(dir: &std::path::Path, profile: Option<&str>) -> LocalCluster<KvStore> {
    let mut config = LocalConfig::new(Topology::builtin(), "india3", dir);
    config.profile = profile.map(str::to_owned);
    LocalCluster::start(config, |_| KvStore::default()).await.unwrap()
}

/// Counts at one replica, one after the other, and notes the longest time without an answer.
struct Counting {
    stop: Arc<AtomicBool>,
    longest_us: Arc<AtomicU64>,
    task: JoinHandle<(i64, i64)>,
}

impl Counting {
    fn begin(replica: &Replica<KvStore>, key: &str) -> Self {
        let (stop, longest_us) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let (replica, key) = (replica.clone(), key.to_owned());
        let (until, longest) = (stop.clone(), longest_us.clone());
        let task = tokio::spawn(async move {
            let (mut acknowledged, mut unknown) = (0, 0);
            let mut last = Instant::now();
            while !until.load(Ordering::Relaxed) {
                let one = KvOp::Add { key: key.clone().into(), amount: 1 };
                match replica.propose(&KvCommand::One(one)).await {
                    Ok(_) => acknowledged += 1,
                    Err(error) if !error.is_certain() => unknown += 1,
                    Err(_) => {
                        tokio::time::sleep(Duration::from_millis(5)).await;
                        continue;
                    }
                }
                let took = last.elapsed().as_micros() as u64;
                longest.fetch_max(took, Ordering::Relaxed);
                last = Instant::now();
            }
            (acknowledged, unknown)
        });
        Self { stop, longest_us, task }
    }

    /// The longest time without an answer since the last time it was asked.
    fn pause(&self) -> Duration {
        Duration::from_micros(self.longest_us.swap(0, Ordering::Relaxed))
    }

    /// Acknowledged, and those of which nobody knows.
    async fn end(self) -> (i64, i64) {
        self.stop.store(true, Ordering::Relaxed);
        timeout(PATIENCE, self.task).await.unwrap().unwrap()
    }
}

async fn value(replica: &Replica<KvStore>, key: &'static str) -> i64 {
    let get = KvCommand::One(KvOp::Get { key: key.into() });
    match timeout(PATIENCE, replica.propose(&get)).await.unwrap().unwrap() {
        KvOutput::Value(Some(value)) => std::str::from_utf8(&value).unwrap().parse().unwrap(),
        other => panic!("{other:?}"),
    }
}

async fn until<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let begun = Instant::now();
    while !holds().await {
        assert!(begun.elapsed() < PATIENCE, "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn complete(replica: &Replica<KvStore>) {
    let is_complete = || async { replica.group().await.unwrap().is_complete() };
    until("all members have the state", is_complete).await;
}

fn led_from(city: &str) -> ProtocolChoice {
    let leader = Leader::At(city.to_owned());
    ProtocolChoice::MultiPaxos(MultiPaxosChoice { leader, ..Default::default() })
}

/// Changes it, and says how long a client at each of `watched` waited at most.
async fn change(what: &str, at: &Replica<KvStore>, change: Change, watched: &[&Counting]) {
    tokio::time::sleep(Duration::from_millis(300)).await;
    let before: Vec<_> = watched.iter().map(|counting| counting.pause()).collect();
    let begun = Instant::now();
    timeout(PATIENCE, at.change(&change)).await.expect(what).expect(what);
    let took = begun.elapsed();
    tokio::time::sleep(Duration::from_millis(700)).await;
    let pauses: Vec<_> = watched.iter().map(|counting| counting.pause()).collect();
    println!("{what}: {took:.1?}; longest wait of clients {pauses:.1?}, before it {before:.1?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn protocols_are_switched_under_load() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = start(dir.path(), Some("ideal")).await;
    let [mumbai, delhi, bangalore] = cluster.replicas() else { panic!("three") };
    let counting = [Counting::begin(mumbai, "n"), Counting::begin(delhi, "n")];
    let watched = [&counting[0], &counting[1]];
    let switches = [
        led_from("delhi"),
        ProtocolChoice::FastPaxos(Default::default()),
        ProtocolChoice::EPaxos,
        ProtocolChoice::FastPaxos(Default::default()),
        led_from("mumbai"),
        ProtocolChoice::EPaxos,
    ];
    for (at, protocol) in switches.iter().enumerate() {
        let to = Change::new().protocol(protocol.clone());
        change(&protocol.to_string(), bangalore, to.clone(), &watched).await;
        let group = bangalore.group().await.unwrap();
        assert_eq!((group.epoch, &group.protocol), (at as u64 + 2, protocol));
        // What is so already needs no epoch.
        bangalore.change(&to).await.unwrap();
        assert_eq!(bangalore.group().await.unwrap().epoch, at as u64 + 2);
    }
    let mut sum = 0;
    for counting in counting {
        let (acknowledged, unknown) = counting.end().await;
        assert_eq!(unknown, 0, "nobody died");
        assert!(acknowledged > 30, "{acknowledged}");
        sum += acknowledged;
    }
    assert_eq!(value(bangalore, "n").await, sum);
    assert!(cluster.shutdown(PATIENCE).await.is_empty());
}

/// Everybody wants one key: a group that may, lets somebody lead.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_adaptive_group_moves_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = start(dir.path(), Some("ideal")).await;
    let [mumbai, delhi, bangalore] = cluster.replicas() else { panic!("three") };
    let adaptive = AdaptiveChoice::default().stay(Duration::from_secs(1));
    let to = Change::new().protocol(ProtocolChoice::Adaptive(adaptive));
    let counting = [Counting::begin(mumbai, "n"), Counting::begin(delhi, "n")];
    change("adaptive", bangalore, to.clone(), &[&counting[0], &counting[1]]).await;
    let group = bangalore.group().await.unwrap();
    assert_eq!((group.epoch, group.protocol.now()), (2, &ProtocolChoice::EPaxos));
    // Counting commutes. This does not.
    let rush = [mumbai, delhi].map(|replica| {
        let replica = replica.clone();
        tokio::spawn(async move {
            loop {
                let hot = KvOp::Mix { key: "hot".into(), salt: "s".into() };
                if replica.propose(&KvCommand::One(hot)).await.is_err() {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            }
        })
    });
    let begun = Instant::now();
    let moved = || async { bangalore.group().await.unwrap().epoch == 3 };
    until("the group moves", moved).await;
    let group = bangalore.group().await.unwrap();
    println!("{} after {:.1?}", group.protocol, begun.elapsed());
    assert_eq!((group.protocol.name(), group.protocol.now().name()), ("adaptive", "multipaxos"));
    rush.iter().for_each(JoinHandle::abort);
    // Asking again for what is so needs no epoch, whatever orders commands by now.
    bangalore.change(&to).await.unwrap();
    assert_eq!(bangalore.group().await.unwrap().epoch, 3);
    // An operator has the last word.
    delhi.change(&Change::new().protocol(ProtocolChoice::EPaxos)).await.unwrap();
    assert_eq!(delhi.group().await.unwrap().protocol, ProtocolChoice::EPaxos);
    let mut sum = 0;
    for counting in counting {
        let (acknowledged, unknown) = counting.end().await;
        assert_eq!(unknown, 0, "nobody died");
        sum += acknowledged;
    }
    assert_eq!(value(bangalore, "n").await, sum, "once each");
    cluster.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_replica_is_replaced_and_never_heard_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut cluster = start(dir.path(), Some("ideal")).await;
    let counting = Counting::begin(&cluster.replicas()[0], "n");
    tokio::time::sleep(Duration::from_millis(300)).await;
    let dead = ReplicaId(1);
    cluster.kill(dead);
    let newcomer = cluster.join("delhi", KvStore::default()).await.unwrap();
    let mumbai = cluster.replicas()[0].clone();
    let replace = Change::new().remove_member(NodeId(2)).add_member(newcomer);
    change("replaced", &mumbai, replace.clone(), &[&counting]).await;
    complete(&mumbai).await;
    // Asked again, it is made once.
    mumbai.change(&replace).await.unwrap();
    let group = mumbai.group().await.unwrap();
    assert_eq!((group.epoch, group.member("delhi").unwrap().member.node), (2, NodeId(4)));

    let [_, _, bangalore, delhi] = cluster.replicas() else { panic!("four") };
    let earlier = value(bangalore, "n").await;
    assert!(value(delhi, "n").await >= earlier, "it answers with all there was");
    let counting_there = Counting::begin(delhi, "there");
    tokio::time::sleep(Duration::from_millis(500)).await;
    let (acknowledged, _) = counting_there.end().await;
    assert!(acknowledged > 3, "{acknowledged}");

    // The dead one comes back: nobody speaks with it, and it serves nobody.
    cluster.restart(dead, KvStore::default()).await.unwrap();
    let back = cluster.replicas()[1].clone();
    let get = KvCommand::One(KvOp::Get { key: "n".into() });
    let answered = timeout(Duration::from_secs(2), back.propose(&get)).await;
    assert!(!matches!(answered, Ok(Ok(_))), "{answered:?}");
    let no_peer =
        || async { mumbai.mesh().stats().peers.iter().all(|(node, _)| *node != NodeId(2)) };
    until("nothing is sent to who was removed", no_peer).await;

    let (acknowledged, unknown) = counting.end().await;
    let counted = value(&mumbai, "n").await;
    assert!((acknowledged..=acknowledged + unknown).contains(&counted), "{counted}");
    assert!(cluster.shutdown(Duration::from_secs(5)).await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_become_five_and_three_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut cluster = start(dir.path(), Some("ideal")).await;
    let counting = Counting::begin(&cluster.replicas()[0], "n");
    let mumbai = cluster.replicas()[0].clone();
    let chennai = cluster.join("chennai", KvStore::default()).await.unwrap();
    let hyderabad = cluster.join("hyderabad", KvStore::default()).await.unwrap();
    let learner = cluster.replicas()[3].clone();
    assert_eq!(learner.group().await.unwrap().standing, Standing::Learner);

    let grow = Change::new().add_member(chennai).add_member(hyderabad);
    change("3 to 5", &mumbai, grow, &[&counting]).await;
    complete(&mumbai).await;
    let group = mumbai.group().await.unwrap();
    assert_eq!((group.members.len(), group.next_node), (5, NodeId(6)));
    let earlier = value(&mumbai, "n").await;
    assert!(value(&learner, "n").await >= earlier, "it answers with all there was");
    // Five bear two.
    let multipaxos = Change::new().protocol(led_from("chennai"));
    change("Multi-Paxos, led by a newcomer", &mumbai, multipaxos, &[&counting]).await;
    complete(&mumbai).await;

    let gone = Change::new().remove_member(NodeId(2)).remove_member(NodeId(3));
    change("5 to 3", &mumbai, gone, &[&counting]).await;
    complete(&mumbai).await;
    let delhi = cluster.replicas()[1].clone();
    let is_removed =
        || async { matches!(delhi.group().await.unwrap().standing, Standing::Removed(_)) };
    until("delhi knows that it was removed", is_removed).await;
    let get = KvCommand::One(KvOp::Get { key: "n".into() });
    let refused = delhi.propose(&get).await.unwrap_err();
    assert!(refused.is_certain() && refused.to_string().contains("no member"), "{refused}");
    assert_eq!(delhi.change(&Change::new()).await, Err(ChangeError::NotMember));
    let no_peer =
        || async { mumbai.mesh().stats().peers.iter().all(|(node, _)| *node != NodeId(2)) };
    until("nothing is sent to who was removed", no_peer).await;

    let (acknowledged, unknown) = counting.end().await;
    assert_eq!(unknown, 0, "nobody died");
    assert_eq!(value(&learner, "n").await, acknowledged);
    assert!(cluster.shutdown(PATIENCE).await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everybody_remembers_the_epoch_through_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let mut cluster = start(dir.path(), None).await;
    let chennai = cluster.join("chennai", KvStore::default()).await.unwrap();
    let mumbai = cluster.replicas()[0].clone();
    let both = Change::new().add_member(chennai).protocol(led_from("chennai"));
    timeout(PATIENCE, mumbai.change(&both)).await.unwrap().unwrap();
    complete(&mumbai).await;
    let one = KvCommand::One(KvOp::Add { key: "n".into(), amount: 5 });
    timeout(PATIENCE, mumbai.propose(&one)).await.unwrap().unwrap();
    for seat in (0..4).map(ReplicaId) {
        cluster.kill(seat);
    }
    for seat in (0..4).map(ReplicaId) {
        cluster.restart(seat, KvStore::default()).await.unwrap();
    }
    for replica in cluster.replicas() {
        assert_eq!(value(replica, "n").await, 5);
        let group = replica.group().await.unwrap();
        assert_eq!(
            (group.epoch, group.members.len(), &group.protocol),
            (2, 4, &led_from("chennai"))
        );
    }
    assert!(cluster.shutdown(PATIENCE).await.is_empty());
}
