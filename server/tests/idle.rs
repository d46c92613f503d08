//! Ten thousand connections that ask for nothing.

mod common;

use std::net::TcpStream;

use common::Up;
use common::resp::Raw;

/// A descriptor each, here and in the server.
const CONNECTIONS: usize = 10_000;

#[test]
#[ignore = "needs 11,000 open files; .ci/redis-clients runs it"]
fn ten_thousand_idle_connections_hold() {
    let dir = tempfile::tempdir().unwrap();
    let up = Up::start(dir.path(), &["--profile=ideal", "--durability=memory"]);
    let addr = up.redis("mumbai");
    let mut good = Raw::connect(addr);
    assert_eq!(good.ask("SET a 1"), "+OK\r\n");
    let idle: Vec<TcpStream> = (0..CONNECTIONS)
        .map(|at| TcpStream::connect(addr).unwrap_or_else(|error| panic!("{at}: {error}")))
        .collect();
    assert_eq!(good.ask("INCR a"), ":2\r\n");
    let info = good.ask("INFO clients");
    assert!(info.contains(&format!("connected_clients:{}", CONNECTIONS + 1)), "{info}");
    // Any of them may wake up.
    for stream in idle.iter().step_by(997) {
        let mut woken = Raw::over(stream.try_clone().unwrap());
        assert_eq!(woken.ask("PING"), "+PONG\r\n");
    }
    println!("{} MiB resident with {CONNECTIONS} connections, three cities", up.resident() >> 20);
    drop(idle);
    assert_eq!(good.ask("INCR a"), ":3\r\n");
}
