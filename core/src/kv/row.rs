//! One entry of the store.

use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64;

use super::command::KEY_BYTES_MAX;
use crate::cow::Row;

/// A key with its value, in one piece of memory: who finds the key has the value at hand. It is an
/// owned copy, never a slice of a received frame, which would keep the whole frame alive; and it is
/// shared, so that an entry can be cloned for nothing.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    bytes: Arc<[u8]>,
    key_length: u32,
}

impl Entry {
    pub(super) fn new(key: &[u8], value: &[u8]) -> Self {
        assert!(key.len() <= KEY_BYTES_MAX, "a decoder let a key of {} bytes pass", key.len());
        Self { bytes: [key, value].concat().into(), key_length: key.len() as u32 }
    }

    /// Puts another value under the same key: in place, if it is as long as the old one and no
    /// frozen table shares this entry.
    pub(super) fn replace(&mut self, value: &[u8]) {
        let start = self.key_length as usize;
        match Arc::get_mut(&mut self.bytes) {
            Some(bytes) if bytes.len() - start == value.len() => {
                bytes[start..].copy_from_slice(value);
            }
            _ => *self = Self::new(self.key(), value),
        }
    }

    pub(super) fn value(&self) -> &[u8] {
        &self.bytes[self.key_length as usize..]
    }

    /// Its part of the state hash.
    pub(super) fn print(&self) -> u64 {
        print(self.key(), self.value())
    }
}

impl Row for Entry {
    type Key = [u8];

    fn key(&self) -> &[u8] {
        &self.bytes[..self.key_length as usize]
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
