//! The journal's format: what bytes mean, and which of them may be believed after a crash.
//!
//! Encode, decode and scan only; no IO. The file backend (`panchayat-storage`) and the simulated
//! disk call the same [`Batch`], [`scan_segment`] and [`Recovery`], so what the simulator crashes
//! is what runs.
//!
//! # Layout
//!
//! A journal is a run of segments, numbered without a gap. Everything starts on a sector
//! ([`SECTOR`] bytes):
//!
//! ```text
//! segment  = header sector, batch*, zeros
//! header   = magic 8, version 4, crc 4, cluster 16, node 8, segment number 8, salt 8, zeros
//! batch    = magic 4, crc 4, length 4, count 4, sequence 8, synced_upto 8, record*, zeros
//! record   = length 4, crc 4, group 4, epoch 8, payload
//! ```
//!
//! A batch is what one write and one sync made durable (group commit). Batches are numbered by
//! `sequence` without a gap through the whole journal. `synced_upto` is the sequence up to which
//! the writer *knew* everything was synced when it wrote this batch.
//!
//! A batch's checksum is seeded with the segment's header, salt included, and with the batch's
//! offset; a record's with its batch's checksum and its own offset. So bytes that were valid in
//! another place, another segment, or another life of the same segment are not valid here. The
//! salt is random: a client cannot put bytes into a value that would pass for a batch.
//!
//! # Torn tail or corrupt middle?
//!
//! After power loss the sectors of an unsynced write may have reached the disk in any order and
//! any combination. So "a bad batch, and good data after it" proves nothing by itself, and
//! neither does "a bad batch and nothing after it". What decides is whether the damaged batch was
//! *known to be synced*:
//!
//! - Let `s` be the sequence of the first batch that is not intact. If a batch header anywhere
//!   after it, in this segment or a later one, has `synced_upto >= s`, then `s` was synced, was
//!   possibly acknowledged, and has been damaged since: **corrupt middle, refused**. A header
//!   fits in one sector and carries its own checksum, so its word counts even if the rest of
//!   its batch is lost. Headers are searched for on every sector, not by following lengths, since
//!   the lengths are part of what is damaged. Likewise if batch `s` itself, or an earlier one, has
//!   its header further on: then the writer never wrote to the damaged place.
//! - Otherwise nobody was ever told that `s` is durable by anything that is still on the disk:
//!   **torn tail, cut** at the start of `s`, and everything after it is dropped with it.
//!
//! A writer that syncs each batch before it writes the next writes `synced_upto = sequence − 1`
//! always; then only the very last batch can ever be cut. That last one has no witness after it:
//! damage to it at rest would look like a torn write. So the writer leaves a witness whenever it
//! can: an empty batch (a *marker*) is written and synced when the journal is opened, when it has
//! been idle, and when it is closed. A marker holds nothing that could be lost.
//!
//! Batches also say where they belong: between segments the sequence goes on without a gap, and
//! only the oldest segment may start with any number. So a segment that lost its batches, or is
//! gone, is noticed by the next one.
//!
//! A segment header is durable before the segment can be seen under its name, so a bad header is
//! never a torn write: always refused.
//!
//! # After a cut
//!
//! Stale bytes above a cut must not revive. The opener therefore
//! 1. writes again, and syncs, the batches that no witness calls synced ([`Span`]): the previous
//!    process may have died, or have been told of a failed sync, between write and sync; its
//!    bytes are then readable and yet not on the disk;
//! 2. truncates the last segment at the cut and syncs it: reading ends there for good. A journal
//!    without any batch keeps its oldest segment, cut to its header: with older segments removed
//!    it must not look like a new one;
//! 3. removes later segments, the highest first, each removal durable before the next;
//! 4. never appends to an old segment: it starts a new one, with a new salt, whose first batch is
//!    a marker with `synced_upto` = everything replayed.
//!
//! A crash between any two of these steps leaves a journal that scans to the same records.
//! After step 4 the cut is in the past: damage below it is again refused.
//!
//! # Assumption
//!
//! A device does not damage sectors which it was not asked to write. No sector that holds synced
//! bytes is ever written with other bytes: batches are padded to whole sectors.

mod batch;
mod entry;
mod recovery;
mod scan;
mod segment;

pub use batch::{BATCH_HEADER_BYTES, Batch, BatchHeader, PAYLOAD_BYTES_MAX, RECORD_HEADER_BYTES};
pub use entry::Entry;
pub use recovery::{Cause, Cut, Recovered, Recovery, Refusal, Span, Tail, recover};
pub use scan::{Damage, Evidence, Outcome, Record, Scan, scan_segment};
pub use segment::{FORMAT_VERSION, HeaderError, SegmentHeader};

/// The unit in which batches are padded and in which tearing is reckoned, in bytes.
pub const SECTOR: usize = 512;

/// `length` rounded up to whole sectors.
pub const fn padded(length: usize) -> usize {
    length.next_multiple_of(SECTOR)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

#[cfg(test)]
mod tests;
