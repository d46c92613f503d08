//! The program of the previous release, kept built in `server/tests/fixtures` (its README says why).

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// What `.ci/fixture` has made.
const NAME: &str = "panchayat-0632061-x86_64-linux";

/// The program of the previous release, ready to be run; `None`, and a word about it, where it
/// cannot run.
pub(crate) fn previous() -> Option<&'static Path> {
    static UNPACKED: OnceLock<PathBuf> = OnceLock::new();
    if !cfg!(all(target_arch = "x86_64", target_os = "linux", target_env = "gnu")) {
        eprintln!("SKIPPED: the previous release's program is kept for Linux on x86-64 only");
        return None;
    }
    // Once, before anything else of this process starts a process: a file that a child still holds
    // open for writing cannot be run.
    Some(UNPACKED.get_or_init(unpack))
}

fn unpack() -> PathBuf {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let packed = File::open(fixtures.join(format!("{NAME}.zst"))).unwrap();
    let mut plain = ruzstd::decoding::StreamingDecoder::new(packed).unwrap();
    // Another run of the tests may be under way there.
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let mut beside = tempfile::NamedTempFile::new_in(dir).unwrap();
    io::copy(&mut plain, &mut beside).unwrap();
    fs::set_permissions(beside.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let program = dir.join(NAME);
    drop(beside.persist(&program).unwrap());
    program
}
