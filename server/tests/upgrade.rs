//! A cluster taken from the previous release to this one, a replica at a time, while clients write; and
//! what else of the two meets: members that join, operators and clients, directories on the way back.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use common::appends::Appends;
use common::previous::previous;
use common::serve::Served;
use common::{BINARY, Ran, Up};
use rustix::process::Signal;

/// One workload for each protocol, and what its keys begin with.
const WORKLOADS: &str = "\
workloads:
  - name: council
    protocol: epaxos
  - name: led
    prefixes: [\"led:\"]
    protocol: multipaxos
    leader: mumbai
  - name: fast
    prefixes: [\"fast:\"]
    protocol: fastpaxos
    leader: delhi
limits:
  command_timeout_s: 5
";
const PREFIXES: [&str; 3] = ["council:", "led:", "fast:"];
/// The same without workloads.
const ONE: [&str; 1] = [""];

/// Asks for what only today's programs know.
const ADAPTIVE: [&str; 4] = ["workload", "set", "--protocol", "adaptive"];

/// The formats of the notes in a data directory as the two programs leave them.
const FORMAT_BEFORE: &str = "format 3";
const FORMAT_NOW: &str = "format 4";

/// Three cities that run the previous release, and are ready.
fn of_before(dir: &Path, before: &Path, more: &str) -> Served {
    let mut served = Served::prepare(dir, "", more);
    for seat in 0..3 {
        served.runs(seat, before);
        served.spawn(seat);
    }
    (0..3).for_each(|seat| served.wait_until_ready(seat));
    served
}

/// Starts a city with `program`, and waits as an operator should.
fn start(served: &mut Served, seat: usize, program: &Path) {
    served.runs(seat, program);
    served.spawn(seat);
    served.wait_until_ready(seat);
}

fn stop(served: &mut Served, seat: usize) {
    served.signal(seat, Signal::TERM);
    assert_eq!(served.wait(seat), Some(0), "it stops in order");
}

/// The notes in a data directory, one for each workload.
fn notes(data: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(data).unwrap().map(|entry| entry.unwrap().path());
    let of_ours =
        |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().starts_with("replica");
    paths.filter(of_ours).collect()
}

/// The formats of the notes in a data directory.
fn formats(data: &Path) -> Vec<String> {
    let first = |note: PathBuf| {
        let text = fs::read_to_string(note).unwrap();
        text.lines().next().unwrap().rsplit_once(", ").unwrap().1.to_owned()
    };
    notes(data).into_iter().map(first).collect()
}

/// All that is in a directory: the bytes of files, nothing for directories.
fn contents(dir: &Path) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
    let mut found = BTreeMap::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path.clone());
                found.insert(path, None);
            } else {
                let bytes = fs::read(&path).unwrap();
                found.insert(path, Some(bytes));
            }
        }
    }
    found
}

fn assert_refused(served: &Served, seat: usize, told: &[&str]) {
    let data = served.data(seat);
    let kept = contents(&data);
    let Ran { code, stderr, .. } = served.fails(seat);
    assert_eq!(code, Some(4), "{stderr}");
    told.iter().for_each(|told| assert!(stderr.contains(told), "`{told}` is not in: {stderr}"));
    assert!(kept == contents(&data), "a directory that is refused was changed");
}

#[test]
fn replicas_are_upgraded_one_by_one_while_clients_write_with_every_protocol() {
    let Some(before) = previous() else { return };
    let dir = tempfile::tempdir().unwrap();
    let mut served = of_before(dir.path(), before, WORKLOADS);
    let appends = Appends::start(&served.clients, &PREFIXES);
    appends.go_on("all of before", &[0, 1, 2]);
    // One as its machine dies: the leader of one workload.
    for (seat, dies) in [(1, false), (0, true), (2, false)] {
        let others: Vec<_> = (0..3).filter(|other| *other != seat).collect();
        if dies {
            served.kill(seat)
        } else {
            stop(&mut served, seat)
        }
        appends.go_on("one is down", &others);
        assert_eq!(formats(&served.data(seat)), [FORMAT_BEFORE; 3]);
        start(&mut served, seat, Path::new(BINARY));
        assert_eq!(formats(&served.data(seat)), [FORMAT_NOW; 3]);
        appends.go_on("one more is of today", &[0, 1, 2]);
    }
    // As any other day.
    served.kill(1);
    appends.go_on("one of today is down", &[0, 2]);
    start(&mut served, 1, Path::new(BINARY));
    appends.go_on("all of today", &[0, 1, 2]);
    appends.finish(&served.clients);
}

#[test]
fn replicas_of_both_releases_die_beside_each_other_and_come_back_as_they_were() {
    let Some(before) = previous() else { return };
    let dir = tempfile::tempdir().unwrap();
    let mut served = of_before(dir.path(), before, "limits:\n  command_timeout_s: 5\n");
    let appends = Appends::start(&served.clients, &ONE);
    appends.go_on("all of before", &[0, 1, 2]);
    stop(&mut served, 0);
    start(&mut served, 0, Path::new(BINARY));
    // What those of before do not know cannot be chosen yet, and asking for it harms nobody.
    let (code, _, err) = served.operate("admin", &ADAPTIVE);
    assert!(code == 1 && err.contains("upgrade all members first"), "{code} {err}");
    for (victim, program) in [(2, before), (0, Path::new(BINARY)), (1, before)] {
        let others: Vec<_> = (0..3).filter(|other| *other != victim).collect();
        appends.go_on("one of today", &[0, 1, 2]);
        served.kill(victim);
        appends.go_on("one is dead", &others);
        start(&mut served, victim, program);
    }
    appends.go_on("all are back", &[0, 1, 2]);
    appends.finish(&served.clients);
}

#[test]
fn a_member_of_today_takes_over_a_state_of_before_and_so_does_an_upgraded_one() {
    let Some(before) = previous() else { return };
    let dir = tempfile::tempdir().unwrap();
    let mut served = of_before(dir.path(), before, "limits:\n  command_timeout_s: 5\n");
    let mut appends = Appends::start(&served.clients, &ONE);
    appends.go_on("all of before", &[0, 1, 2]);

    // Operators of both speak with members of before.
    for program in [before, Path::new(BINARY)] {
        let (code, out, err) = served.operate_as(program, "admin", &["member", "list"]);
        assert!(code == 0 && out.contains("bangalore"), "{out} {err}");
    }
    let addr = served.prepare_to_join("pune", 4).to_string();
    let add = ["member", "add", "pune", "--addr", &addr];
    let (code, _, err) = served.operate("admin", &add);
    assert_eq!(code, 0, "{err}");
    start(&mut served, 3, Path::new(BINARY));
    let (code, _, err) = served.operate("admin", &[&add[..], &["--wait"]].concat());
    assert_eq!(code, 0, "{err}");
    appends.join(served.clients[3]);
    appends.go_on("a new one of today", &[0, 1, 2, 3]);

    // What it took over was a file of one of the others, and is read by today's program there.
    let has_snapshot = |seat| {
        let entries = fs::read_dir(served.data(seat).join("snapshots/1")).unwrap();
        let mut paths = entries.map(|entry| entry.unwrap().path());
        paths.any(|path| path.extension().is_some_and(|kind| kind == "snapshot"))
    };
    assert!((0..3).any(has_snapshot), "nobody of before took a snapshot");
    assert!(has_snapshot(3), "it took no state over");
    for seat in 0..3 {
        stop(&mut served, seat);
        start(&mut served, seat, Path::new(BINARY));
        appends.go_on("one more is of today", &[0, 1, 2, 3]);
    }
    for program in [before, Path::new(BINARY)] {
        let (code, out, err) = served.operate_as(program, "admin", &["member", "list"]);
        assert!(code == 0 && out.contains("pune"), "{out} {err}");
    }
    // All know it now.
    let (code, _, err) = served.operate("admin", &ADAPTIVE);
    assert_eq!(code, 0, "{err}");
    appends.go_on("chosen by what is measured", &[0, 1, 2, 3]);
    // A program of before says that it cannot read of it.
    let (code, _, err) = served.operate_as(before, "admin", &["member", "list"]);
    assert!(code == 1 && err.contains("unknown protocol tag 3"), "{code} {err}");
    appends.finish(&served.clients);
}

#[test]
fn the_way_back_is_open_until_the_first_start_of_today() {
    let Some(before) = previous() else { return };
    let dir = tempfile::tempdir().unwrap();
    let mut served = of_before(dir.path(), before, WORKLOADS);
    served.wait_until_it_serves(0);
    stop(&mut served, 0);
    // Nothing of today has run there yet: back again, and the same once more.
    start(&mut served, 0, before);
    stop(&mut served, 0);
    start(&mut served, 0, Path::new(BINARY));
    served.wait_until_it_serves(0);
    stop(&mut served, 0);

    served.runs(0, before);
    assert_refused(&served, 0, &["is of format 4", "start the newer program"]);
    // Twice is as once, and the newer program goes on.
    assert_refused(&served, 0, &["is of format 4"]);
    start(&mut served, 0, Path::new(BINARY));
    served.wait_until_it_serves(0);

    // What a release after this one leaves is refused by this one.
    stop(&mut served, 0);
    let note = notes(&served.data(0)).remove(0);
    let text = fs::read_to_string(&note).unwrap();
    fs::write(&note, text.replace(FORMAT_NOW, "format 5")).unwrap();
    assert_refused(&served, 0, &["is of format 5", "start the newer program"]);
    fs::write(&note, text).unwrap();
    start(&mut served, 0, Path::new(BINARY));
    served.wait_until_it_serves(0);
}

#[test]
fn clients_of_either_release_speak_with_servers_of_the_other() {
    let Some(before) = previous() else { return };
    let today = Path::new(BINARY);
    for (server, client) in [(before, today), (today, before)] {
        let dir = tempfile::tempdir().unwrap();
        let up = Up::start_as(server, dir.path(), &["--profile=ideal", "--durability=memory"]);
        let put = up.client_as(client, &["put", "greeting", "namaste", "--site=mumbai"]);
        assert_eq!((put.code, put.stdout.as_str()), (Some(0), "greeting set\n"), "{put:?}");
        let get = up.client_as(client, &["get", "greeting", "--site=delhi"]);
        assert_eq!((get.code, get.stdout.as_str()), (Some(0), "namaste\n"), "{get:?}");
        let txn = ["txn", "cas:greeting:namaste:vanakkam", "get:greeting"];
        let txn = up.client_as(client, &txn);
        assert!(txn.code == Some(0) && txn.stdout.contains("vanakkam"), "{txn:?}");
        let list = up.client_as(client, &["member", "list"]);
        assert!(list.code == Some(0) && list.stdout.contains("bangalore"), "{list:?}");
        up.signal(Signal::INT);
        assert_eq!(up.wait().0, Some(0));
    }
}
