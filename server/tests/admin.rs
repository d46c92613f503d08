//! The admin port of replicas that run: what it tells while all is well, while a quorum is out of
//! reach, and to those who ask in a wrong way.

mod common;

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use common::Up;
use common::http::{ask, get, json};
use common::resp::Raw;
use common::serve::Served;
use serde_json::Value;

/// Waits until `done` says yes of what `addr` answers.
fn until(addr: SocketAddr, target: &str, done: impl Fn(u16, &str) -> bool) -> String {
    let began = Instant::now();
    loop {
        let (status, body) = get(addr, target);
        if done(status, &body) {
            return body;
        }
        assert!(began.elapsed() < Duration::from_secs(30), "{target}: {status} {body}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// All names in an answer.
fn names(value: &Value, into: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => fields.iter().for_each(|(name, value)| {
            into.insert(name.clone());
            names(value, into);
        }),
        Value::Array(items) => items.iter().for_each(|item| names(item, into)),
        _ => {}
    }
}

#[test]
fn a_replica_tells_how_it_stands() {
    let dir = tempfile::tempdir().unwrap();
    let up = Up::start(dir.path(), &["--durability=memory"]);
    let admin = up.admin("delhi");
    until(admin, "/readyz", |status, _| status == 200);
    assert_eq!(get(admin, "/healthz"), (200, "ok\n".to_owned()));
    let mut client = Raw::connect(up.redis("delhi"));
    for n in 0..20 {
        assert_eq!(client.ask(&format!("SET key:{n} value")), "+OK\r\n");
    }

    let status = json(admin, "/status");
    assert_eq!((&status["format"], &status["city"]), (&1.into(), &"delhi".into()), "{status}");
    assert_eq!((&status["healthy"], &status["ready"]), (&true.into(), &true.into()), "{status}");
    assert_eq!((&status["reached"], &status["quorum_margin"]), (&3.into(), &1.into()), "{status}");
    let mumbai = &status["members"][0];
    assert_eq!((&mumbai["city"], &mumbai["up"]), (&"mumbai".into(), &true.into()), "{status}");
    let rtt = mumbai["rtt_ms"].as_f64().unwrap();
    assert!((25.0..60.0).contains(&rtt), "27 ms and some jitter, not {rtt}");
    let recent = &status["workloads"][0]["recent"];
    assert!(recent["commit"]["count"].as_u64().unwrap() >= 20, "{status}");
    assert!(recent["commit"]["p50_ms"].as_f64().unwrap() > 25.0, "{status}");
    assert_eq!(recent["fast_path_rate"], 1.0, "{status}");
    assert_eq!(status["disk"]["full"], false, "{status}");

    let cluster = json(admin, "/cluster");
    assert_eq!(cluster["asked_by"], "delhi");
    for (seat, city) in ["mumbai", "delhi", "bangalore"].into_iter().enumerate() {
        assert_eq!(cluster["replicas"][seat]["city"], city);
        assert_eq!(cluster["replicas"][seat]["status"]["city"], city, "{cluster}");
    }

    let (code, metrics) = get(admin, "/metrics");
    assert_eq!(code, 200, "{metrics}");
    let value = |name: &str| -> f64 {
        let line = metrics.lines().find(|line| line.starts_with(name));
        let line = line.unwrap_or_else(|| panic!("no {name} in\n{metrics}"));
        line.rsplit(' ').next().unwrap().parse().unwrap()
    };
    assert!(metrics.ends_with("# EOF\n"));
    assert_eq!(value("panchayat_healthy"), 1.0);
    assert!(value("panchayat_execute_seconds_count{workload=\"\"}") >= 20.0);
    assert!(value("panchayat_link_rtt_seconds{peer=\"mumbai\"}") > 0.025);
    assert!(value("panchayat_protocol_events_total{workload=\"\",event=\"fast_commits\"}") >= 20.0);

    let (code, page) = get(admin, "/");
    assert_eq!(code, 200);
    assert!(page.starts_with("<!doctype html>") && page.ends_with("</html>\n"));
    assert!(!page.contains("http://") || page.matches("http://").count() == 1, "only SVG's name");

    // Names are an interface: each is explained to those who build on it.
    let told = include_str!("../OPERATING.md");
    let mut all = BTreeSet::new();
    names(&cluster, &mut all);
    let missing: Vec<_> = all.iter().filter(|name| !told.contains(&format!("`{name}`"))).collect();
    assert!(missing.is_empty(), "OPERATING.md does not explain {missing:?}");
    for line in metrics.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let name = line.split(' ').next().unwrap();
        assert!(told.contains(&format!("`{name}`")), "OPERATING.md does not explain {name}");
    }
}

#[test]
fn who_asks_in_a_wrong_way_is_told_so_and_harms_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let up = Up::start(dir.path(), &["--durability=memory", "--profile=ideal"]);
    let admin = up.admin("mumbai");
    assert_eq!(get(admin, "/etc/passwd").0, 404);
    assert_eq!(ask(admin, "POST", "/status").0, 405);
    assert_eq!(ask(admin, "DELETE", "/").0, 405);
    let mut noise = TcpStream::connect(admin).unwrap();
    noise.write_all(&[b'x'; 100_000]).ok();
    let mut answer = Vec::new();
    noise.read_to_end(&mut answer).ok();
    // Silent connections take places, but not all of them for long.
    let silent: Vec<_> = (0..40).map(|_| TcpStream::connect(admin).unwrap()).collect();
    assert_eq!(get(admin, "/healthz").0, 200);
    drop(silent);
}

#[test]
fn without_a_quorum_it_says_why_it_does_not_serve() {
    let dir = tempfile::tempdir().unwrap();
    let mut served = Served::start(dir.path(), "");
    (0..3).for_each(|seat| served.wait_until_it_serves(seat));
    let admin = served.admin(0);
    until(admin, "/readyz", |status, _| status == 200);
    served.kill(1);
    until(admin, "/status", |_, body| body.contains("\"quorum_margin\":0"));
    assert_eq!(get(admin, "/healthz").0, 200, "two of three can go on");
    served.kill(2);
    let why = until(admin, "/healthz", |status, _| status == 503);
    assert_eq!(why, "only 1 of 3 members can be reached, and 2 are needed\n");
    assert_eq!(get(admin, "/readyz").0, 503);
    let status = json(admin, "/status");
    assert_eq!((&status["healthy"], &status["quorum_margin"]), (&false.into(), &(-1).into()));
    // Without `admin.peers` the others are not asked, and the page is told so.
    let cluster = json(admin, "/cluster");
    let error = cluster["replicas"][1]["error"].as_str().unwrap();
    assert!(error.contains("admin.peers"), "{cluster}");
    served.spawn(1);
    until(admin, "/readyz", |status, _| status == 200);
}

#[test]
fn the_command_line_tells_who_waits_for_whom() {
    let dir = tempfile::tempdir().unwrap();
    let mut served = Served::start(dir.path(), "");
    (0..3).for_each(|seat| served.wait_until_it_serves(seat));
    let admins: Vec<String> =
        (0..3).map(|seat| format!("--admin={}", served.admin(seat))).collect();
    let all: Vec<&str> = admins.iter().map(String::as_str).collect();
    until(served.admin(0), "/readyz", |status, _| status == 200);
    let ran = common::run(&[&["status"], &all[..]].concat());
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.stdout.contains("3 of 3") && ran.stdout.contains("epaxos"), "{}", ran.stdout);
    let ran = common::run(&[&["explain", "ready"], &all[..]].concat());
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.stdout.contains("seen from delhi (epaxos;"), "{}", ran.stdout);

    // Without a quorum a write waits, and everybody who can be asked says for whom.
    served.kill(1);
    served.kill(2);
    let mut client = served.connect(0);
    client.command(&["SET", "stuck", "1"]);
    let told = |ran: &common::Ran| ran.stdout.contains("held up by mumbai");
    let began = Instant::now();
    let ran = loop {
        let ran = common::run(&[&["explain", "stuck"], &all[..]].concat());
        if told(&ran) || began.elapsed() > Duration::from_secs(10) {
            break ran;
        }
    };
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(told(&ran), "{ran:?}");
    assert!(ran.stdout.contains("it is being pre-accepted:"), "{}", ran.stdout);
    assert!(ran.stderr.contains("cannot be reached"), "{}", ran.stderr);
    let name = ran.stdout.split_whitespace().find(|word| word.starts_with("mumbai/")).unwrap();
    let name = name.trim_end_matches(',');
    let one = common::run(&["explain", name, all[0], "--json"]).json();
    assert_eq!(one["views"][0]["explained"][0]["waits"][0]["instance"], name, "{one}");
    assert_eq!(one["views"][0]["explained"][0]["waits"][0]["stage"], "proposed", "{one}");
    until(served.admin(0), "/status", |_, body| body.contains("\"quorum_margin\":-1"));
    let ran = common::run(&[&["status"], &all[..]].concat());
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stdout.contains("no quorum") && ran.stdout.contains("no answer"), "{}", ran.stdout);

    for (wrong, told) in [("pune/4", "no city `pune`"), ("mumbai/0", "slots are numbers from 1")] {
        let ran = common::run(&["explain", wrong, all[0]]);
        assert_eq!(ran.code, Some(1), "{ran:?}");
        assert!(ran.stderr.contains(told), "{ran:?}");
    }
    let ran = common::run(&["status", "--data-dir", "/nonexistent"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
}

#[test]
fn with_one_log_the_first_slot_and_its_leader_are_named() {
    for protocol in ["multipaxos", "fastpaxos"] {
        let dir = tempfile::tempdir().unwrap();
        let workloads =
            format!("workloads:\n  - name: all\n    protocol: {protocol}\n    leader: mumbai\n");
        let mut served = Served::start(dir.path(), &workloads);
        (0..3).for_each(|seat| served.wait_until_it_serves(seat));
        let admin = served.admin(0);
        until(admin, "/status", |_, body| body.contains("\"leader\":\""));
        served.kill(1);
        served.kill(2);
        let mut client = served.connect(0);
        client.command(&["SET", "stuck", "1"]);
        let body = until(admin, "/explain?key=stuck", |_, body| body.contains("\"waits\":[{"));
        let told: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(told["explained"][0]["workload"], "all", "{protocol}: {told}");
        assert_eq!(told["explained"][0]["protocol"], protocol, "{told}");
    }
}
