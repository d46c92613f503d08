//! What the command line refuses, how it says so, and with which exit code.

mod common;

use common::run;

/// The command fails with `code`, prints nothing, and says `expected` on stderr.
fn check(arguments: &[&str], code: i32, expected: &[&str]) {
    let ran = run(arguments);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(code), ""), "{arguments:?}: {ran:?}");
    for text in expected {
        assert!(ran.stderr.contains(text), "{arguments:?} does not say `{text}`:\n{}", ran.stderr);
    }
}

#[test]
fn unknown_names_list_those_that_exist() {
    check(
        &["geo", "--set", "india4"],
        2,
        &["no set `india4`", "did you mean `india3`", "india3, india5, asia-europe5"],
    );
    check(&["up", "--profile", "backbon"], 2, &["no profile `backbon`", "backbone", "monsoon"]);
    check(
        &["geo", "--protocol", "raft"],
        2,
        &["raft", "[possible values: epaxos, multipaxos, fastpaxos, adaptive]"],
    );
    check(
        &["geo", "--protocol=multipaxos", "--leader=pune"],
        2,
        &["no city `pune` could lead", "mumbai, delhi, bangalore", "`auto`"],
    );
    check(&["up", "--leader=delhi"], 2, &["--leader makes no sense", "--protocol multipaxos"]);
    check(&["geo", "--naive"], 2, &["--naive makes no sense with a leaderless"]);
    check(
        &["bench", "--loopback", "--protocol=fastpaxos", "--naive"],
        2,
        &["--naive makes no sense with Fast Paxos", "counts the votes itself"],
    );
    check(&["geo", "--durability", "hope"], 2, &["fsync, os, memory"]);
}

#[test]
fn numbers_out_of_bounds_name_the_bound() {
    for (arguments, expected) in [
        (["geo", "--conflict", "101"], "between 0 and 100"),
        (["geo", "--conflict", "some"], "between 0 and 100"),
        (["geo", "--duration", "0"], "from 0.1 to a day"),
        (["geo", "--clients", "0"], "there can be 1 to 100000"),
        (["geo", "--keys", "0"], "1 to 10000000"),
        (["geo", "--payload", "8388609"], "the longest is 8388608"),
        (["geo", "--zipf", "-1"], "from 0 (uniform) to 10"),
        (["up", "--base-port", "65534"], "the last port there is is 65535"),
        (["up", "--base-port", "65536"], "65536"),
    ] {
        let [command, flag, value] = arguments;
        check(&[command, &format!("{flag}={value}")], 2, &[expected]);
    }
}

#[test]
fn transactions_are_checked_before_anything_is_sent() {
    check(&["txn"], 2, &["<OP>"]);
    check(&["txn", "set:k=v"], 2, &["`set` is no operation", "put:"]);
    check(&["txn", "cas:k:v"], 2, &["cas:KEY:OLD:NEW was expected"]);
    check(&["txn", "--if", "k", "get:k"], 2, &["KEY=VALUE was expected"]);
    check(&["put", "k"], 2, &["<VALUE>"]);
}

#[test]
fn a_directory_without_a_cluster_says_how_to_start_one() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().to_str().unwrap();
    check(
        &["get", "k", "--data-dir", dir],
        1,
        &["there is no cluster in", &format!("panchayat up --data-dir {dir}")],
    );
}

#[test]
fn help_states_the_exit_codes() {
    for command in ["geo", "put", "get", "txn"] {
        let ran = run(&[command, "--help"]);
        assert_eq!(ran.code, Some(0));
        assert!(ran.stdout.contains("Exit codes:"), "{}", ran.stdout);
    }
}

#[test]
fn a_bad_topology_is_drawn_with_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("places.yaml");
    let text = include_str!("../../geo-topology.yaml");
    let line = "  - between: [mumbai, delhi]";
    let number = text.lines().position(|found| found == line).unwrap() + 1;
    std::fs::write(&file, text.replace(line, "  - between: [mumbai, dehli]")).unwrap();
    let file = file.to_str().unwrap();
    for command in ["geo", "up"] {
        check(
            &[command, "--topology", file],
            2,
            &[
                "unknown site `dehli`",
                &format!("{file}:{number}:23"),
                &format!("{number} │   - between: [mumbai, dehli]"),
                &format!("· {}─────", " ".repeat(22)),
                "help: did you mean `delhi`?",
            ],
        );
    }
    let missing = dir.path().join("missing.yaml");
    check(&["geo", "--topology", missing.to_str().unwrap()], 2, &["cannot read the topology file"]);
}
