//! Certificates that change while the process runs.
//!
//! Their files are looked at every second, and at once on SIGHUP. What is new is tried as soon as two
//! looks in a row have seen the same, since a certificate and its key cannot be replaced in one step. A
//! bad one is told once and changes nothing. Whatever is in force is looked at once a day, and told
//! while it is about to expire.

use std::fs::File;
use std::io::Read as _;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use panchayat::transport::CertificateFacts;
use tokio::signal::unix::Signal;

/// How often the files are looked at.
const INTERVAL: Duration = Duration::from_secs(1);
/// How often an end that is near is told.
const REMINDER: Duration = Duration::from_secs(24 * 3600);
/// How near that is.
pub(crate) const SOON: Duration = Duration::from_secs(30 * 24 * 3600);
/// Longest file.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// The contents of some files.
type Contents = Vec<Vec<u8>>;
/// Puts contents in force, or says why not.
type Install = Box<dyn Fn(&[Vec<u8>]) -> Result<(), String> + Send>;

/// Files that belong together. The first holds the certificate.
pub(super) struct Watched {
    what: &'static str,
    files: Vec<PathBuf>,
    install: Install,
    in_force: Contents,
    /// What the last look has seen, if it is not in force.
    seen: Option<Contents>,
    /// Whether that was tried.
    tried: bool,
    reminded: Option<Instant>,
}

/// Why a file was not read.
pub(super) type Unreadable = (PathBuf, std::io::Error);

/// What is in `files`.
pub(super) fn contents(files: &[PathBuf]) -> Result<Contents, Unreadable> {
    let read = |path: &PathBuf| {
        let mut bytes = Vec::new();
        File::open(path)
            .and_then(|file| file.take(FILE_BYTES_MAX).read_to_end(&mut bytes))
            .map(|_| bytes)
            .map_err(|error| (path.clone(), error))
    };
    files.iter().map(read).collect()
}

impl Watched {
    /// `files` hold what is in force now; `install` is asked with what they hold later.
    pub(super) fn new(
        what: &'static str,
        files: Vec<PathBuf>,
        in_force: Contents,
        install: impl Fn(&[Vec<u8>]) -> Result<(), String> + Send + 'static,
    ) -> Self {
        let install = Box::new(install);
        let mut watched =
            Self { what, files, install, in_force, seen: None, tried: false, reminded: None };
        watched.remind();
        watched
    }

    /// Looks at the files, and takes what is new in them: at the second look, or `at_once`.
    fn look(&mut self, at_once: bool) {
        self.remind();
        let now = match contents(&self.files) {
            Ok(now) => now,
            Err((path, error)) => {
                // They may be on their way.
                if at_once {
                    tracing::error!(what = self.what, "cannot read {}: {error}", path.display());
                }
                return;
            }
        };
        if now == self.in_force {
            self.seen = None;
            return;
        }
        if self.seen.as_ref() != Some(&now) {
            self.seen = Some(now.clone());
            self.tried = false;
            if !at_once {
                return;
            }
        }
        if self.tried && !at_once {
            return;
        }
        self.tried = true;
        match self.take(&now) {
            Ok(facts) => {
                tracing::info!(
                    what = self.what,
                    serial = facts.serial,
                    until = facts.not_after.text,
                    "a new certificate is in force for connections to come"
                );
                (self.in_force, self.seen, self.reminded) = (now, None, None);
                self.remind();
            }
            Err(why) => tracing::error!(
                what = self.what,
                file = %self.files[0].display(),
                "a new certificate is refused, and the old one stays: {why}"
            ),
        }
    }

    fn take(&self, new: &[Vec<u8>]) -> Result<CertificateFacts, String> {
        let facts = CertificateFacts::of_pem(&new[0]).map_err(|error| error.to_string())?;
        let facts = facts.into_iter().next().ok_or("there is none")?;
        if facts.not_after.from(SystemTime::now()).is_zero() {
            return Err(format!("it has expired at {}", facts.not_after.text));
        }
        (self.install)(new)?;
        Ok(facts)
    }

    /// Tells of an end that is near.
    fn remind(&mut self) {
        if self.reminded.is_some_and(|at| at.elapsed() < REMINDER) {
            return;
        }
        self.reminded = Some(Instant::now());
        let Ok(facts) = CertificateFacts::of_pem(&self.in_force[0]) else { return };
        let Some(end) = facts.first().map(|facts| &facts.not_after) else { return };
        let left = end.from(SystemTime::now());
        if left.is_zero() {
            tracing::error!(what = self.what, "the certificate has expired at {}", end.text);
        } else if left < SOON {
            tracing::warn!(what = self.what, "the certificate expires at {}", end.text);
        }
    }
}

/// Looks after `watched` for ever.
pub(super) async fn renew(mut watched: Vec<Watched>, mut hangup: Signal) {
    loop {
        let asked = tokio::select! {
            () = tokio::time::sleep(INTERVAL) => false,
            Some(()) = hangup.recv() => true,
        };
        // Files may be far away.
        let looked = tokio::task::spawn_blocking(move || {
            watched.iter_mut().for_each(|watched| watched.look(asked));
            watched
        });
        match looked.await {
            Ok(back) => watched = back,
            Err(error) => {
                tracing::error!(%error, "certificates are not looked after any more");
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use panchayat::identity::Authority;

    use super::*;

    #[test]
    fn what_is_new_is_tried_once_when_it_has_come_to_rest() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("server.pem");
        let authority = Authority::create().unwrap();
        let certificate =
            || authority.issue_redis_server(&["localhost".to_owned()]).unwrap().certificate;
        let put = |text: &str| std::fs::write(&file, text).unwrap();
        put(&certificate());
        let installed = Arc::new(AtomicUsize::new(0));
        let count = installed.clone();
        let files = vec![file.clone()];
        let mut watched =
            Watched::new("test", files.clone(), contents(&files).unwrap(), move |new| {
                let refused = new[0].ends_with(b"bad");
                count.fetch_add(1, Ordering::Relaxed);
                if refused { Err("bad".to_owned()) } else { Ok(()) }
            });
        let mut looks = |at_once: &[bool]| {
            at_once.iter().for_each(|at_once| watched.look(*at_once));
            installed.load(Ordering::Relaxed)
        };
        assert_eq!(looks(&[false, false, true]), 0, "nothing is new");
        put(&certificate());
        assert_eq!(looks(&[false]), 0, "it may not be whole yet");
        assert_eq!(looks(&[false, false]), 1);
        put(&certificate());
        assert_eq!(looks(&[true]), 2, "asked for, it is tried at once");
        put(&(certificate() + "bad"));
        assert_eq!(looks(&[false, false, false]), 3, "what is refused is not tried again");
        assert_eq!(looks(&[true]), 4, "unless somebody asks");
        put("nothing");
        assert_eq!(looks(&[false, false, true]), 4, "this is no certificate");
        std::fs::remove_file(&file).unwrap();
        assert_eq!(looks(&[false, false, true]), 4);
    }
}
