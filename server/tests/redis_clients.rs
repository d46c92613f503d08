//! Tools and libraries of Redis, unchanged, against a cluster.
//!
//! What is not installed is skipped, loudly; `.ci/redis-clients` installs all of it and sets
//! `PANCHAYAT_REDIS_REQUIRED`, with which a skip is a failure.

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use argon2::Argon2;
use argon2::password_hash::PasswordHasher as _;
use argon2::password_hash::phc::PasswordHash;
use common::Up;
use common::serve::Served;
use panchayat::identity::Authority;

const PYTHON: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/python_client.py");
const NODE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/node_client.mjs");

fn skip(why: &str) {
    eprintln!("SKIPPED: {why} (see .ci/redis-clients)");
    assert!(std::env::var_os("PANCHAYAT_REDIS_REQUIRED").is_none(), "{why}, and it is required");
}

/// Runs a program to its end; what it printed, or `None` if there is no such program.
fn run(command: &mut Command) -> Option<(bool, String)> {
    let output = command.output().ok()?;
    let text = [output.stdout, output.stderr].concat();
    Some((output.status.success(), String::from_utf8_lossy(&text).into_owned()))
}

fn cluster(dir: &tempfile::TempDir) -> (Up, String, String) {
    let up = Up::start(dir.path(), &["--profile=ideal", "--durability=memory"]);
    let port = |city: &str| up.redis(city).port().to_string();
    let (mumbai, delhi) = (port("mumbai"), port("delhi"));
    (up, mumbai, delhi)
}

#[test]
fn the_python_library_works_unchanged() {
    let Some(python) = std::env::var_os("PANCHAYAT_PYTHON") else {
        return skip("PANCHAYAT_PYTHON names no Python with the package `redis`");
    };
    let dir = tempfile::tempdir().unwrap();
    let (_up, here, there) = cluster(&dir);
    let (passed, text) = run(Command::new(python).args([PYTHON, &here, &there])).unwrap();
    assert!(passed, "{text}");
    println!("{text}");
}

/// Three cities whose clients come over TLS and say who they are; the file of the authority.
fn secured(dir: &Path) -> (Served, PathBuf) {
    let hash: PasswordHash = Argon2::default().hash_password(b"namaste").unwrap();
    let users = format!(
        "users:\n  - {{name: asha, password: \"{hash}\", read: [\"\"], write: [\"\"], admin: true}}\n"
    );
    let tls = "  tls: {certificate: redis/server.pem, key: redis/server.key}\n";
    let mut served = Served::prepare(dir, tls, &users);
    let authority = Authority::create().unwrap();
    let hosts = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    authority.issue_redis_server(&hosts).unwrap().save(&dir.join("redis")).unwrap();
    (0..3).for_each(|seat| served.spawn(seat));
    (served, dir.join("redis/ca.pem"))
}

#[test]
fn the_python_library_works_over_tls_with_a_password() {
    let Some(python) = std::env::var_os("PANCHAYAT_PYTHON") else {
        return skip("PANCHAYAT_PYTHON names no Python with the package `redis`");
    };
    let dir = tempfile::tempdir().unwrap();
    let (served, ca) = secured(dir.path());
    let [here, there] = [0, 1].map(|seat| served.clients[seat].port().to_string());
    let mut command = Command::new(python);
    let command = command.args([PYTHON, &here, &there]).arg(ca).args(["asha", "namaste"]);
    let (passed, text) = run(command).unwrap();
    assert!(passed, "{text}");
    println!("{text}");
}

#[test]
fn redis_cli_works_over_tls_with_a_password() {
    let dir = tempfile::tempdir().unwrap();
    let (served, ca) = secured(dir.path());
    let port = served.clients[2].port().to_string();
    let cli = |words: &[&str]| {
        let mut command = Command::new("redis-cli");
        command.args(["-h", "localhost", "-p", &port, "--tls", "--cacert"]).arg(&ca);
        run(command.args(["--no-auth-warning", "--user", "asha", "--pass"]).args(words))
    };
    let Some((_, text)) = cli(&["namaste", "ping"]) else {
        return skip("there is no redis-cli");
    };
    assert_eq!(text, "PONG\n");
    let began = Instant::now();
    while cli(&["namaste", "set", "a", "1"]).unwrap().1 != "OK\n" {
        assert!(began.elapsed() < Duration::from_secs(60), "it does not serve");
    }
    assert_eq!(cli(&["namaste", "incr", "a"]).unwrap().1, "2\n");
    let (_, wrong) = cli(&["wrong", "get", "a"]).unwrap();
    assert!(wrong.contains("WRONGPASS") && wrong.contains("NOAUTH"), "{wrong}");
}

#[test]
fn the_node_library_works_unchanged() {
    let Some(modules) = std::env::var_os("PANCHAYAT_NODE_MODULES") else {
        return skip("PANCHAYAT_NODE_MODULES names no directory with the package `redis`");
    };
    let dir = tempfile::tempdir().unwrap();
    let (_up, here, there) = cluster(&dir);
    // Modules are looked for beside the script.
    let script = std::path::Path::new(&modules).join("node_client.mjs");
    std::fs::copy(NODE, &script).unwrap();
    let ran = run(Command::new("node").arg(&script).args([&here, &there]));
    let (passed, text) = ran.expect("node is needed");
    assert!(passed, "{text}");
    println!("{text}");
}

#[test]
fn redis_cli_and_redis_benchmark_work_unchanged() {
    let dir = tempfile::tempdir().unwrap();
    let (_up, here, there) = cluster(&dir);
    let cli =
        |port: &str, words: &[&str]| run(Command::new("redis-cli").args(["-p", port]).args(words));
    let Some((_, text)) = cli(&here, &["set", "greeting", "namaste"]) else {
        return skip("there is no redis-cli");
    };
    assert_eq!(text, "OK\n");
    assert_eq!(cli(&there, &["get", "greeting"]).unwrap().1, "namaste\n");
    assert_eq!(cli(&there, &["-3", "hello", "3"]).map(|(passed, _)| passed), Some(true));
    let (_, scanned) = cli(&there, &["--scan", "--pattern", "greet*"]).unwrap();
    assert_eq!(scanned, "greeting\n");
    let (_, wrong) = cli(&here, &["lpush", "greeting", "x"]).unwrap();
    assert!(wrong.starts_with("WRONGTYPE Operation against a key"), "{wrong}");

    let Some((passed, text)) = run(Command::new("redis-benchmark").args([
        "-p",
        &here,
        "-q",
        "-n",
        "2000",
        "-c",
        "20",
        "-P",
        "8",
        "-r",
        "1000",
        "-t",
        "ping,set,get,incr,lpush,rpush,lpop,rpop,sadd,hset,spop,zadd,zpopmin,lrange,mset",
    ])) else {
        return skip("there is no redis-benchmark");
    };
    assert!(passed, "{text}");
    assert!(!text.contains("ERR") && text.contains("MSET (10 keys)"), "{text}");
}
