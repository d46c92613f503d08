//! A file of the disk in memory: what readers see, what is durable, and the writes in between.

use std::io;
use std::sync::Arc;

use panchayat_core::journal::SECTOR;
use parking_lot::Mutex;

use super::BackendFile;
use super::memory::{Disk, FaultyCall, Random};

/// The content of a file.
#[derive(Clone, Debug, Default)]
pub(super) struct Inode {
    visible: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<Change>,
}

#[derive(Clone, Debug)]
enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    Length(usize),
}

impl Inode {
    /// A file whose content is durable.
    pub(super) fn settled(content: Vec<u8>) -> Self {
        Self { visible: content.clone(), durable: content, pending: Vec::new() }
    }

    pub(super) fn durable(&self) -> &[u8] {
        &self.durable
    }

    pub(super) fn length(&self) -> u64 {
        self.visible.len() as u64
    }

    pub(super) fn damage(&mut self, change: impl FnOnce(&mut Vec<u8>)) {
        change(&mut self.visible);
        self.durable.clone_from(&self.visible);
        self.pending.clear();
    }

    /// The content after power loss: of every unsynced write an arbitrary choice of sectors.
    pub(super) fn shuffled(&self, random: &mut Random) -> Vec<u8> {
        let mut content = self.durable.clone();
        for change in &self.pending {
            match change {
                Change::Length(_) if random.below(2) == 0 => {}
                Change::Length(_) => change.apply(&mut content),
                Change::Write { offset, bytes } => {
                    let mut at = 0;
                    while at < bytes.len() {
                        let end = bytes.len().min(at + SECTOR - (offset + at) % SECTOR);
                        if random.below(2) == 0 {
                            put(&mut content, offset + at, &bytes[at..end]);
                        }
                        at = end;
                    }
                }
            }
        }
        content
    }

    fn change(&mut self, change: Change) {
        change.apply(&mut self.visible);
        self.pending.push(change);
    }

    fn sync(&mut self) {
        for change in self.pending.drain(..) {
            change.apply(&mut self.durable);
        }
    }
}

impl Change {
    fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Self::Write { offset, bytes } => put(content, *offset, bytes),
            Self::Length(length) => content.resize(*length, 0),
        }
    }
}

fn put(content: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if content.len() < end {
        content.resize(end, 0);
    }
    content[offset..end].copy_from_slice(bytes);
}

/// An open file.
#[derive(Debug)]
pub(super) struct MemoryFile {
    state: Arc<Mutex<Disk>>,
    inode: u64,
}

impl MemoryFile {
    pub(super) fn new(state: Arc<Mutex<Disk>>, inode: u64) -> Self {
        Self { state, inode }
    }
}

impl BackendFile for MemoryFile {
    fn read_all(&self, bytes_max: u64) -> io::Result<Vec<u8>> {
        let mut disk = self.state.lock();
        disk.has_power()?;
        let inode = disk.inode(self.inode);
        if inode.length() > bytes_max {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        Ok(inode.visible.clone())
    }

    fn length(&self) -> io::Result<u64> {
        let mut disk = self.state.lock();
        disk.has_power()?;
        Ok(disk.inode(self.inode).length())
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<usize> {
        let mut disk = self.state.lock();
        disk.has_power()?;
        let visible = &disk.inode(self.inode).visible;
        let rest = visible.get(offset as usize..).unwrap_or_default();
        let length = rest.len().min(out.len());
        out[..length].copy_from_slice(&rest[..length]);
        Ok(length)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        let mut disk = self.state.lock();
        let power = disk.begin(FaultyCall::Write)?;
        let length = disk.inode(self.inode).length();
        let limit = length.saturating_add(disk.room()).saturating_sub(offset);
        let mut taken = bytes.len().min(usize::try_from(limit).unwrap_or(usize::MAX));
        if taken == 0 && !bytes.is_empty() {
            return Err(io::Error::from_raw_os_error(rustix::io::Errno::NOSPC.raw_os_error()));
        }
        taken = taken.min(disk.write_bytes_max.unwrap_or(usize::MAX));
        let bytes = bytes[..taken].to_vec();
        disk.inode(self.inode).change(Change::Write { offset: offset as usize, bytes });
        power.check()?;
        Ok(taken)
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        let mut disk = self.state.lock();
        let power = disk.begin(FaultyCall::SetLength)?;
        disk.inode(self.inode).change(Change::Length(bytes as usize));
        power.check()
    }

    fn sync_data(&self) -> io::Result<()> {
        let delay = self.state.lock().sync_delay;
        if !delay.is_zero() {
            std::thread::sleep(delay);
        }
        let mut disk = self.state.lock();
        match disk.begin(FaultyCall::Sync) {
            Ok(power) => {
                disk.inode(self.inode).sync();
                power.check()
            }
            Err(error) => {
                // Without power nothing happens any more, not even a loss.
                if disk.has_power().is_ok() {
                    disk.inode(self.inode).pending.clear();
                }
                Err(error)
            }
        }
    }

    fn sync_all(&self) -> io::Result<()> {
        self.sync_data()
    }
}
