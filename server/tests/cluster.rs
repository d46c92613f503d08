//! A cluster in a process of its own, and clients in others: write here, read there, stop, die,
//! start again.

mod common;

use common::{Up, run};
use rustix::process::Signal;
use serde_json::json;

#[test]
fn every_city_serves_what_another_wrote() {
    let dir = tempfile::tempdir().unwrap();
    let up = Up::start(dir.path(), &["--profile=ideal", "--durability=memory"]);

    let put = up.client(&["put", "greeting", "namaste", "--site=mumbai"]);
    assert_eq!((put.code, put.stdout.as_str()), (Some(0), "greeting set\n"), "{put:?}");
    for site in ["mumbai", "delhi", "bangalore"] {
        let get = up.client(&["get", "greeting", "--site", site]);
        assert_eq!((get.code, get.stdout.as_str()), (Some(0), "namaste\n"), "{get:?}");
    }
    let absent = up.client(&["get", "farewell"]);
    assert_eq!((absent.code, absent.stdout.as_str()), (Some(1), ""), "{absent:?}");
    assert!(absent.stderr.contains("no such key"), "{absent:?}");

    let take = |name: &str, site: &str| {
        let put = format!("put:seat:12A={name}");
        up.client_json(&["txn", "--if-absent=seat:12A", &put, "get:seat:12A", "--site", site])
    };
    let (code, won) = take("asha", "delhi");
    let outputs = json!([{ "done": true }, { "value": "asha" }]);
    assert_eq!((code, &won["output"]["committed"]), (Some(0), &outputs), "{won}");
    assert_eq!((&won["ok"], &won["outcome"]), (&json!(true), &json!("applied")));
    assert_eq!(won["site"], "delhi");
    assert!(won["latency_ms"].as_f64().unwrap() >= 27.0, "{won}");

    let (code, lost) = take("ravi", "bangalore");
    let failed = json!({ "index": 0, "key": "seat:12A", "found": "asha" });
    assert_eq!((code, &lost["output"]["condition_failed"]), (Some(1), &failed), "{lost}");
    assert_eq!((&lost["ok"], &lost["outcome"]), (&json!(false), &json!("not_applied")));

    let ops = ["append:greeting=!", "cas:greeting:hello:bye", "cas:greeting:namaste!:vanakkam"];
    let changed = up.client(&[&["txn"], &ops[..], &["del:seat:12A"]].concat());
    let expected = "greeting = `namaste!`\ngreeting left alone: it is `namaste!`\n\
                    greeting exchanged\nseat:12A removed\n";
    assert_eq!((changed.code, changed.stdout.as_str()), (Some(0), expected), "{changed:?}");

    let unknown = up.client(&["get", "greeting", "--site=pune"]);
    assert_eq!(unknown.code, Some(2));
    assert!(unknown.stderr.contains("`pune`"), "{unknown:?}");
    assert!(unknown.stderr.contains("mumbai, delhi, bangalore"), "{unknown:?}");

    up.signal(Signal::INT);
    let (code, rest) = up.wait();
    assert_eq!(code, Some(0));
    assert!(rest.ends_with("stopped\n"), "{rest}");
}

#[test]
fn without_an_answer_the_outcome_is_open_and_the_exit_code_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let flags = ["--set=asia-europe5", "--profile=ideal", "--durability=memory"];
    let up = Up::start(dir.path(), &flags);
    // Frankfurt cannot commit in less than its 147 ms to Delhi.
    let hasty = ["put", "k", "v", "--site=frankfurt", "--timeout=0.1"];
    let (code, unknown) = up.client_json(&hasty);
    assert_eq!((code, &unknown["outcome"]), (Some(3), &json!("unknown")), "{unknown}");
    assert!(unknown["error"].as_str().unwrap().contains("no response within"), "{unknown}");
    let told = up.client(&hasty);
    assert_eq!(told.code, Some(3));
    assert!(told.stderr.contains("may or may not have been applied"), "{told:?}");
    // Frankfurt orders this read after its own earlier writes: they were applied all the same.
    assert_eq!(up.client(&["get", "k", "--site=frankfurt"]).stdout, "v\n");

    up.signal(Signal::STOP);
    let not_sent = up.client(&["put", "k", "w"]);
    up.signal(Signal::CONT);
    assert_eq!(not_sent.code, Some(1), "{not_sent:?}");
    assert!(not_sent.stderr.contains("The command was not sent"), "{not_sent:?}");
}

#[test]
fn a_cluster_goes_on_with_its_data_after_a_stop_and_after_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let start = || Up::start(&data, &["--profile=ideal"]);

    let up = start();
    assert_eq!(up.client(&["put", "a", "1", "--site=mumbai"]).code, Some(0));
    up.signal(Signal::TERM);
    let (code, rest) = up.wait();
    assert_eq!((code, rest.ends_with("stopped\n")), (Some(0), true), "{rest}");

    let gone = run(&["put", "b", "2", "--data-dir", data.to_str().unwrap()]);
    assert_eq!(gone.code, Some(1), "{gone:?}");
    assert!(gone.stderr.contains("not applied: cannot connect to node-1"), "{gone:?}");
    assert!(gone.stderr.contains("is `panchayat up` running on"), "{gone:?}");

    let up = start();
    assert_eq!(up.client(&["get", "a", "--site=delhi"]).stdout, "1\n");
    assert_eq!(up.client(&["put", "b", "2", "--site=bangalore"]).code, Some(0));
    let twice = run(&["up", "--base-port=0", "--data-dir", data.to_str().unwrap()]);
    assert_eq!(twice.code, Some(1), "{twice:?}");
    assert!(twice.stderr.contains("replica mumbai"), "{twice:?}");
    let other = run(&["up", "--set=india5", "--data-dir", data.to_str().unwrap()]);
    assert_eq!(other.code, Some(2));
    assert!(other.stderr.contains("holds a cluster of india3"), "{other:?}");
    up.signal(Signal::KILL);
    assert_eq!(up.wait().0, None);

    let up = start();
    let both = up.client(&["txn", "get:a", "get:b", "--site=mumbai"]);
    assert_eq!((both.code, both.stdout.as_str()), (Some(0), "a = `1`\nb = `2`\n"), "{both:?}");
}

#[test]
fn a_backup_of_a_stopped_cluster_becomes_the_beginning_of_another() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (old, new, file) = (path("old"), path("new"), path("backup"));
    let up = Up::start(old.as_ref(), &["--profile=ideal"]);
    for (key, site) in [("a", "mumbai"), ("b", "delhi"), ("c", "bangalore")] {
        assert_eq!(up.client(&["put", key, site, "--site", site]).code, Some(0));
    }
    let running = run(&["snapshot", "--to", &file, "--data-dir", &old]);
    assert_eq!(running.code, Some(1), "{running:?}");
    assert!(running.stderr.contains("stop the cluster first"), "{running:?}");
    up.signal(Signal::KILL);
    up.wait();

    let made = run(&["snapshot", "--to", &file, "--data-dir", &old]);
    assert_eq!(made.code, Some(0), "{made:?}");
    assert!(made.stdout.contains("holds the state of india3"), "{made:?}");
    let over = run(&["restore", "--from", &file, "--data-dir", &old]);
    assert_eq!(over.code, Some(1), "{over:?}");
    assert!(over.stderr.contains("is not empty"), "{over:?}");
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(path("damaged"), bytes).unwrap();
    let damaged = run(&["restore", "--from", &path("damaged"), "--data-dir", &new]);
    assert_eq!(damaged.code, Some(1), "{damaged:?}");
    assert!(!std::path::Path::new(&new).exists());

    let restored = run(&["restore", "--from", &file, "--data-dir", &new]);
    assert_eq!(restored.code, Some(0), "{restored:?}");
    let up = Up::start(new.as_ref(), &["--profile=ideal"]);
    let all = up.client(&["txn", "get:a", "get:b", "get:c", "--site=delhi"]);
    assert_eq!(all.stdout, "a = `mumbai`\nb = `delhi`\nc = `bangalore`\n", "{all:?}");
    assert_eq!(up.client(&["put", "a", "anew"]).code, Some(0));
    up.signal(Signal::TERM);
    assert_eq!(up.wait().0, Some(0));
}

#[test]
fn a_cluster_with_a_leader_serves_every_city_and_keeps_its_protocol() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let flags = ["--profile=ideal", "--durability=os", "--protocol=multipaxos", "--leader=delhi"];
    let up = Up::start(dir.path(), &flags);
    for site in ["mumbai", "delhi", "bangalore"] {
        let put = up.client(&["put", "from", site, "--site", site]);
        assert_eq!(put.code, Some(0), "{put:?}");
    }
    let get = up.client(&["get", "from", "--site=mumbai"]);
    assert_eq!(get.stdout, "bangalore\n", "{get:?}");
    up.signal(Signal::INT);
    assert_eq!(up.wait().0, Some(0));

    let path = dir.path().to_str().unwrap();
    let refused = run(&["up", "--base-port=0", "--data-dir", path]);
    assert_eq!(refused.code, Some(2), "{refused:?}");
    for text in ["ordered by multipaxos, not by epaxos", "--protocol multipaxos"] {
        assert!(refused.stderr.contains(text), "{refused:?}");
    }
    // A backup names no leader, and needs none.
    let file = other.path().join("backup").to_str().unwrap().to_owned();
    let made = run(&["snapshot", "--to", &file, "--data-dir", path]);
    assert_eq!(made.code, Some(0), "{made:?}");
}
