//! A city that is cut off from the others, seen by its Redis clients.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use panchayat::topology::Topology;
use panchayat::{Durability, LocalCluster, LocalConfig, ReplicaId};

use super::{Limits, Listener, Service, WorkloadHandle};
use crate::access::Access;
use crate::redis::Store;

const TIMEOUT: Duration = Duration::from_secs(1);
/// What may come on top of it: a busy machine.
const SLACK: Duration = Duration::from_secs(5);

/// A client that asks one thing after the other, and waits on the thread of the test.
struct Client(TcpStream);

impl Client {
    fn connect(addr: SocketAddr) -> Self {
        Self(TcpStream::connect(addr).unwrap())
    }

    /// The answer to an inline command: a line, or a short string.
    fn ask(&mut self, line: &str) -> String {
        self.0.write_all(format!("{line}\r\n").as_bytes()).unwrap();
        let mut text = String::new();
        let mut space = [0; 4096];
        loop {
            let count = self.0.read(&mut space).unwrap();
            assert!(count > 0, "closed after {text:?}");
            text += std::str::from_utf8(&space[..count]).unwrap();
            let lines = if text.starts_with('$') && !text.starts_with("$-1") { 2 } else { 1 };
            if text.matches("\r\n").count() >= lines {
                return text;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_minority_refuses_in_time_and_catches_up_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = LocalConfig::new(Topology::builtin(), "india3", dir.path());
    config.profile = Some("ideal".into());
    config.durability = Durability::Memory;
    let cluster = LocalCluster::start(config, |_| Store::default()).await.unwrap();
    let mut listeners = Vec::new();
    for replica in cluster.replicas() {
        let workloads = vec![WorkloadHandle { name: String::new(), store: replica.clone() }];
        let limits = Limits { command_timeout: TIMEOUT, ..Limits::default() };
        let access = Arc::new(Access::open());
        let name = replica.name();
        let service = Service::new(name, workloads, Vec::new(), 0, limits, access);
        let port = Listener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        listeners.push(Listener::serve(port, service, None).unwrap());
    }
    let mut minority = Client::connect(listeners[0].addr());
    let mut majority = Client::connect(listeners[1].addr());
    assert_eq!(minority.ask("SET a 1"), "+OK\r\n");
    assert_eq!(majority.ask("GET a"), "$1\r\n1\r\n");

    let [alone, others @ ..] = [0, 1, 2].map(ReplicaId);
    for other in others {
        cluster.cut(alone, other);
        cluster.cut(other, alone);
    }
    // From the first moment on there is an answer in time: of a write that was begun, that its outcome
    // is not known; later, that nothing was tried.
    let began = Instant::now();
    let mut certain = 0;
    while certain < 10 {
        let asked = Instant::now();
        let write = minority.ask("SET lost 1");
        assert!(write.starts_with("-UNKNOWN ") || write.starts_with("-CLUSTERDOWN "), "{write}");
        let read = minority.ask("GET a");
        assert!(read.starts_with("-CLUSTERDOWN "), "{read}");
        assert!(asked.elapsed() < TIMEOUT * 2 + SLACK, "{:?}", asked.elapsed());
        certain += u32::from(write.starts_with("-CLUSTERDOWN "));
        assert!(began.elapsed() < Duration::from_secs(60), "it never comes to know");
    }
    for command in ["INCR a", "WATCH a", "TTL a", "EXISTS a", "DEL a", "FLUSHALL"] {
        let asked = Instant::now();
        let told = minority.ask(command);
        assert!(told.starts_with("-CLUSTERDOWN "), "{command}: {told}");
        assert!(asked.elapsed() < SLACK, "{command}: {:?}", asked.elapsed());
    }
    assert_eq!(minority.ask("MULTI"), "+OK\r\n");
    assert_eq!(minority.ask("SET a 9"), "+QUEUED\r\n");
    assert!(minority.ask("EXEC").starts_with("-CLUSTERDOWN "));
    assert_eq!(minority.ask("PING"), "+PONG\r\n");

    // The others go on, without and with what the minority has seen.
    assert_eq!(majority.ask("SET a 2"), "+OK\r\n");
    assert_eq!(majority.ask("INCR a"), ":3\r\n");

    // Old state only for who has said that it may be old, and for no older than they said.
    assert_eq!(minority.ask("READONLY"), "+OK\r\n");
    assert_eq!(minority.ask("GET a"), "$1\r\n1\r\n");
    assert!(minority.ask("SET a 9").starts_with("-CLUSTERDOWN "));
    assert_eq!(minority.ask("READONLY 100"), "+OK\r\n");
    let told = minority.ask("GET a");
    assert!(told.starts_with("-CLUSTERDOWN "), "{told}");
    assert_eq!(minority.ask("READWRITE"), "+OK\r\n");
    assert!(minority.ask("GET a").starts_with("-CLUSTERDOWN "));
    let mut other = Client::connect(listeners[0].addr());
    assert!(other.ask("GET a").starts_with("-CLUSTERDOWN "), "others have not said so");

    for other in others {
        cluster.heal(alone, other);
        cluster.heal(other, alone);
    }
    let began = Instant::now();
    loop {
        let told = minority.ask("GET a");
        if told == "$1\r\n3\r\n" {
            break;
        }
        assert!(told.starts_with("-CLUSTERDOWN "), "{told}");
        assert!(began.elapsed() < Duration::from_secs(60), "it does not heal");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // Links come up one by one: a write may be late, but then it says so, and is made in the end.
    loop {
        let told = minority.ask("SET a 4");
        if told == "+OK\r\n" {
            break;
        }
        assert!(told.starts_with("-CLUSTERDOWN ") || told.starts_with("-UNKNOWN "), "{told}");
        assert!(began.elapsed() < Duration::from_secs(60), "it does not heal");
    }
    assert_eq!(majority.ask("GET a"), "$1\r\n4\r\n");
    for listener in listeners {
        listener.stop(Duration::from_secs(10)).await;
    }
    cluster.shutdown(Duration::from_secs(10)).await;
}
