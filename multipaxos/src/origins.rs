//! Which commands are applied, by the names their origins gave them.
//!
//! The table is a function of the log alone, so all replicas agree on which of two slots with the
//! same command is the duplicate. It stays small because every command says below which number its
//! origin waits for nothing any more.

use std::collections::BTreeSet;

use panchayat_consensus::ReplicaId;
use panchayat_consensus::wire::{Decode, DecodeError, Encode, Reader, Writer};

/// Most numbers beyond the settled ones that a decoder believes in.
const BEYOND_MAX: usize = 1 << 24;
/// Numbers above this are refused on input, so that adding one never overflows.
pub(crate) const NUMBER_MAX: u64 = 1 << 62;

/// The applied commands of one origin.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Applied {
    upto: u64,
    beyond: BTreeSet<u64>,
}

impl Applied {
    /// Applies `number`; false if that was done, or settled otherwise, before. `floor` is the
    /// number up to which the origin waits for nothing.
    pub fn apply(&mut self, number: u64, floor: u64) -> bool {
        let fresh = !self.contains(number);
        if fresh {
            self.beyond.insert(number);
        }
        if floor > self.upto {
            self.upto = floor;
            self.beyond = self.beyond.split_off(&(floor + 1));
        }
        while self.beyond.first().is_some_and(|first| *first == self.upto + 1) {
            self.beyond.pop_first();
            self.upto += 1;
        }
        fresh
    }

    /// Whether `number` would be a duplicate.
    pub fn contains(&self, number: u64) -> bool {
        number <= self.upto || self.beyond.contains(&number)
    }
}

/// One table per member.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Origins(pub(crate) Vec<Applied>);

impl Origins {
    pub(crate) fn new(n: usize) -> Self {
        Self(vec![Applied::default(); n])
    }

    pub(crate) fn apply(&mut self, origin: ReplicaId, number: u64, floor: u64) -> bool {
        self.0.get_mut(origin.index()).is_some_and(|applied| applied.apply(number, floor))
    }

    pub(crate) fn contains(&self, origin: ReplicaId, number: u64) -> bool {
        self.0.get(origin.index()).is_none_or(|applied| applied.contains(number))
    }
}

impl Encode for Applied {
    fn encode(&self, out: &mut Writer) {
        out.put_varint(self.upto);
        out.put_varint(self.beyond.len() as u64);
        let mut last = self.upto;
        for number in &self.beyond {
            out.put_varint(number - last);
            last = *number;
        }
    }
}

impl Decode for Applied {
    fn decode(input: &mut Reader) -> Result<Self, DecodeError> {
        let upto = input.varint()?;
        if upto > NUMBER_MAX {
            return Err(DecodeError::OutOfRange("applied number"));
        }
        let count = input.count("applied numbers", 1, BEYOND_MAX)?;
        let mut beyond = BTreeSet::new();
        let mut last = upto;
        for _ in 0..count {
            let step = input.varint()?;
            // One apart from the settled ones would have been settled itself.
            let too_small = step == 0 || (last == upto && step == 1);
            last = match last.checked_add(step) {
                Some(number) if !too_small && number <= NUMBER_MAX => number,
                _ => return Err(DecodeError::OutOfRange("applied number")),
            };
            beyond.insert(last);
        }
        Ok(Self { upto, beyond })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_is_applied_once_in_any_order() {
        let mut applied = Applied::default();
        for number in [3, 1, 4, 2] {
            assert!(applied.apply(number, 0), "{number}");
        }
        for number in 1..=4 {
            assert!(!applied.apply(number, 0), "{number}");
        }
        assert_eq!(applied, Applied { upto: 4, beyond: BTreeSet::new() });
    }

    #[test]
    fn what_the_origin_settled_is_a_duplicate() {
        let mut applied = Applied::default();
        assert!(applied.apply(1 << 40 | 7, 1 << 40));
        assert!(!applied.apply(5, 0), "a command of an earlier run");
        assert!(applied.apply(1 << 40 | 3, 1 << 40));
        assert!(applied.apply(1 << 40 | 9, 1 << 40 | 7));
        assert!(!applied.apply(1 << 40 | 6, 1 << 40), "abandoned below the floor");
        assert_eq!(applied.beyond.len(), 1);
    }
}
