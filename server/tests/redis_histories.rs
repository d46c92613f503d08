//! Lists are appended to and money is moved through a client library, while cities are killed and
//! restarted: what the clients saw must be strictly serializable, and no money may be made or lost.
//!
//! Needs the Python library (see `.ci/redis-clients`); without it this says so and tests nothing.

mod common;

use std::process::{Command, Stdio};
use std::time::Duration;

use common::serve::Served;
use panchayat_sim::history::{ListAppendHistory, Operation, TxnOp, check_list_append};
use serde_json::Value;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/history.py");
const ACCOUNTS_SUM: i64 = 6 * 1_000;

#[test]
fn histories_through_a_client_library_are_strictly_serializable_while_cities_die() {
    let Some(python) = std::env::var_os("PANCHAYAT_PYTHON") else {
        eprintln!("SKIPPED: PANCHAYAT_PYTHON names no Python with the package `redis`");
        assert!(std::env::var_os("PANCHAYAT_REDIS_REQUIRED").is_none(), "it is required");
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let mut served = Served::start(dir.path(), "limits:\n  command_timeout_s: 5\n");
    (0..3).for_each(|seat| served.wait_until_it_serves(seat));
    let ports: Vec<_> = served.clients.iter().map(|addr| addr.port().to_string()).collect();
    let child = Command::new(python)
        .args([SCRIPT, "24"])
        .args(&ports)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    for victim in [1, 0, 2, 1] {
        std::thread::sleep(Duration::from_secs(3));
        served.kill(victim);
        std::thread::sleep(Duration::from_millis(1_500));
        served.spawn(victim);
    }
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "the clients failed");
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();

    let of = |kind: &str| lines.iter().filter(|line| line["kind"] == kind).collect::<Vec<_>>();
    let history: ListAppendHistory<String> = of("list").into_iter().map(operation).collect();
    let report = check_list_append(&history);
    assert!(report.is_strictly_serializable(), "{report}");

    let audits = of("audit");
    let sums: Vec<i64> = audits.iter().filter_map(|audit| sum(audit)).collect();
    assert!(sums.iter().all(|sum| *sum == ACCOUNTS_SUM), "{sums:?}");
    let told = &lines.last().unwrap()["told"];
    println!("{report}; {} audits; acknowledged by city: {told}", sums.len());
    assert!(report.committed > 100 && sums.len() > 100, "too little was done to say anything");
    for city in told.as_array().unwrap() {
        assert!(city.as_u64().unwrap() > 20, "a city did hardly anything: {told}");
    }
}

/// One transaction of lists, as it was written down.
fn operation(line: &Value) -> Operation<Vec<TxnOp<String>>, Vec<Vec<u64>>> {
    let number =
        |value: &Value| value.as_u64().unwrap_or_else(|| value.as_str().unwrap().parse().unwrap());
    let asked = line["ops"].as_array().unwrap();
    let ops: Vec<_> = asked
        .iter()
        .map(|op| {
            let key = op[1].as_str().unwrap().to_owned();
            match op[0].as_str().unwrap() {
                "rpush" => TxnOp::Append { key, element: number(&op[2]) },
                _ => TxnOp::Read { key },
            }
        })
        .collect();
    let operation = Operation::new(number(&line["process"]), number(&line["invoked"]), ops);
    if let Some(results) = line["result"].as_array() {
        // What was read; appending tells a length.
        let lists = results.iter().filter_map(Value::as_array);
        let lists = lists.map(|list| list.iter().map(&number).collect()).collect();
        return operation.returning(number(&line["returned"]), lists);
    }
    if line["failed"] == true { operation.failing() } else { operation }
}

/// What all accounts hold together, if the audit was answered.
fn sum(audit: &Value) -> Option<i64> {
    let balances = audit["result"].as_array()?[0].as_array()?;
    Some(balances.iter().map(|balance| balance.as_str().unwrap().parse::<i64>().unwrap()).sum())
}
