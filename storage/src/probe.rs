//! How long a sync takes on a disk, so that an experiment can say what its disk was like.

use std::path::Path;
use std::time::{Duration, Instant};

use panchayat_core::journal::SECTOR;

use crate::backend::{Backend, BackendFile, RealFiles, write_all_at};
use crate::error::StorageError;
use crate::stats::{record, sync_histogram};

const SYNCS: usize = 200;
/// Not counted: the first syncs still pay for the file's own metadata.
const WARM_UP: usize = 10;

/// How long writing and syncing one small batch took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SyncLatency {
    /// Half took at most this long.
    pub p50: Duration,
    /// 99 of 100 took at most this long.
    pub p99: Duration,
}

/// Appends and syncs small batches, one after the other, to a scratch file in `dir`, in the way
/// of the journal: sector after sector of a zero-filled file, one write and one sync each.
///
/// # Errors
/// [`StorageError::Io`] or [`StorageError::DiskFull`].
pub fn measure_sync(dir: &Path) -> Result<SyncLatency, StorageError> {
    let path = dir.join(format!(".sync-probe-{}", std::process::id()));
    let file = RealFiles.create(&path).map_err(StorageError::io("create", &path))?;
    let measured = measure(&*file).map_err(StorageError::io("write and sync", &path));
    let removed = RealFiles.remove(&path).map_err(StorageError::io("remove", &path));
    let latency = measured?;
    removed?;
    Ok(latency)
}

fn measure(file: &dyn BackendFile) -> std::io::Result<SyncLatency> {
    write_all_at(file, 0, &vec![0; (WARM_UP + SYNCS) * SECTOR])?;
    file.sync_all()?;
    let mut histogram = sync_histogram();
    for index in 0..WARM_UP + SYNCS {
        let started = Instant::now();
        write_all_at(file, (index * SECTOR) as u64, &[0xa5; SECTOR])?;
        file.sync_data()?;
        if index >= WARM_UP {
            record(&mut histogram, started.elapsed());
        }
    }
    Ok(SyncLatency {
        p50: Duration::from_nanos(histogram.value_at_quantile(0.5)),
        p99: Duration::from_nanos(histogram.value_at_quantile(0.99)),
    })
}
