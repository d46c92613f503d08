//! What a member measured in a while, and tells the others.

use panchayat_consensus::wire::{Decode, DecodeError, Encode, Reader, Writer};

/// What a member saw of its own clients' commands. Sums, so that reports can be added up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Report {
    /// How long it watched, in microseconds.
    pub span_us: u64,
    /// Commands its clients sent.
    pub proposals: u64,
    /// Linearizable queries of several keys: EPaxos and Fast Paxos order them like commands.
    pub wide_reads: u64,
    /// Linearizable queries of one key: only Fast Paxos orders them.
    pub reads: u64,
    /// Pairs of a command or a wide read and a command of another member, executed shortly before it.
    pub pairs: u64,
    /// How many of the pairs conflict; those of a wide read twice, for commands of others meet it as well.
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
        add(&mut self.wide_reads, other.wide_reads);
        add(&mut self.reads, other.reads);
        add(&mut self.pairs, other.pairs);
        add(&mut self.conflicts, other.conflicts);
        add(&mut self.decided, other.decided);
        add(&mut self.slow, other.slow);
    }

    /// So many of what was counted, in a second.
    pub fn per_s(&self, count: u64) -> f64 {
        count as f64 * 1e6 / self.span_us.max(1) as f64
    }
}

impl Encode for Report {
    fn encode(&self, out: &mut Writer) {
        let Self { span_us, proposals, wide_reads, reads, pairs, conflicts, decided, slow } = *self;
        [span_us, proposals, wide_reads, reads, pairs, conflicts, decided, slow]
            .into_iter()
            .for_each(|count| out.put_varint(count));
    }
}

impl Decode for Report {
    fn decode(input: &mut Reader) -> Result<Self, DecodeError> {
        let report = Self {
            span_us: input.varint()?,
            proposals: input.varint()?,
            wide_reads: input.varint()?,
            reads: input.varint()?,
            pairs: input.varint()?,
            conflicts: input.varint()?,
            decided: input.varint()?,
            slow: input.varint()?,
        };
        let fits = report.conflicts / 2 <= report.pairs && report.slow <= report.decided;
        fits.then_some(report).ok_or(DecodeError::OutOfRange("report of a member"))
    }
}
