//! `panchayat certs` and `panchayat user`.

mod common;

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use common::run;

fn certs(dir: &Path, words: &[&str]) -> common::Ran {
    let authority = dir.join("certs");
    let place = match words[0] {
        "init" => "--dir",
        "issue" => "--authority",
        _ => return run(&[&["certs"], words].concat()),
    };
    run(&[&["certs"], words, &[place, authority.to_str().unwrap()]].concat())
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn an_authority_issues_what_a_cluster_needs_and_overwrites_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let made = certs(dir, &["init", "--json"]);
    assert_eq!(made.code, Some(0), "{made:?}");
    assert_eq!(made.json()["role"], "certificate authority");
    assert_eq!(mode(&dir.join("certs/ca.key")), 0o600);
    let key = std::fs::read(dir.join("certs/ca.key")).unwrap();
    let again = certs(dir, &["init"]);
    assert_eq!(again.code, Some(1), "{again:?}");
    assert_eq!(std::fs::read(dir.join("certs/ca.key")).unwrap(), key, "an authority was lost");

    for (words, below, file) in [
        (&["issue", "node", "delhi"][..], "delhi", "identity"),
        (&["issue", "client", "ops"], "client-ops", "identity"),
        (&["issue", "redis-server", "localhost", "127.0.0.1"], "redis-server", "server"),
        (&["issue", "redis-client", "shop"], "redis-client-shop", "client"),
    ] {
        let issued = certs(dir, words);
        assert_eq!(issued.code, Some(0), "{issued:?}");
        let below = dir.join("certs").join(below);
        assert_eq!(mode(&below.join(format!("{file}.key"))), 0o600);
        assert!(below.join(format!("{file}.pem")).exists() && below.join("ca.pem").exists());
        let again = certs(dir, words);
        assert_eq!(again.code, Some(1), "{again:?}");
    }
    for (words, code, told) in [
        (&["issue", "node", "pune"][..], 2, "no city `pune`"),
        (&["issue", "redis-server", "a b"], 1, "no name of a host"),
        (&["issue", "redis-client", "../x"], 1, "client names are"),
        (&["issue", "client", "../x"], 1, "client names are"),
        (&["issue", "redis-server"], 2, "required"),
    ] {
        let refused = certs(dir, words);
        assert_eq!(refused.code, Some(code), "{refused:?}");
        assert!(refused.stderr.contains(told), "{}", refused.stderr);
    }
    assert!(!dir.join("certs/redis-client-..").exists() && !dir.join("x").exists());

    let server = dir.join("certs/redis-server/server.pem");
    let shown = certs(dir, &["show", server.to_str().unwrap(), "--json"]);
    assert_eq!(shown.code, Some(0), "{shown:?}");
    let facts = &shown.json()["certificates"][0];
    assert_eq!(facts["role"], "server of Redis clients");
    assert_eq!(facts["names"], serde_json::json!(["DNS:localhost", "IP:127.0.0.1"]));
    assert_eq!(facts["state"], "valid");
    assert_eq!(facts["sha256"].as_str().unwrap().len(), 64);
    let table = certs(dir, &["show", dir.join("certs/delhi").to_str().unwrap()]);
    assert!(table.stdout.contains("/node/2") && table.stdout.contains("days left"), "{table:?}");
    let none = certs(dir, &["show", "/nonexistent"]);
    assert_eq!(none.code, Some(1), "{none:?}");
}

/// What a password's line looks like, and its exit code.
fn hash(input: &[u8]) -> (Option<i32>, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_panchayat"))
        .args(["user", "hash"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // It may have enough before everything is written.
    let _ = child.stdin.take().unwrap().write_all(input);
    let output = child.wait_with_output().unwrap();
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}

#[test]
fn a_password_becomes_a_line_of_the_configuration() {
    let (code, line) = hash(b"secret\nsecond line\n");
    assert_eq!(code, Some(0));
    let text = line.strip_prefix("password: \"").and_then(|text| text.strip_suffix("\"\n"));
    let hash_of = |text: &str| argon2::password_hash::phc::PasswordHash::new(text).unwrap();
    let verify = |password: &str| {
        use argon2::password_hash::PasswordVerifier as _;
        let hash = hash_of(text.unwrap());
        argon2::Argon2::default().verify_password(password.as_bytes(), &hash).is_ok()
    };
    assert!(verify("secret") && !verify("secret\n") && !verify("secre"), "{line}");
    assert_ne!(hash(b"secret").1, line, "there is salt in it");
    for bad in [&b""[..], b"\n", &[b'x'; 600], &[b'x'; 513], b"\xff\xff\n"] {
        let (code, line) = hash(bad);
        assert!(code == Some(1) || code == Some(2), "{code:?}");
        assert_eq!(line, "");
    }
}
