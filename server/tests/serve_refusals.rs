//! Data directories that `panchayat serve` refuses: damaged, another's, or written by a newer program.
//! What starts would forget what it has promised, or serve what is not its own.

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::Ran;
use common::serve::{CITIES, Served};
use panchayat::identity::{Authority, Identity};
use panchayat::{ClusterId, NodeId};
use rustix::process::Signal;

/// The exit code of a data directory that must not be used.
const REFUSED: Option<i32> = Some(4);

/// Three cities with some data, stopped in order.
fn stopped(dir: &Path) -> Served {
    let mut served = Served::start(dir, "");
    (0..3).for_each(|seat| served.wait_until_it_serves(seat));
    let mut client = served.connect(0);
    for n in 0..50 {
        assert_eq!(client.ask(&format!("SET k{n} {}", "x".repeat(2_000))), "+OK\r\n");
    }
    (0..3).for_each(|seat| served.signal(seat, Signal::TERM));
    (0..3).for_each(|seat| assert_eq!(served.wait(seat), Some(0)));
    served
}

/// Tries to start a city.
fn serve(dir: &Path, seat: usize) -> Ran {
    let config = dir.join(format!("{}.yaml", CITIES[seat]));
    common::run(&["serve", "--config", config.to_str().unwrap()])
}

fn data(dir: &Path, seat: usize) -> PathBuf {
    dir.join(format!("data-{}", CITIES[seat]))
}

/// The files of the journal, the oldest first.
fn journal(dir: &Path, seat: usize) -> Vec<PathBuf> {
    let entries = fs::read_dir(data(dir, seat)).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> =
        entries.filter(|f| f.extension().is_some_and(|e| e == "journal")).collect();
    files.sort();
    assert!(!files.is_empty());
    files
}

fn change(file: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(file).unwrap();
    change(&mut bytes);
    fs::write(file, bytes).unwrap();
}

fn assert_refused(ran: &Ran, told: &[&str]) {
    assert_eq!(ran.code, REFUSED, "{ran:?}");
    for told in told {
        assert!(ran.stderr.contains(told), "`{told}` is not in: {}", ran.stderr);
    }
    assert!(!ran.stdout.contains("serves Redis clients"), "{ran:?}");
}

#[test]
fn a_damaged_directory_is_refused_and_the_others_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let mut served = stopped(dir);
    let kept = dir.join("kept");
    let copy = |from: &Path, to: &Path| {
        let _ = fs::remove_dir_all(to);
        let copied = std::process::Command::new("cp").arg("-r").arg(from).arg(to).status().unwrap();
        assert!(copied.success());
    };
    copy(&data(dir, 0), &kept);

    // A byte in the middle: what follows it was synced, so it is no torn end.
    let file = journal(dir, 0).remove(0);
    change(&file, |bytes| bytes[8_192 + 300] ^= 0x40);
    let name = file.file_name().unwrap().to_str().unwrap();
    assert_refused(&serve(dir, 0), &[name]);
    assert_refused(&serve(dir, 0), &[name]);

    // Written by a newer program, by its own word.
    copy(&kept, &data(dir, 0));
    change(&file, |bytes| bytes[8] = 99);
    assert_refused(&serve(dir, 0), &[name, "journal format 99", "newer program"]);

    // Lost, all of it or its journal: the promises in it are not known any more.
    copy(&kept, &data(dir, 0));
    journal(dir, 0).iter().for_each(|file| fs::remove_file(file).unwrap());
    assert_refused(&serve(dir, 0), &["new node id"]);

    // The note of whose it is.
    copy(&kept, &data(dir, 0));
    change(&data(dir, 0).join("replica"), |bytes| bytes.truncate(bytes.len() / 2));
    assert_refused(&serve(dir, 0), &["is damaged"]);

    // Nothing of this has harmed the others, and what was kept is as good as ever.
    (1..3).for_each(|seat| served.spawn(seat));
    (1..3).for_each(|seat| served.wait_until_it_serves(seat));
    copy(&kept, &data(dir, 0));
    served.spawn(0);
    served.wait_until_it_serves(0);
    assert_eq!(served.connect(0).ask("STRLEN k49"), ":2000\r\n");

    // In use: that may pass, so it is another exit code.
    let twice = serve(dir, 0);
    assert_eq!(twice.code, Some(1), "{twice:?}");
}

#[test]
fn a_directory_of_another_city_or_another_cluster_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let mut served = stopped(dir);
    let put = |identity: &Identity| {
        let files = Identity::files(&dir.join(format!("certs-{}", CITIES[0])));
        files.iter().zip(identity.to_pem()).for_each(|(file, text)| fs::write(file, text).unwrap());
    };

    // Delhi's data under mumbai's name.
    let own = data(dir, 0);
    fs::rename(&own, dir.join("kept")).unwrap();
    fs::rename(data(dir, 1), &own).unwrap();
    assert_refused(&serve(dir, 0), &["belongs to", "data directory of this replica"]);
    fs::rename(&own, data(dir, 1)).unwrap();
    fs::rename(dir.join("kept"), &own).unwrap();

    // The same data, the certificate of another cluster.
    let authority = Authority::load(&dir.join("authority")).unwrap();
    put(&authority.issue_node(ClusterId(8), NodeId(1)).unwrap());
    assert_refused(&serve(dir, 0), &["belongs to"]);
    // Somebody else's certificate is a mistake of the configuration: nothing was looked at.
    put(&authority.issue_node(ClusterId(7), NodeId(2)).unwrap());
    let ran = serve(dir, 0);
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(ran.stderr.contains("the certificate is for"), "{}", ran.stderr);

    put(&authority.issue_node(ClusterId(7), NodeId(1)).unwrap());
    (0..3).for_each(|seat| served.spawn(seat));
    (0..3).for_each(|seat| served.wait_until_it_serves(seat));
    assert_eq!(served.connect(0).ask("STRLEN k49"), ":2000\r\n");
}
