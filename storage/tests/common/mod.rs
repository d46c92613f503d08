//! Shared by the tests of the journal: short settings, a group that counts, syncs left out.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part")]

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use panchayat_consensus::ids::{ClusterId, EpochNumber, GroupId, NodeId};
use panchayat_storage::backend::{Backend, BackendFile, DirectoryLock};
use panchayat_storage::{
    AppendError, Journal, JournalConfig, JournalFailed, JournalWriter, Record, RecordSeq, Replay,
    StorageError,
};

pub const CLUSTER: ClusterId = ClusterId(0xfeed);
pub const NODE: NodeId = NodeId(4);
pub const EPOCH: EpochNumber = EpochNumber(1);

/// Small segments, so that a test crosses many.
pub fn config(dir: impl Into<PathBuf>, backend: Arc<dyn Backend>) -> JournalConfig {
    let mut config = JournalConfig::new(dir, CLUSTER, NODE);
    config.segment_bytes = 16 << 10;
    config.queue_bytes_max = 4 << 10;
    config.full_retry_after = Duration::from_millis(5);
    config.backend = backend;
    config
}

/// A group whose records say which they are, so that holes and swaps are seen.
pub struct Counting {
    pub writer: JournalWriter,
    pub news: Receiver<Result<RecordSeq, JournalFailed>>,
    pub group: GroupId,
    /// Numbers of its records go on over restarts; sequence numbers of the journal do not.
    pub next: u64,
    first: u64,
}

impl Counting {
    pub fn new(journal: &Journal, group: u32, next: u64) -> Self {
        let (tell, news) = channel();
        let group = GroupId(group);
        let writer = journal.writer(group, Box::new(move |word| drop(tell.send(word))));
        Self { writer, news, group, next, first: next }
    }

    pub fn append(&mut self, count: u64) -> Result<(), AppendError> {
        let records: Vec<_> = (self.next..self.next + count).map(payload).collect();
        let upto = RecordSeq(self.next + count - self.first);
        self.writer.append(EPOCH, &records, upto)?;
        self.next += count;
        Ok(())
    }

    /// Waits until everything appended is durable; the number of durable records so far.
    pub fn settle(&self) -> Result<u64, JournalFailed> {
        loop {
            let durable = self.first + self.hear()?.0;
            if durable == self.next {
                return Ok(durable);
            }
        }
    }

    /// The next word of the journal, which must come.
    pub fn hear(&self) -> Result<RecordSeq, JournalFailed> {
        match self.news.recv_timeout(Duration::from_secs(20)) {
            Ok(word) => word,
            Err(RecvTimeoutError::Timeout) => panic!("the journal says nothing"),
            Err(RecvTimeoutError::Disconnected) => panic!("the callback was dropped unheard"),
        }
    }
}

/// The `n`-th record of a group: lengths vary, and some span several sectors.
pub fn payload(n: u64) -> Vec<u8> {
    let mut bytes = n.to_le_bytes().to_vec();
    bytes.resize(
        8 + (n * 37 % 300) as usize + if n.is_multiple_of(11) { 900 } else { 0 },
        n as u8 | 1,
    );
    bytes
}

/// Checks that a replay holds the records of each group from 0 on, without hole or change, and
/// says how many of `group`.
pub fn count_replayed(
    records: impl IntoIterator<Item = Result<Record, StorageError>>,
    group: u32,
) -> Result<u64, StorageError> {
    let mut counts = std::collections::BTreeMap::new();
    for record in records {
        let record = record?;
        let count = counts.entry(record.group).or_insert(0);
        assert_eq!(record.payload, payload(*count), "record {count} of {:?}", record.group);
        assert_eq!(record.epoch, EPOCH);
        *count += 1;
    }
    Ok(counts.get(&GroupId(group)).copied().unwrap_or(0))
}

/// Opens, and counts the replayed records of group 1.
pub fn reopen(config: &JournalConfig) -> Result<(Journal, u64), StorageError> {
    let (journal, replay): (Journal, Replay) = Journal::open(config.clone())?;
    let count = count_replayed(replay, 1)?;
    Ok((journal, count))
}

/// A sync of the journal, to be left out: each must be missed by some test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Site {
    /// Of a batch.
    Batch,
    /// Of the marker with which a journal is opened.
    OpeningMarker,
    /// Of a new segment, before it gets its name.
    NewSegment,
    /// Of the directory, after a new segment got its name.
    NewName,
    /// Of a replayed segment: what it holds, and where it is cut.
    Replayed,
    /// Of the directory, after a segment was removed.
    Removal,
    /// Of the parent, after a directory was created or found empty.
    NewDirectory,
    /// Of a snapshot, before it gets its name.
    SnapshotContent,
    /// Of the directory, after a snapshot got its name.
    SnapshotName,
    /// Of the directory of snapshots, when it is opened.
    SnapshotsFound,
}

/// A backend that leaves out one kind of sync.
#[derive(Debug)]
pub struct Eliding {
    inner: Arc<dyn Backend>,
    site: Option<Site>,
    pub elided: Arc<AtomicUsize>,
    last_name: Mutex<Site>,
    last_name_of_snapshots: Mutex<Site>,
}

impl Eliding {
    pub fn new(inner: Arc<dyn Backend>, site: Option<Site>) -> Arc<Self> {
        Arc::new(Self {
            inner,
            site,
            elided: Arc::default(),
            last_name: Mutex::new(Site::NewName),
            last_name_of_snapshots: Mutex::new(Site::SnapshotsFound),
        })
    }

    /// Notes what the next sync of the directory of `path` will be for.
    fn name(&self, path: &Path, site: Site) {
        if is_of_snapshots(path) {
            *self.last_name_of_snapshots.lock().unwrap() = Site::SnapshotName;
        } else {
            *self.last_name.lock().unwrap() = site;
        }
    }

    pub fn count(&self) -> usize {
        self.elided.load(Ordering::SeqCst)
    }

    fn skips(&self, site: Site) -> bool {
        let skips = self.site == Some(site);
        self.elided.fetch_add(usize::from(skips), Ordering::SeqCst);
        skips
    }

    fn file(&self, file: Box<dyn BackendFile>, created: bool) -> Box<dyn BackendFile> {
        let (site, elided) = (self.site, Arc::clone(&self.elided));
        Box::new(ElidingFile { inner: file, site, elided, created, named: AtomicBool::new(false) })
    }
}

impl Backend for Eliding {
    fn create_dir(&self, dir: &Path) -> io::Result<bool> {
        *self.last_name.lock().unwrap() = Site::NewDirectory;
        *self.last_name_of_snapshots.lock().unwrap() = Site::SnapshotsFound;
        self.inner.create_dir(dir)
    }
    fn lock(&self, path: &Path) -> io::Result<Box<dyn DirectoryLock>> {
        self.inner.lock(path)
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.inner.list(dir)
    }
    fn create(&self, path: &Path) -> io::Result<Box<dyn BackendFile>> {
        let file = self.inner.create(path)?;
        if is_of_snapshots(path) {
            let (site, elided) = (self.site, Arc::clone(&self.elided));
            return Ok(Box::new(ElidingSnapshot { inner: file, site, elided }));
        }
        Ok(self.file(file, true))
    }
    fn open(&self, path: &Path) -> io::Result<Box<dyn BackendFile>> {
        Ok(self.file(self.inner.open(path)?, false))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.name(from, Site::NewName);
        self.inner.rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        if !is_of_snapshots(path) {
            self.name(path, Site::Removal);
        }
        self.inner.remove(path)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let site = if dir.ends_with("snapshots/1") {
            *self.last_name_of_snapshots.lock().unwrap()
        } else if dir.ends_with("snapshots") {
            Site::NewDirectory
        } else {
            *self.last_name.lock().unwrap()
        };
        if self.skips(site) { Ok(()) } else { self.inner.sync_dir(dir) }
    }
}

/// A created file is synced as a new segment until `sync_all`; then by the journal's thread with
/// batches, or by whoever opens the journal with its marker.
#[derive(Debug)]
struct ElidingFile {
    inner: Box<dyn BackendFile>,
    site: Option<Site>,
    elided: Arc<AtomicUsize>,
    created: bool,
    named: AtomicBool,
}

impl ElidingFile {
    fn sync(&self, site: Site, sync: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        if self.site == Some(site) {
            self.elided.fetch_add(1, Ordering::SeqCst);
            return Ok(());
        }
        sync()
    }
}

impl BackendFile for ElidingFile {
    fn read_all(&self, bytes_max: u64) -> io::Result<Vec<u8>> {
        self.inner.read_all(bytes_max)
    }
    fn length(&self) -> io::Result<u64> {
        self.inner.length()
    }
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<usize> {
        self.inner.read_at(offset, out)
    }
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        self.inner.write_at(offset, bytes)
    }
    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.inner.set_len(bytes)
    }
    fn sync_data(&self) -> io::Result<()> {
        let site = if !self.named.load(Ordering::SeqCst) {
            Site::NewSegment
        } else if std::thread::current().name() == Some("journal") {
            Site::Batch
        } else {
            Site::OpeningMarker
        };
        self.sync(site, || self.inner.sync_data())
    }
    fn sync_all(&self) -> io::Result<()> {
        self.named.store(true, Ordering::SeqCst);
        let site = if self.created { Site::NewSegment } else { Site::Replayed };
        self.sync(site, || self.inner.sync_all())
    }
}

fn is_of_snapshots(path: &Path) -> bool {
    path.parent().is_some_and(|dir| dir.ends_with("snapshots/1"))
}

/// A snapshot that is written: only its last sync promises anything.
#[derive(Debug)]
struct ElidingSnapshot {
    inner: Box<dyn BackendFile>,
    site: Option<Site>,
    elided: Arc<AtomicUsize>,
}

impl BackendFile for ElidingSnapshot {
    fn read_all(&self, bytes_max: u64) -> io::Result<Vec<u8>> {
        self.inner.read_all(bytes_max)
    }
    fn length(&self) -> io::Result<u64> {
        self.inner.length()
    }
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<usize> {
        self.inner.read_at(offset, out)
    }
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        self.inner.write_at(offset, bytes)
    }
    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.inner.set_len(bytes)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.inner.sync_data()
    }
    fn sync_all(&self) -> io::Result<()> {
        if self.site == Some(Site::SnapshotContent) {
            self.elided.fetch_add(1, Ordering::SeqCst);
            return Ok(());
        }
        self.inner.sync_all()
    }
}
