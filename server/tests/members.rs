//! Members and protocols changed from the command line, while clients write: processes over QUIC.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use common::resp::Raw;
use common::serve::Served;

/// One client that counts, and notes how long it waited at most.
fn counting(mut raw: Raw, stop: Arc<AtomicBool>) -> std::thread::JoinHandle<(u64, Duration)> {
    std::thread::spawn(move || {
        let (mut acknowledged, mut longest) = (0, Duration::ZERO);
        while !stop.load(Ordering::Relaxed) {
            let began = Instant::now();
            let answer = raw.ask("INCR n");
            assert!(answer.starts_with(':'), "{answer}");
            acknowledged += 1;
            longest = longest.max(began.elapsed());
        }
        (acknowledged, longest)
    })
}

fn members(served: &Served) -> serde_json::Value {
    let (code, out, err) = served.operate("admin", &["member", "list", "--json"]);
    assert_eq!(code, 0, "{err}");
    let listed: serde_json::Value = serde_json::from_str(&out).unwrap();
    listed["groups"][0].clone()
}

#[test]
fn a_dead_replica_is_replaced_and_the_protocol_switched_while_clients_write() {
    let dir = tempfile::tempdir().unwrap();
    let mut served = Served::start(dir.path(), "");
    (0..3).for_each(|seat| served.wait_until_it_serves(seat));
    assert_eq!(members(&served)["epoch"], 1);
    let stop = Arc::<AtomicBool>::default();
    let client = counting(served.connect(0), stop.clone());

    served.kill(1);
    let addr = served.prepare_to_join("delhi", 4).to_string();
    let replace = ["member", "replace", "delhi", "--addr", &addr, "--json"];
    let (code, _, err) = served.operate("admin", &replace);
    assert_eq!(code, 0, "{err}");
    let group = members(&served);
    assert_eq!((&group["epoch"], &group["complete"]), (&2.into(), &false.into()), "{group}");
    served.spawn(3);
    // Asked again it is made once; and this time waits.
    let (code, _, err) = served.operate("admin", &[&replace[..], &["--wait"]].concat());
    assert_eq!(code, 0, "{err}");
    let group = members(&served);
    assert_eq!((&group["epoch"], &group["complete"]), (&2.into(), &true.into()), "{group}");
    let nodes: Vec<_> = group["members"].as_array().unwrap().iter().map(|m| &m["node"]).collect();
    assert_eq!(nodes, [1, 3, 4]);

    for (at, set) in [
        &["--protocol", "multipaxos", "--leader", "bangalore"][..],
        &["--protocol", "fastpaxos"],
        &["--protocol", "epaxos"],
    ]
    .into_iter()
    .enumerate()
    {
        let (code, out, err) = served.operate("admin", &[&["workload", "set"], set].concat());
        assert_eq!(code, 0, "{err}");
        assert!(out.contains(&format!("epoch {}", at + 3)) && out.contains(set[1]), "{out}");
        std::thread::sleep(Duration::from_millis(300));
    }

    served.wait_until_it_serves(3);
    let mut delhi = served.connect(3);
    stop.store(true, Ordering::Relaxed);
    let (acknowledged, longest) = client.join().unwrap();
    println!("{acknowledged} writes, none lost; the longest took {longest:.1?}");
    assert_eq!(
        delhi.ask("GET n"),
        format!("${}\r\n{acknowledged}\r\n", acknowledged.to_string().len())
    );
    assert_eq!(delhi.ask("INCR n"), format!(":{}\r\n", acknowledged + 1));

    // The dead one comes back from its disk: it answers nobody.
    served.spawn(1);
    let answer = served.connect(1).ask("INCR n");
    assert!(answer.starts_with('-'), "{answer}");
    assert_eq!(delhi.ask("INCR n"), format!(":{}\r\n", acknowledged + 2));

    // The new one loses its disk and asks to join once more: it is not taken for itself.
    served.kill(3);
    std::fs::remove_dir_all(dir.path().join("data-4")).unwrap();
    served.spawn(3);
    std::thread::sleep(Duration::from_secs(3));
    let answer = served.connect(3).ask("INCR n");
    assert!(answer.starts_with('-'), "{answer}");
    let counted = served.connect(0).ask("INCR n");
    assert_eq!(counted, format!(":{}\r\n", acknowledged + 3));
}

#[test]
fn a_cluster_outlives_all_that_it_began_with() {
    let dir = tempfile::tempdir().unwrap();
    let mut served = Served::start(dir.path(), "");
    (0..3).for_each(|seat| served.wait_until_it_serves(seat));
    assert_eq!(served.connect(0).ask("SET k kept"), "+OK\r\n");
    let (mut via, mut at) = (String::new(), None::<String>);
    for (old, name, node) in [(1, "delhi", 4), (2, "bangalore", 5), (0, "mumbai", 6)] {
        served.kill(old);
        let addr = served.prepare_to_join(name, node).to_string();
        served.configure(node as usize - 1, &via);
        let mut replace = vec!["member", "replace", name, "--addr", &addr];
        // The configuration leads to nobody any more when the last of the old ones is gone.
        replace.extend(at.iter().flat_map(|at| ["--at", at.as_str()]));
        let (code, _, err) = served.operate("admin", &replace);
        assert_eq!(code, 0, "{err}");
        assert!(err.contains("via:"), "{err}");
        served.spawn(node as usize - 1);
        let (code, _, err) = served.operate("admin", &[&replace[..], &["--wait"]].concat());
        assert_eq!(code, 0, "{err}");
        via = format!("{}  \"{node}\": {addr}\n", if via.is_empty() { "via:\n" } else { &via });
        at.get_or_insert(format!("{node}@{addr}"));
    }
    // After the last of the old ones are forgotten.
    std::thread::sleep(Duration::from_secs(15));
    for seat in [3, 4, 5] {
        served.wait_until_it_serves(seat);
        assert_eq!(served.connect(seat).ask("GET k"), "$4\r\nkept\r\n");
        assert_eq!(served.connect(seat).ask("SET k kept"), "+OK\r\n");
        let info = served.connect(seat).ask("INFO panchayat");
        assert!(info.contains("members_reached:3"), "{info}");
    }
}

#[test]
fn what_cannot_be_is_refused_and_strangers_change_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let served = Served::start(dir.path(), "");
    (0..3).for_each(|seat| served.wait_until_it_serves(seat));
    let (code, _, err) = served.operate("app", &["member", "remove", "delhi"]);
    assert!(code == 1 && err.contains("no operator"), "{code} {err}");
    let (code, _, err) = served.operate("admin", &["member", "remove", "delhi"]);
    assert!(code == 1 && err.contains("3 to 16"), "{code} {err}");
    let add = ["member", "add", "pune", "--addr", "127.0.0.1:9", "--node", "2"];
    let (code, _, err) = served.operate("admin", &add);
    assert!(code == 1 && err.contains("a member with another name"), "{code} {err}");
    let (code, _, err) = served.operate("admin", &["workload", "set", "--protocol", "raft"]);
    assert!(code == 2 && err.contains("raft"), "{code} {err}");
    let unknown = ["workload", "set", "payments", "--protocol", "epaxos"];
    let (code, _, err) = served.operate("admin", &unknown);
    assert!(code == 1 && err.contains("payments"), "{code} {err}");
    let led = ["workload", "set", "--protocol", "multipaxos", "--leader", "paris"];
    let (code, _, err) = served.operate("admin", &led);
    assert!(code == 1 && err.contains("paris"), "{code} {err}");
    assert_eq!(members(&served)["epoch"], 1);
}
