//! What a command touches, and when two commands conflict.

use smallvec::SmallVec;

use crate::wire::{Decode, DecodeError, Encode, Reader, Writer};

/// Most keys one command may name.
pub const FOOTPRINT_KEYS_MAX: usize = 1 << 16;

/// A key as consensus sees it: the 64-bit hash of its bytes. A collision only adds a conflict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyHash(pub u64);

impl KeyHash {
    /// The hash of `key`: XXH3-64 without a seed. It is agreed data, so it may change only with
    /// the format version of messages and records.
    pub fn of(key: &[u8]) -> Self {
        Self(xxhash_rust::xxh3::xxh3_64(key))
    }
}

/// How a command touches a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mode {
    /// Looks at the value. Does not conflict with other reads.
    Read,
    /// Changes the value in a way that commutes with every other `Commute` of this key and whose
    /// output does not depend on the value.
    Commute,
    /// Anything else.
    Write,
}

impl Mode {
    /// How many modes there are; `mode as usize` is below it.
    pub const COUNT: usize = 3;

    /// Every mode.
    pub const ALL: [Self; Self::COUNT] = [Self::Read, Self::Commute, Self::Write];

    /// Whether two commands that touch one key in these modes must be ordered.
    pub const fn conflicts(self, other: Self) -> bool {
        !matches!((self, other), (Self::Read, Self::Read) | (Self::Commute, Self::Commute))
    }

    /// The mode of a command that touches one key in both modes.
    pub fn and(self, other: Self) -> Self {
        if self == other { self } else { Self::Write }
    }
}

/// The keys of a command with their modes, or "everything".
///
/// The coordinator computes it once and it travels with the command, so replicas never disagree on
/// what conflicts. Keys are sorted and named once.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Footprint {
    keys: SmallVec<[(KeyHash, Mode); 2]>,
    barrier: bool,
    seal: bool,
}

impl Footprint {
    /// Conflicts with every command.
    pub fn barrier() -> Self {
        Self { keys: SmallVec::new(), barrier: true, seal: false }
    }

    /// Conflicts with every command, and ends its epoch: that of a [seal](crate::Command::seal).
    pub(crate) fn seal() -> Self {
        Self { seal: true, ..Self::barrier() }
    }

    /// The footprint that names `keys`, in any order and as often as the caller likes.
    ///
    /// # Panics
    /// If there are more than [`FOOTPRINT_KEYS_MAX`] distinct keys; state machines bound their
    /// commands below that.
    pub fn new(keys: impl IntoIterator<Item = (KeyHash, Mode)>) -> Self {
        let mut keys: SmallVec<[(KeyHash, Mode); 2]> = keys.into_iter().collect();
        keys.sort_unstable();
        keys.dedup_by(|later, earlier| {
            let same = later.0 == earlier.0;
            if same {
                earlier.1 = earlier.1.and(later.1);
            }
            same
        });
        assert!(keys.len() <= FOOTPRINT_KEYS_MAX, "a command may name {FOOTPRINT_KEYS_MAX} keys");
        Self { keys, barrier: false, seal: false }
    }

    /// The same with one more key. A barrier conflicts with every key as it is.
    ///
    /// # Panics
    /// As [`new`](Self::new).
    pub fn with(self, key: KeyHash, mode: Mode) -> Self {
        if self.barrier { self } else { Self::new(self.keys.into_iter().chain([(key, mode)])) }
    }

    /// One key, written.
    pub fn write(key: &[u8]) -> Self {
        Self::new([(KeyHash::of(key), Mode::Write)])
    }

    /// One key, read.
    pub fn read(key: &[u8]) -> Self {
        Self::new([(KeyHash::of(key), Mode::Read)])
    }

    /// The keys, ascending, each once. Empty for a barrier.
    pub fn keys(&self) -> &[(KeyHash, Mode)] {
        &self.keys
    }

    /// The key, if one is read and nothing else is done.
    pub fn one_read(&self) -> Option<KeyHash> {
        match self.keys() {
            [(key, Mode::Read)] if !self.barrier => Some(*key),
            _ => None,
        }
    }

    /// Whether the command conflicts with everything.
    pub fn is_barrier(&self) -> bool {
        self.barrier
    }

    /// Whether the command ends its epoch.
    pub fn is_seal(&self) -> bool {
        self.seal
    }

    /// Whether commands with these footprints must be ordered.
    pub fn conflicts(&self, other: &Self) -> bool {
        if self.barrier || other.barrier {
            return true;
        }
        let (mut mine, mut theirs) = (self.keys.iter().peekable(), other.keys.iter().peekable());
        while let (Some((a, mode_a)), Some((b, mode_b))) = (mine.peek(), theirs.peek()) {
            match a.cmp(b) {
                std::cmp::Ordering::Less => _ = mine.next(),
                std::cmp::Ordering::Greater => _ = theirs.next(),
                std::cmp::Ordering::Equal => {
                    if mode_a.conflicts(*mode_b) {
                        return true;
                    }
                    mine.next();
                    theirs.next();
                }
            }
        }
        false
    }
}

impl Encode for Footprint {
    fn encode(&self, out: &mut Writer) {
        if self.barrier {
            out.put_u8(if self.seal { 2 } else { 1 });
            return;
        }
        out.put_u8(0);
        out.put_varint(self.keys.len() as u64);
        for (key, mode) in &self.keys {
            out.put_u64(key.0);
            out.put_u8(*mode as u8);
        }
    }
}

impl Decode for Footprint {
    fn decode(input: &mut Reader) -> Result<Self, DecodeError> {
        match input.u8()? {
            2 => return Ok(Self::seal()),
            1 => return Ok(Self::barrier()),
            0 => {}
            tag => return Err(DecodeError::UnknownTag { what: "footprint", tag }),
        }
        let count = input.count("footprint keys", 9, FOOTPRINT_KEYS_MAX)?;
        let mut keys: SmallVec<[(KeyHash, Mode); 2]> = SmallVec::with_capacity(count);
        for _ in 0..count {
            let key = KeyHash(input.u64()?);
            let mode = match input.u8()? {
                0 => Mode::Read,
                1 => Mode::Commute,
                2 => Mode::Write,
                tag => return Err(DecodeError::UnknownTag { what: "mode", tag }),
            };
            if keys.last().is_some_and(|(last, _)| *last >= key) {
                return Err(DecodeError::OutOfRange("footprint order"));
            }
            keys.push((key, mode));
        }
        Ok(Self { keys, barrier: false, seal: false })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{from_bytes, to_bytes};

    fn footprint(keys: &[(u64, Mode)]) -> Footprint {
        Footprint::new(keys.iter().map(|(key, mode)| (KeyHash(*key), *mode)))
    }

    #[test]
    fn only_reads_and_only_commutes_pass_each_other() {
        for a in Mode::ALL {
            for b in Mode::ALL {
                let apart = a == b && a != Mode::Write;
                assert_eq!(footprint(&[(1, a)]).conflicts(&footprint(&[(1, b)])), !apart);
                assert!(!footprint(&[(1, a)]).conflicts(&footprint(&[(2, b)])));
                assert!(footprint(&[(1, a)]).conflicts(&Footprint::barrier()));
            }
        }
        assert!(Footprint::barrier().conflicts(&Footprint::barrier()));
    }

    #[test]
    fn one_shared_key_among_many_is_found() {
        let a = footprint(&[(1, Mode::Write), (5, Mode::Read), (9, Mode::Write)]);
        assert!(a.conflicts(&footprint(&[(2, Mode::Write), (9, Mode::Read)])));
        assert!(!a.conflicts(&footprint(&[(2, Mode::Write), (5, Mode::Read)])));
    }

    #[test]
    fn a_key_named_twice_in_different_modes_is_written() {
        let both = footprint(&[(1, Mode::Commute), (1, Mode::Read)]);
        assert_eq!(both.keys(), [(KeyHash(1), Mode::Write)]);
    }

    #[test]
    fn the_key_hash_never_changes() {
        assert_eq!(KeyHash::of(b"mumbai"), KeyHash(xxhash_rust::xxh3::xxh3_64(b"mumbai")));
        assert_eq!(KeyHash::of(b""), KeyHash(0x2d06_8005_38d3_94c2));
    }

    #[test]
    fn the_wire_form_comes_back_and_disorder_is_refused() {
        for footprint in [
            Footprint::barrier(),
            Footprint::seal(),
            footprint(&[]),
            footprint(&[(3, Mode::Read), (u64::MAX, Mode::Write), (7, Mode::Commute)]),
        ] {
            assert_eq!(from_bytes::<Footprint>(to_bytes(&footprint)), Ok(footprint));
        }
        let mut out = Writer::default();
        out.put_u8(0);
        out.put_varint(2);
        for key in [9, 3] {
            out.put_u64(key);
            out.put_u8(0);
        }
        assert_eq!(
            from_bytes::<Footprint>(out.finish()),
            Err(DecodeError::OutOfRange("footprint order"))
        );
    }
}
