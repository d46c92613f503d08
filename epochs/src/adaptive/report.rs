//! What a member measured in a while, and tells the others.

use panchayat_consensus::wire::{Decode, DecodeError, Encode, Reader, Writer};

/// What a member saw of its own clients' commands. Sums, so that reports can be added up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Report {
    /// How long it watched, in microseconds.
    pub span_us: u64,
    /// Commands its clients sent.
    pub proposals: u64,
    /// Pairs of one of these and a command of another member, executed shortly before it.
    pub pairs: u64,
    /// How many of the pairs conflict.
    pub conflicts: u64,
    /// How many of its commands were decided.
    pub decided: u64,
    /// How many of them after a second round.
    pub slow: u64,
}

impl Report {
    /// Adds what was seen at another time or by another member.
    pub fn add(&mut self, other: &Self) {
        let add = |sum: &mut u64, more: u64| *sum = sum.saturating_add(more);
        add(&mut self.span_us, other.span_us);
        add(&mut self.proposals, other.proposals);
        add(&mut self.pairs, other.pairs);
        add(&mut self.conflicts, other.conflicts);
        add(&mut self.decided, other.decided);
        add(&mut self.slow, other.slow);
    }

    /// Commands a second.
    pub fn rate_per_s(&self) -> f64 {
        self.proposals as f64 * 1e6 / self.span_us.max(1) as f64
    }
}

impl Encode for Report {
    fn encode(&self, out: &mut Writer) {
        let Self { span_us, proposals, pairs, conflicts, decided, slow } = *self;
        [span_us, proposals, pairs, conflicts, decided, slow]
            .into_iter()
            .for_each(|count| out.put_varint(count));
    }
}

impl Decode for Report {
    fn decode(input: &mut Reader) -> Result<Self, DecodeError> {
        let report = Self {
            span_us: input.varint()?,
            proposals: input.varint()?,
            pairs: input.varint()?,
            conflicts: input.varint()?,
            decided: input.varint()?,
            slow: input.varint()?,
        };
        let fits = report.conflicts <= report.pairs && report.slow <= report.decided;
        fits.then_some(report).ok_or(DecodeError::OutOfRange("report of a member"))
    }
}
