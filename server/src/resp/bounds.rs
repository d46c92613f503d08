//! What one client can make a server hold, when little is allowed.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use panchayat::topology::Topology;
use panchayat::{Durability, LocalCluster, LocalConfig};

use super::{Limits, Listener, Service, WorkloadHandle};
use crate::access::Access;
use crate::redis::Store;

const REPLY_BYTES_MAX: usize = 8 << 10;
const CONNECTION_BYTES_MAX: usize = 256 << 10;

/// What all of `lines` are answered together, each with a line, up to the answer to `PING`.
fn ask(client: &mut TcpStream, lines: &[&str]) -> String {
    client.write_all((lines.join("\r\n") + "\r\nPING\r\n").as_bytes()).unwrap();
    let (mut bytes, mut space) = (Vec::new(), [0; 4096]);
    while !bytes.ends_with(b"+PONG\r\n") {
        let count = client.read(&mut space).unwrap();
        assert_ne!(count, 0, "closed");
        bytes.extend_from_slice(&space[..count]);
    }
    String::from_utf8(bytes).unwrap().trim_end_matches("+PONG\r\n").to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn short_requests_do_not_make_long_replies_without_bound() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = LocalConfig::new(Topology::builtin(), "india3", dir.path());
    config.profile = Some("ideal".into());
    config.durability = Durability::Memory;
    let cluster = LocalCluster::start(config, |_| Store::default()).await.unwrap();
    let store = cluster.replicas()[0].clone();
    let workloads = vec![WorkloadHandle { name: String::new(), store }];
    let limits = Limits {
        reply_bytes_max: REPLY_BYTES_MAX,
        connection_bytes_max: CONNECTION_BYTES_MAX,
        ..Limits::default()
    };
    let access = Arc::new(Access::open());
    let service = Service::new("here", workloads, Vec::new(), 0, limits, access);
    let port = Listener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let listener = Listener::serve(port, service, None).unwrap();
    let client = &mut TcpStream::connect(listener.addr()).unwrap();

    // One value many times is one value until it is made into bytes.
    let value = "x".repeat(1_000);
    let mget = |count: usize| format!("MGET{}", " a".repeat(count));
    let told = ask(client, &[&format!("SET a {value}"), &mget(8)]);
    assert!(told.starts_with("+OK\r\n*8\r\n$1000\r\nxxx"), "{told}");
    let too_long = "-ERR the reply is too long; what was asked for has been done\r\n";
    assert_eq!(ask(client, &[&mget(9)]), too_long);
    assert_eq!(ask(client, &["INCR n", &mget(2_000), "INCR n"]), format!(":1\r\n{too_long}:2\r\n"));

    // A transaction of commands that are answered at length.
    let mut lines = vec!["MULTI", "INCR n"];
    lines.extend(["COMMAND"; 100]);
    lines.push("EXEC");
    let told = ask(client, &lines);
    let refused = "+QUEUED\r\n-EXECABORT Transaction discarded: its replies would be too long.\r\n";
    assert!(told.ends_with(refused), "{told}");
    assert_eq!(ask(client, &["GET n"]), "$1\r\n2\r\n", "it was not begun");
    let told = ask(client, &["MULTI", "INCR n", "ECHO a", "EXEC"]);
    assert!(told.ends_with("*2\r\n:3\r\n$1\r\na\r\n"), "{told}");

    for command in ["INFO", "DOCS"] {
        let named = |count: usize| format!("COMMAND {command}{}", " nothing".repeat(count));
        let told = ask(client, &[&named(1_025)]);
        assert_eq!(told, "-ERR at most 1024 commands at once\r\n");
        let told = ask(client, &[&named(1_024)]);
        assert!(told.starts_with('*'), "{told}");
    }

    for (before, what) in [
        ("CLIENT SETNAME", "Client names"),
        ("CLIENT SETINFO LIB-NAME", "lib-name"),
        ("CLIENT SETINFO lib-ver", "lib-ver"),
        ("HELLO 2 SETNAME", "Client names"),
    ] {
        let told = ask(client, &[&format!("{before} {}", "x".repeat(257))]);
        assert_eq!(told, format!("-ERR {what} cannot be longer than 256 bytes.\r\n"));
        let told = ask(client, &[&format!("{before} {}", "x".repeat(256))]);
        assert!(!told.starts_with('-'), "{told}");
    }
    listener.stop(Duration::from_secs(10)).await;
    cluster.shutdown(Duration::from_secs(10)).await;
}
