//! What a log says of every command, if somebody wants to know.

mod common;

use std::collections::BTreeMap;
use std::process::{Command, Stdio};

use serde_json::Value;

#[test]
fn every_phase_of_a_command_is_a_span() {
    let output = Command::new(env!("CARGO_BIN_EXE_panchayat"))
        .args(["--log", "json", "geo", "--profile=ideal", "--durability=memory", "--clients=1"])
        .args(["--duration=0.5", "--json"])
        .env("RUST_LOG", "panchayat::command=debug")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let mut phases: BTreeMap<String, usize> = BTreeMap::new();
    for line in String::from_utf8(output.stderr).unwrap().lines() {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        assert_eq!(line["fields"]["message"], "close", "{line}");
        let name = line["span"]["name"].as_str().unwrap();
        if name == "command" {
            let thread = line["span"]["thread"].as_str().unwrap();
            assert!(thread.starts_with("replica-"), "{line}");
            assert_eq!(line["span"]["path"], "Fast", "{line}");
            assert!(line["span"]["id"].as_str().is_some_and(|id| !id.is_empty()), "{line}");
        } else {
            let within = &line["spans"][0];
            assert_eq!(within["name"], "command", "{line}");
            assert!(within["number"].is_u64(), "{line}");
        }
        *phases.entry(name.to_owned()).or_default() += 1;
    }
    let names: Vec<_> = phases.keys().map(String::as_str).collect();
    assert_eq!(names, ["answer", "command", "commit", "execute", "propose"]);
    assert!(phases.values().all(|count| *count == phases["command"] && *count > 10), "{phases:?}");

    let quiet = common::run(&["geo", "--profile=ideal", "--durability=memory", "--duration=0.5"]);
    assert!(!quiet.stderr.contains("command"), "{}", quiet.stderr);
}
