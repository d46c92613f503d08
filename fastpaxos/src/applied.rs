//! Which commands were applied, by the names their origins gave them.
//!
//! A function of the log alone, so all replicas agree on which of two slots with one command is the
//! duplicate. It stays small because each command says below which number its origin waits for
//! nothing any more.

use std::collections::BTreeSet;

use panchayat_consensus::wire::{Decode, DecodeError, Encode, Reader, Writer};

/// Most numbers beyond the settled ones that a decoder believes in.
const BEYOND_MAX: usize = 1 << 24;
/// Numbers above this are refused on input, so that adding one never overflows.
pub(crate) const NUMBER_MAX: u64 = 1 << 62;

/// The applied commands of one origin: all up to a number, and some beyond.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Applied {
    upto: u64,
    beyond: BTreeSet<u64>,
}

impl Applied {
    /// Whether `number` was applied, or settled otherwise.
    pub fn contains(&self, number: u64) -> bool {
        number <= self.upto || self.beyond.contains(&number)
    }

    /// Applies `number`; false if it was applied, or settled otherwise, before. `floor` is the
    /// number up to which the origin waits for nothing.
    pub fn apply(&mut self, number: u64, floor: u64) -> bool {
        let fresh = number > self.upto && self.beyond.insert(number);
        if floor > self.upto {
            self.beyond = self.beyond.split_off(&(floor + 1));
            self.upto = floor;
        }
        while self.beyond.remove(&(self.upto + 1)) {
            self.upto += 1;
        }
        fresh
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
        let wrong = DecodeError::OutOfRange("applied number");
        let upto = input.varint()?;
        let count = input.count("applied numbers", 1, BEYOND_MAX)?;
        let mut beyond = BTreeSet::new();
        let mut last = upto;
        for index in 0..count {
            let step = input.varint()?;
            // The next one after the settled ones would be settled itself.
            let least = if index == 0 { 2 } else { 1 };
            last = last.checked_add(step).filter(|_| step >= least).ok_or(wrong)?;
            beyond.insert(last);
        }
        if last > NUMBER_MAX { Err(wrong) } else { Ok(Self { upto, beyond }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_is_applied_once_in_any_order() {
        let mut applied = Applied::default();
        assert!([3, 1, 4, 2].into_iter().all(|number| applied.apply(number, 0)));
        assert!(!(1..=4).any(|number| applied.apply(number, 0)));
        assert_eq!(applied, Applied { upto: 4, beyond: BTreeSet::new() });
    }

    #[test]
    fn what_the_origin_settled_is_a_duplicate() {
        let mut applied = Applied::default();
        assert!(applied.apply(9, 6));
        assert!(!applied.apply(5, 0), "below the floor");
        assert!(applied.apply(8, 6), "above it");
        assert!(!applied.apply(9, 6));
        assert!(applied.contains(6) && !applied.contains(7));
    }
}
