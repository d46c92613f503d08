//! One entry of the store.

use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64;

use crate::cow::Row;

/// A key with its value. Both are owned copies, never slices of received frames, which would keep
/// whole frames alive; and both are shared, so that a row can be cloned for nothing.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) key: Arc<[u8]>,
    pub(super) value: Arc<[u8]>,
}

impl Entry {
    /// Its part of the state hash.
    pub(super) fn print(&self) -> u64 {
        print(&self.key, &self.value)
    }
}

impl Row for Entry {
    type Key = [u8];

    fn key(&self) -> &[u8] {
        &self.key
    }

    fn hash(key: &[u8]) -> u64 {
        xxh3_64(key)
    }
}

/// The part of `key` with `value` in the state hash.
pub(super) fn print(key: &[u8], value: &[u8]) -> u64 {
    xxh3_64(key).rotate_left(17).wrapping_mul(0x9e37_79b9_7f4a_7c15)
        ^ xxh3_64(value).wrapping_add(1)
}
