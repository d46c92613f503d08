//! A disk in memory, for tests: it fails, fills up, is slow, and loses power on command.
//!
//! Beside what readers see it keeps what is durable, and the writes between the two in order.
//! [`MemoryDisk::restart`] makes the disk that is found afterwards: with the cache intact after a
//! killed process, without it, or with an arbitrary choice of sectors and names after power loss.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::memory_file::{Inode, MemoryFile};
use super::{Backend, BackendFile, DirectoryLock, parent};

/// A whole disk in memory. Clones are the same disk.
#[derive(Clone, Debug, Default)]
pub struct MemoryDisk {
    state: Arc<Mutex<Disk>>,
}

/// What is left of unsynced writes after a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PowerLoss {
    /// Everything: only the process died.
    Nothing,
    /// Nothing: all that was not synced is gone.
    AllUnsynced,
    /// An arbitrary choice of sectors and names, drawn from this seed.
    Shuffled(u64),
}

/// A kind of call that can be made to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FaultyCall {
    /// [`BackendFile::write_at`].
    Write,
    /// [`BackendFile::sync_data`] and [`BackendFile::sync_all`].
    Sync,
    /// [`Backend::create`].
    Create,
    /// [`Backend::create_dir`] of a directory that is missing.
    CreateDirectory,
    /// [`Backend::rename`].
    Rename,
    /// [`Backend::remove`].
    Remove,
    /// [`Backend::sync_dir`].
    SyncDirectory,
    /// [`BackendFile::set_len`].
    SetLength,
}

#[derive(Debug, Default)]
pub(super) struct Disk {
    visible: Names,
    durable: Names,
    /// Changes of names since their directory was synced. Each is atomic, within one directory.
    pending: Vec<Change>,
    pub(super) inodes: BTreeMap<u64, Inode>,
    next_inode: u64,
    locked: BTreeSet<PathBuf>,
    calls: u64,
    power_fails_at: Option<u64>,
    faults: Vec<Fault>,
    pub(super) capacity: Option<u64>,
    pub(super) write_bytes_max: Option<usize>,
    pub(super) sync_delay: Duration,
}

type Names = BTreeMap<PathBuf, Entry>;
/// Names that come, or that go.
type Change = Vec<(PathBuf, Option<Entry>)>;

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Entry {
    File(u64),
    Directory,
}

#[derive(Debug)]
struct Fault {
    call: FaultyCall,
    after: u64,
    errno: i32,
}

impl MemoryDisk {
    /// An empty disk.
    pub fn new() -> Self {
        Self::default()
    }

    /// The call of this kind that follows after `after` good ones fails with the error number
    /// `errno`. A sync that fails loses what it should have synced, as Linux does: the bytes can
    /// still be read, and no later sync makes them durable.
    pub fn fail(&self, call: FaultyCall, after: u64, errno: i32) {
        self.state.lock().faults.push(Fault { call, after, errno });
    }

    /// Power fails at the `call`-th changing call from now, which takes effect but is not
    /// confirmed: it and all later calls return an error.
    pub fn fail_power_at(&self, call: u64) {
        let mut disk = self.state.lock();
        disk.power_fails_at = Some(disk.calls + call);
    }

    /// How many changing calls there were.
    pub fn calls(&self) -> u64 {
        self.state.lock().calls
    }

    /// The disk is full when its files have this many bytes; `None` for never.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.state.lock().capacity = bytes;
    }

    /// A write takes at most this many bytes per call.
    pub fn set_write_bytes_max(&self, bytes: Option<usize>) {
        self.state.lock().write_bytes_max = bytes;
    }

    /// Every sync takes this long.
    pub fn set_sync_delay(&self, delay: Duration) {
        self.state.lock().sync_delay = delay;
    }

    /// The names of all files.
    pub fn files(&self) -> Vec<PathBuf> {
        let disk = self.state.lock();
        let files = disk.visible.iter().filter(|(_, entry)| **entry != Entry::Directory);
        files.map(|(path, _)| path.clone()).collect()
    }

    /// Changes the bytes of a file behind everybody's back: bits that rot.
    ///
    /// # Panics
    /// If there is no such file.
    pub fn damage(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        let mut disk = self.state.lock();
        let inode = disk.file(path).expect("a file");
        disk.inode(inode).damage(change);
    }

    /// The disk as it is found by the next process. This one stays as it is: several outcomes of
    /// one crash can be tried.
    pub fn restart(&self, loss: PowerLoss) -> Self {
        let disk = self.state.lock();
        let mut after = Disk { next_inode: disk.next_inode, ..Disk::default() };
        match loss {
            PowerLoss::Nothing => {
                after.visible.clone_from(&disk.visible);
                after.durable.clone_from(&disk.durable);
                after.pending.clone_from(&disk.pending);
                after.inodes.clone_from(&disk.inodes);
            }
            PowerLoss::AllUnsynced => {
                after
                    .settle(disk.durable.clone(), |number| disk.inodes[&number].durable().to_vec());
            }
            PowerLoss::Shuffled(seed) => {
                let mut random = Random(seed);
                let mut names = disk.durable.clone();
                for change in &disk.pending {
                    if random.below(2) == 0 {
                        apply(&mut names, change);
                    }
                }
                after.settle(names, |number| disk.inodes[&number].shuffled(&mut random));
            }
        }
        Self { state: Arc::new(Mutex::new(after)) }
    }

    fn name(
        &self,
        call: FaultyCall,
        change: impl FnOnce(&mut Disk) -> io::Result<Change>,
    ) -> io::Result<()> {
        let mut disk = self.state.lock();
        let power = disk.begin(call)?;
        let change = change(&mut disk)?;
        apply(&mut disk.visible, &change);
        disk.pending.push(change);
        power.check()
    }
}

impl Disk {
    /// Counts a changing call. The caller carries it out and then asks [`Power::check`] whether
    /// it may say so.
    pub(super) fn begin(&mut self, call: FaultyCall) -> io::Result<Power> {
        let this = self.calls;
        self.calls += 1;
        if self.power_fails_at.is_some_and(|at| this > at) {
            return Err(power_failed());
        }
        for (index, fault) in self.faults.iter_mut().enumerate() {
            if fault.call == call {
                if fault.after == 0 {
                    let fault = self.faults.remove(index);
                    return Err(io::Error::from_raw_os_error(fault.errno));
                }
                fault.after -= 1;
            }
        }
        Ok(Power { fails: self.power_fails_at == Some(this) })
    }

    pub(super) fn has_power(&self) -> io::Result<()> {
        if self.power_fails_at.is_some_and(|at| self.calls > at) {
            return Err(power_failed());
        }
        Ok(())
    }

    pub(super) fn inode(&mut self, number: u64) -> &mut Inode {
        self.inodes.entry(number).or_default()
    }

    /// Bytes that files may still grow by.
    pub(super) fn room(&self) -> u64 {
        let used: u64 = self.visible.values().map(|entry| entry.length(&self.inodes)).sum();
        self.capacity.map_or(u64::MAX, |capacity| capacity.saturating_sub(used))
    }

    /// The file of this name.
    fn file(&self, path: &Path) -> io::Result<u64> {
        match self.visible.get(path) {
            Some(Entry::File(inode)) => Ok(*inode),
            Some(Entry::Directory) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn check_parent(&self, path: &Path) -> io::Result<()> {
        if is_reachable(&self.visible, path) { Ok(()) } else { Err(io::ErrorKind::NotFound.into()) }
    }

    /// Takes over what is durable. What lies in a directory without a name cannot be reached.
    fn settle(&mut self, mut names: Names, mut content: impl FnMut(u64) -> Vec<u8>) {
        let all = names.clone();
        names.retain(|path, _| is_reachable(&all, path));
        for entry in names.values() {
            if let Entry::File(inode) = entry {
                self.inodes.entry(*inode).or_insert_with(|| Inode::settled(content(*inode)));
            }
        }
        self.visible.clone_from(&names);
        self.durable = names;
    }
}

/// Whether the power failed during a call.
#[must_use]
pub(super) struct Power {
    fails: bool,
}

impl Power {
    pub(super) fn check(self) -> io::Result<()> {
        if self.fails { Err(power_failed()) } else { Ok(()) }
    }
}

impl Backend for MemoryDisk {
    fn create_dir(&self, dir: &Path) -> io::Result<bool> {
        {
            let disk = self.state.lock();
            disk.has_power()?;
            match disk.visible.get(dir) {
                Some(Entry::File(_)) => return Err(io::ErrorKind::AlreadyExists.into()),
                Some(Entry::Directory) => return Ok(false),
                None if dir.file_name().is_none() => return Ok(false),
                None => {}
            }
        }
        self.name(FaultyCall::CreateDirectory, |disk| {
            disk.check_parent(dir)?;
            Ok(vec![(dir.to_owned(), Some(Entry::Directory))])
        })?;
        Ok(true)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn DirectoryLock>> {
        let mut disk = self.state.lock();
        disk.has_power()?;
        disk.check_parent(path)?;
        if !disk.locked.insert(path.to_owned()) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(MemoryLock { state: Arc::clone(&self.state), path: path.to_owned() }))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let disk = self.state.lock();
        disk.has_power()?;
        let inside = disk.visible.keys().filter(|path| path.parent() == Some(dir));
        Ok(inside
            .filter_map(|path| path.file_name())
            .map(|name| name.to_string_lossy().into())
            .collect())
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn BackendFile>> {
        let mut created = 0;
        self.name(FaultyCall::Create, |disk| {
            disk.check_parent(path)?;
            created = disk.next_inode;
            disk.next_inode += 1;
            disk.inodes.insert(created, Inode::default());
            Ok(vec![(path.to_owned(), Some(Entry::File(created)))])
        })?;
        Ok(Box::new(MemoryFile::new(Arc::clone(&self.state), created)))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn BackendFile>> {
        let disk = self.state.lock();
        disk.has_power()?;
        let inode = disk.file(path)?;
        Ok(Box::new(MemoryFile::new(Arc::clone(&self.state), inode)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.name(FaultyCall::Rename, |disk| {
            assert_eq!(from.parent(), to.parent(), "names move within a directory");
            let inode = disk.file(from)?;
            Ok(vec![(from.to_owned(), None), (to.to_owned(), Some(Entry::File(inode)))])
        })
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.name(FaultyCall::Remove, |disk| {
            disk.file(path)?;
            Ok(vec![(path.to_owned(), None)])
        })
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut disk = self.state.lock();
        let power = disk.begin(FaultyCall::SyncDirectory);
        // Without power nothing happens any more, not even a loss.
        disk.has_power().or_else(|error| if power.is_ok() { Ok(()) } else { Err(error) })?;
        let pending = std::mem::take(&mut disk.pending);
        let is_inside = |change: &Change| change.iter().all(|(path, _)| parent(path) == dir);
        let (inside, outside): (Vec<_>, _) = pending.into_iter().partition(is_inside);
        disk.pending = outside;
        // Like the bytes of a file, names whose sync has failed will never be durable.
        let power = power?;
        for change in &inside {
            apply(&mut disk.durable, change);
        }
        power.check()
    }
}

#[derive(Debug)]
struct MemoryLock {
    state: Arc<Mutex<Disk>>,
    path: PathBuf,
}

impl DirectoryLock for MemoryLock {}

impl Drop for MemoryLock {
    fn drop(&mut self) {
        self.state.lock().locked.remove(&self.path);
    }
}

/// Small and seeded (splitmix64): which sectors survive needs no better.
pub(super) struct Random(u64);

impl Random {
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}

impl Entry {
    fn length(self, inodes: &BTreeMap<u64, Inode>) -> u64 {
        match self {
            Self::File(inode) => inodes[&inode].length(),
            Self::Directory => 0,
        }
    }
}

/// Whether every directory above `path` has a name.
fn is_reachable(names: &Names, path: &Path) -> bool {
    let mut above = path.ancestors().skip(1).filter(|dir| dir.file_name().is_some());
    above.all(|dir| names.get(dir) == Some(&Entry::Directory))
}

fn apply(names: &mut Names, change: &[(PathBuf, Option<Entry>)]) {
    for (path, entry) in change {
        match entry {
            Some(entry) => names.insert(path.clone(), *entry),
            None => names.remove(path),
        };
    }
}

fn power_failed() -> io::Error {
    io::Error::other("the power has failed")
}
