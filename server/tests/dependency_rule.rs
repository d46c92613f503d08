//! Which room may know which: the dependency rule of ARCHITECTURE.md, held against the manifests.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

/// For every package, the packages of Panchayat it may depend on, directly.
const ALLOWED: &[(&str, &[&str])] = &[
    ("panchayat-consensus", &[]),
    ("panchayat-epaxos", &["consensus"]),
    ("panchayat-multipaxos", &["consensus"]),
    ("panchayat-fastpaxos", &["consensus"]),
    ("panchayat-epochs", &["consensus", "epaxos", "multipaxos", "fastpaxos"]),
    ("panchayat-core", &["consensus"]),
    ("panchayat-topology", &[]),
    ("panchayat-transport", &["consensus"]),
    ("panchayat-storage", &["consensus", "core"]),
    (
        "panchayat",
        &[
            "consensus",
            "core",
            "epaxos",
            "multipaxos",
            "fastpaxos",
            "epochs",
            "storage",
            "topology",
            "transport",
        ],
    ),
    ("panchayat-sim", &["consensus", "core", "epaxos", "multipaxos", "fastpaxos", "epochs"]),
    (
        "panchayat-bench",
        // In virtual time a protocol is run by its type, as by the simulator.
        &["panchayat", "sim", "consensus", "core", "epaxos", "multipaxos", "fastpaxos", "topology"],
    ),
    (
        "panchayat-server",
        // The simulator runs a protocol by its type, so who chooses one names it.
        &[
            "panchayat",
            "bench",
            "sim",
            "consensus",
            "core",
            "epaxos",
            "multipaxos",
            "fastpaxos",
            "epochs",
            "topology",
        ],
    ),
];

/// Packages that do no IO, read no clock and spawn nothing: these crates are not for them.
const SANS_IO: &[&str] = &[
    "panchayat-consensus",
    "panchayat-epaxos",
    "panchayat-multipaxos",
    "panchayat-fastpaxos",
    "panchayat-epochs",
    "panchayat-core",
    "panchayat-sim",
];
const IO_CRATES: &[&str] = &["tokio", "quinn", "rustls", "rustix", "crossbeam", "rand", "mio"];

/// Crates for binaries only; a library that drags them in costs its users dearly.
const BINARY_ONLY: &[&str] = &["clap", "miette", "mimalloc", "tracing-subscriber", "axum"];

fn direct_dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo prints JSON");
    let packages = metadata["packages"].as_array().expect("packages");
    let text = |value: &Value| value.as_str().expect("a string").to_owned();
    packages
        .iter()
        .map(|package| {
            let dependencies = package["dependencies"].as_array().expect("dependencies");
            let normal = dependencies.iter().filter(|dependency| dependency["kind"].is_null());
            (text(&package["name"]), normal.map(|dependency| text(&dependency["name"])).collect())
        })
        .collect()
}

#[test]
fn rooms_know_only_the_rooms_below_them() {
    let dependencies = direct_dependencies();
    let listed: BTreeSet<_> = ALLOWED.iter().map(|(package, _)| (*package).to_owned()).collect();
    let present: BTreeSet<_> = dependencies.keys().cloned().collect();
    assert_eq!(listed, present, "every package of the workspace has a line in ALLOWED");
    for (package, allowed) in ALLOWED {
        for dependency in dependencies[*package].iter().filter(|name| name.starts_with("panchayat"))
        {
            let short = dependency.strip_prefix("panchayat-").unwrap_or(dependency);
            assert!(allowed.contains(&short), "{package} must not depend on {dependency}");
        }
    }
}

#[test]
fn what_is_sans_io_stays_so() {
    let dependencies = direct_dependencies();
    for package in SANS_IO {
        for banned in IO_CRATES {
            assert!(!dependencies[*package].contains(*banned), "{package} depends on {banned}");
        }
    }
}

#[test]
fn libraries_do_not_drag_in_what_is_for_binaries() {
    let dependencies = direct_dependencies();
    for (package, names) in &dependencies {
        if package != "panchayat-server" {
            for banned in BINARY_ONLY {
                assert!(!names.contains(*banned), "{package} depends on {banned}");
            }
        }
    }
}

/// The known mistakes must never be in what people run.
#[test]
fn no_normal_dependency_enables_the_mutations() {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--workspace", "--edges", "features,normal", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let tree = String::from_utf8_lossy(&output.stdout);
    assert!(tree.contains("panchayat-epaxos"), "the tree is not what was asked for");
    let enabled: Vec<_> = tree.lines().filter(|line| line.contains("mutations")).collect();
    assert!(enabled.is_empty(), "{enabled:#?}");
}
