//! Real files whose unsynced bytes and names live in the memory of this process.
//!
//! `kill -9` then loses exactly what a power cut may lose: the page cache of the kernel, which
//! outlives a process, never sees a byte before the sync that the writer asked for. Used by the
//! tests that kill real processes. A sync writes to the page cache and no further: the machine
//! itself is not meant to lose power in those tests.
//!
//! Every file has a real file from the start, under a hidden name until a directory sync gives it
//! its own. A killed process leaves hidden files behind; they are not listed and are removed by
//! the next lock of the directory.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::{Backend, BackendFile, DirectoryLock, RealFiles};

const PAGE: u64 = 4096;
const HIDDEN: &str = ".unsynced-";

/// Files of which only what was synced is in the file system.
#[derive(Debug, Default)]
pub struct UnsyncedInMemory {
    names: Mutex<Names>,
}

#[derive(Debug, Default)]
struct Names {
    /// What this process sees where it differs from the file system; `None` for removed.
    changed: BTreeMap<PathBuf, Option<Arc<Inode>>>,
    next_hidden: u64,
}

/// A file that may have no name yet.
#[derive(Debug)]
struct Inode {
    file: File,
    /// Its name in the file system.
    home: Mutex<PathBuf>,
    unsynced: Mutex<Unsynced>,
}

/// Pages and length that the real file does not have yet.
#[derive(Debug)]
struct Unsynced {
    pages: BTreeMap<u64, Vec<u8>>,
    length: u64,
}

impl UnsyncedInMemory {
    /// A backend with nothing unsynced.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Inode {
    fn open(file: File, home: PathBuf) -> io::Result<Arc<Self>> {
        let length = file.metadata()?.len();
        Ok(Arc::new(Self {
            file,
            home: Mutex::new(home),
            unsynced: Mutex::new(Unsynced { pages: BTreeMap::new(), length }),
        }))
    }

    /// The page as this process sees it, with zeros beyond the end of the real file.
    fn real_page(&self, page: u64) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; PAGE as usize];
        let mut at = 0;
        while at < bytes.len() {
            match self.file.read_at(&mut bytes[at..], page * PAGE + at as u64)? {
                0 => break,
                read => at += read,
            }
        }
        Ok(bytes)
    }
}

impl Backend for UnsyncedInMemory {
    fn create_dir(&self, dir: &Path) -> io::Result<bool> {
        RealFiles.create_dir(dir)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn DirectoryLock>> {
        let lock = RealFiles.lock(path)?;
        if let Some(dir) = path.parent() {
            for name in RealFiles.list(dir)? {
                if name.starts_with(HIDDEN) {
                    std::fs::remove_file(dir.join(name))?;
                }
            }
        }
        Ok(lock)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let names = self.names.lock();
        let mut listed = RealFiles.list(dir)?;
        listed.retain(|name| {
            !name.starts_with(HIDDEN) && !names.changed.contains_key(&dir.join(name))
        });
        for (path, inode) in &names.changed {
            if inode.is_some() && path.parent() == Some(dir) {
                listed.extend(path.file_name().map(|name| name.to_string_lossy().into_owned()));
            }
        }
        Ok(listed)
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn BackendFile>> {
        let mut names = self.names.lock();
        let home = path.with_file_name(format!("{HIDDEN}{}", names.next_hidden));
        names.next_hidden += 1;
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&home)?;
        let inode = Inode::open(file, home)?;
        names.changed.insert(path.to_owned(), Some(Arc::clone(&inode)));
        Ok(Box::new(UnsyncedFile { inode }))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn BackendFile>> {
        let mut names = self.names.lock();
        let inode = find(&names, path)?;
        // The next to open it must see what this one did not sync.
        names.changed.insert(path.to_owned(), Some(Arc::clone(&inode)));
        Ok(Box::new(UnsyncedFile { inode }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut names = self.names.lock();
        let inode = find(&names, from)?;
        names.changed.insert(from.to_owned(), None);
        names.changed.insert(to.to_owned(), Some(inode));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut names = self.names.lock();
        find(&names, path)?;
        names.changed.insert(path.to_owned(), None);
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut names = self.names.lock();
        let inside: Vec<_> =
            names.changed.keys().filter(|path| path.parent() == Some(dir)).cloned().collect();
        // New names first: a file that moves must not be gone in between.
        for path in &inside {
            if let Some(inode) = &names.changed[path] {
                let mut home = inode.home.lock();
                if *home != *path {
                    std::fs::rename(&*home, path)?;
                    home.clone_from(path);
                }
            }
        }
        for path in inside {
            if names.changed[&path].is_none() {
                match std::fs::remove_file(&path) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => names.changed.remove(&path),
                };
            }
        }
        Ok(())
    }
}

fn find(names: &Names, path: &Path) -> io::Result<Arc<Inode>> {
    match names.changed.get(path) {
        Some(Some(inode)) => Ok(Arc::clone(inode)),
        Some(None) => Err(io::ErrorKind::NotFound.into()),
        None => {
            let file = OpenOptions::new().read(true).write(true).open(path)?;
            Inode::open(file, path.to_owned())
        }
    }
}

#[derive(Debug)]
struct UnsyncedFile {
    inode: Arc<Inode>,
}

impl BackendFile for UnsyncedFile {
    fn read_all(&self, bytes_max: u64) -> io::Result<Vec<u8>> {
        let unsynced = self.inode.unsynced.lock();
        if unsynced.length > bytes_max {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let mut bytes = Vec::with_capacity(unsynced.length as usize);
        for page in 0..unsynced.length.div_ceil(PAGE) {
            match unsynced.pages.get(&page) {
                Some(content) => bytes.extend_from_slice(content),
                None => bytes.extend_from_slice(&self.inode.real_page(page)?),
            }
        }
        bytes.truncate(unsynced.length as usize);
        Ok(bytes)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.inode.unsynced.lock().length)
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<usize> {
        let unsynced = self.inode.unsynced.lock();
        let end = unsynced.length.saturating_sub(offset).min(out.len() as u64) as usize;
        let mut at = 0;
        while at < end {
            let position = offset + at as u64;
            let (page, inside) = (position / PAGE, (position % PAGE) as usize);
            let length = (PAGE as usize - inside).min(end - at);
            let here = inside..inside + length;
            match unsynced.pages.get(&page) {
                Some(content) => out[at..at + length].copy_from_slice(&content[here]),
                None => out[at..at + length].copy_from_slice(&self.inode.real_page(page)?[here]),
            }
            at += length;
        }
        Ok(end)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        let mut unsynced = self.inode.unsynced.lock();
        let mut at = 0;
        while at < bytes.len() {
            let position = offset + at as u64;
            let (page, inside) = (position / PAGE, (position % PAGE) as usize);
            let length = (PAGE as usize - inside).min(bytes.len() - at);
            let content = match unsynced.pages.entry(page) {
                std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
                std::collections::btree_map::Entry::Vacant(entry) => {
                    entry.insert(self.inode.real_page(page)?)
                }
            };
            content[inside..inside + length].copy_from_slice(&bytes[at..at + length]);
            at += length;
        }
        unsynced.length = unsynced.length.max(offset + bytes.len() as u64);
        Ok(bytes.len())
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        let mut unsynced = self.inode.unsynced.lock();
        if bytes < unsynced.length {
            // What lies above must read as zero if the file grows again.
            let (first, inside) = (bytes / PAGE, (bytes % PAGE) as usize);
            let last = unsynced.length.div_ceil(PAGE);
            let mut boundary = match unsynced.pages.remove(&first) {
                Some(content) => content,
                None => self.inode.real_page(first)?,
            };
            boundary[inside..].fill(0);
            unsynced.pages.insert(first, boundary);
            for page in first + 1..last {
                unsynced.pages.insert(page, vec![0; PAGE as usize]);
            }
        }
        unsynced.length = bytes;
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut unsynced = self.inode.unsynced.lock();
        let length = unsynced.length;
        for (page, content) in std::mem::take(&mut unsynced.pages) {
            let offset = page * PAGE;
            let inside = length.saturating_sub(offset).min(PAGE) as usize;
            self.inode.file.write_all_at(&content[..inside], offset)?;
        }
        self.inode.file.set_len(length)
    }

    fn sync_all(&self) -> io::Result<()> {
        self.sync_data()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(path: &Path) -> Option<Vec<u8>> {
        std::fs::read(path).ok()
    }

    #[test]
    fn bytes_and_names_wait_for_their_sync() {
        let dir = tempfile::tempdir().unwrap();
        let (backend, path) = (UnsyncedInMemory::new(), dir.path().join("a"));
        let file = backend.create(&path).unwrap();
        file.write_at(5000, b"hello").unwrap();
        assert_eq!(file.read_all(1 << 20).unwrap().len(), 5005);
        assert_eq!(backend.list(dir.path()).unwrap(), ["a"]);
        backend.sync_dir(dir.path()).unwrap();
        assert_eq!(read(&path).unwrap(), b"", "the name is durable, the bytes are not");
        file.sync_data().unwrap();
        assert_eq!(&read(&path).unwrap()[5000..], b"hello");
        file.write_at(0, b"later").unwrap();
        assert_eq!(read(&path).unwrap()[..5], [0; 5]);
        assert_eq!(&backend.open(&path).unwrap().read_all(1 << 20).unwrap()[..5], b"later");
    }

    #[test]
    fn renames_and_removals_wait_for_the_directory() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        let backend = UnsyncedInMemory::new();
        backend.create(&a).unwrap();
        backend.sync_dir(dir.path()).unwrap();
        backend.rename(&a, &b).unwrap();
        assert_eq!(backend.list(dir.path()).unwrap(), ["b"]);
        assert!(a.exists() && !b.exists());
        backend.sync_dir(dir.path()).unwrap();
        assert!(!a.exists() && b.exists());
        backend.remove(&b).unwrap();
        assert!(backend.open(&b).is_err() && b.exists());
        backend.sync_dir(dir.path()).unwrap();
        assert!(!b.exists());
    }

    #[test]
    fn a_truncation_waits_too_and_leaves_zeros() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        std::fs::write(&path, [1; 10_000]).unwrap();
        let backend = UnsyncedInMemory::new();
        let file = backend.open(&path).unwrap();
        file.set_len(100).unwrap();
        assert_eq!(read(&path).unwrap().len(), 10_000);
        file.set_len(9000).unwrap();
        let mut expected = vec![1; 100];
        expected.resize(9000, 0);
        assert_eq!(file.read_all(1 << 20).unwrap(), expected);
        file.sync_all().unwrap();
        assert_eq!(read(&path).unwrap(), expected);
    }
}
