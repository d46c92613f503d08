//! A key, what it holds, and until when.

use bytes::Bytes;
use panchayat::KeyHash;
use panchayat::cow::Row;

use super::lists::List;
use super::members::Members;
use super::sorted_set::SortedSet;

/// Fields and values.
pub(super) type Hash = Members<Bytes>;
/// Members.
pub(super) type Set = Members<()>;

/// What a key holds.
#[derive(Clone, Debug)]
pub(super) enum Value {
    String(Bytes),
    Hash(Box<Hash>),
    List(Box<List>),
    Set(Box<Set>),
    SortedSet(Box<SortedSet>),
}

/// A key of the table.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) key: Bytes,
    pub(super) value: Value,
    /// When it expires, in milliseconds since 1970; 0 for never.
    pub(super) expires_at: u64,
    /// Which command changed it last.
    pub(super) version: u64,
    /// Its part of the state hash, as of its last change.
    pub(super) print: u64,
}

impl Value {
    /// The name of its type, as `TYPE` gives it.
    pub(super) fn type_name(&self) -> &'static str {
        match self {
            Self::String(_) => "string",
            Self::Hash(_) => "hash",
            Self::List(_) => "list",
            Self::Set(_) => "set",
            Self::SortedSet(_) => "zset",
        }
    }

    /// Whether nothing is in it: then its key goes. A string may be empty.
    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::String(_) => false,
            Self::Hash(hash) => hash.is_empty(),
            Self::List(list) => list.is_empty(),
            Self::Set(set) => set.is_empty(),
            Self::SortedSet(sorted) => sorted.is_empty(),
        }
    }

    /// Tells types apart in prints and snapshots.
    pub(super) fn tag(&self) -> u8 {
        match self {
            Self::String(_) => 0,
            Self::Hash(_) => 1,
            Self::List(_) => 2,
            Self::Set(_) => 3,
            Self::SortedSet(_) => 4,
        }
    }

    fn print(&self) -> u64 {
        match self {
            Self::String(bytes) => KeyHash::of(bytes).0,
            Self::Hash(hash) => hash.print(),
            Self::List(list) => list.print(),
            Self::Set(set) => set.print(),
            Self::SortedSet(sorted) => sorted.print(),
        }
    }
}

impl Entry {
    /// Its part of the state hash, from what it is now.
    pub(super) fn compute_print(&self) -> u64 {
        const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut print = KeyHash::of(&self.key).0;
        for part in [u64::from(self.value.tag()), self.value.print(), self.expires_at, self.version]
        {
            print = (print.rotate_left(25) ^ part).wrapping_mul(SPREAD);
        }
        print
    }

    /// Whether its time has come by `now_ms`.
    pub(super) fn is_due(&self, now_ms: u64) -> bool {
        self.expires_at != 0 && self.expires_at <= now_ms
    }
}

impl Row for Entry {
    type Key = [u8];

    fn key(&self) -> &[u8] {
        &self.key
    }

    fn hash(key: &[u8]) -> u64 {
        KeyHash::of(key).0
    }
}

/// A type of value, with an empty one to begin with.
pub(super) trait Kind: Default + Clone {
    fn of(value: &Value) -> Option<&Self>;
    fn of_mut(value: &mut Value) -> Option<&mut Self>;
    fn into_value(self) -> Value;
}

macro_rules! kinds {
    ($($kind:ty => $variant:ident),* $(,)?) => {
        $(impl Kind for $kind {
            fn of(value: &Value) -> Option<&Self> {
                match value {
                    Value::$variant(inner) => Some(inner),
                    _ => None,
                }
            }

            fn of_mut(value: &mut Value) -> Option<&mut Self> {
                match value {
                    Value::$variant(inner) => Some(inner),
                    _ => None,
                }
            }

            fn into_value(self) -> Value {
                Value::$variant(self.into())
            }
        })*
    };
}

kinds! {
    Bytes => String,
    Hash => Hash,
    List => List,
    Set => Set,
    SortedSet => SortedSet,
}
