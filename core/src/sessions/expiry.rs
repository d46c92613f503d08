//! Which requests expire next.
//!
//! Requests are gathered by the second in which they were issued, and forgotten by the gatherful,
//! a bounded number at a time: nothing ever scans the table.

use std::collections::BTreeMap;

use panchayat_consensus::WallTime;

use super::entry::Name;

/// How much of time shares one bucket, in microseconds. So much later than it could an entry is
/// dropped.
const BUCKET_US: u64 = 1_000_000;

/// The names of requests, by when they were issued.
#[derive(Clone, Debug, Default)]
pub(super) struct Expiry {
    buckets: BTreeMap<u64, Vec<Name>>,
}

impl Expiry {
    pub(super) fn add(&mut self, issued_at: WallTime, name: Name) {
        self.buckets.entry(issued_at.0 / BUCKET_US).or_default().push(name);
    }

    /// A name from a bucket in which every request was issued at `issued_by` or before.
    pub(super) fn take(&mut self, issued_by: WallTime) -> Option<Name> {
        loop {
            let mut first = self.buckets.first_entry()?;
            // The bucket's last microsecond is the one before the next bucket's first.
            if (*first.key() + 1).saturating_mul(BUCKET_US) > issued_by.0.saturating_add(1) {
                return None;
            }
            match first.get_mut().pop() {
                Some(name) => return Some(name),
                None => _ = first.remove(),
            }
        }
    }
}
