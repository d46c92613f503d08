//! The journal format under arbitrary damage: never a panic, never a wrong or missing record in
//! between, never a synced one dropped in silence.

use bytes::Bytes;
use panchayat_consensus::ids::{ClusterId, EpochNumber, GroupId, NodeId};
use panchayat_core::journal::{
    Batch, BatchHeader, Cause, Outcome, Record, Recovered, Refusal, SECTOR, SegmentHeader, recover,
    scan_segment,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

const CLUSTER: ClusterId = ClusterId(99);
const NODE: NodeId = NodeId(1);

/// A journal as a writer leaves it.
#[derive(Clone, Debug)]
struct Image {
    segments: Vec<Vec<u8>>,
    /// Where each batch lies: segment, offset, end; and the records up to and with it.
    batches: Vec<(usize, usize, usize, usize)>,
    records: Vec<Vec<u8>>,
}

/// Writes batches of records with these payload lengths, some batches to a segment. `synced` says
/// what the writer knows to be synced when it writes the batch of this sequence.
fn write(batches: &[Vec<usize>], per_segment: usize, synced: impl Fn(u64) -> u64) -> Image {
    let mut image = Image { segments: Vec::new(), batches: Vec::new(), records: Vec::new() };
    let mut sequence = 0;
    for (number, chunk) in (1..).zip(batches.chunks(per_segment)) {
        let header = SegmentHeader { cluster: CLUSTER, node: NODE, number, salt: number ^ 0xabcd };
        let mut segment = header.encode().to_vec();
        for lengths in chunk {
            sequence += 1;
            let mut batch = Batch::default();
            for length in lengths {
                let record = (image.records.len() as u64).to_le_bytes().to_vec();
                let record: Vec<u8> = record.into_iter().cycle().take(*length).collect();
                batch.push(GroupId(3), EpochNumber(8), &record);
                image.records.push(record);
            }
            let at = segment.len();
            segment.extend_from_slice(batch.seal(&header, at as u64, sequence, synced(sequence)));
            image.batches.push((number as usize - 1, at, segment.len(), image.records.len()));
        }
        // Zeros that were written ahead.
        segment.resize(segment.len() + 4 * SECTOR, 0);
        image.segments.push(segment);
    }
    image
}

impl Image {
    fn recover(&self) -> Result<(Vec<Record>, Recovered), Refusal> {
        let bytes: Vec<Bytes> = self.segments.iter().map(|s| s.clone().into()).collect();
        recover(CLUSTER, NODE, (1..).zip(&bytes))
    }

    /// Checks that these are the first of what was written; how many they are.
    fn assert_prefix(&self, records: &[Record]) -> usize {
        for (found, written) in records.iter().zip(&self.records) {
            assert_eq!(found.payload, written);
            assert_eq!((found.group, found.epoch), (GroupId(3), EpochNumber(8)));
        }
        assert!(records.len() <= self.records.len(), "a record that nobody wrote");
        records.len()
    }
}

fn lengths() -> impl Strategy<Value = Vec<Vec<usize>>> {
    let record = prop_oneof![0usize..40, 100usize..700, Just(1500)];
    vec(vec(record, 0..5), 1..9)
}

fn scan_anything(bytes: Bytes) {
    let header = SegmentHeader { cluster: CLUSTER, node: NODE, number: 1, salt: 5 };
    for due in [None, Some(1), Some(u64::MAX)] {
        let scan = scan_segment(&header, &bytes, due);
        assert!(scan.records.len() * 20 <= bytes.len(), "more than the bytes justify");
        assert!(scan.end_offset <= bytes.len().max(SECTOR) as u64);
    }
    for at in 0..bytes.len().min(2 * SECTOR) + 2 {
        let _ = BatchHeader::read(&header, &bytes, at);
    }
    let _ = SegmentHeader::decode(&bytes);
    let _ = recover(CLUSTER, NODE, [(1, &bytes)]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..Default::default() })]

    #[test]
    fn arbitrary_bytes_are_harmless(bytes in vec(any::<u8>(), 0..4000), zeros in 0usize..3000) {
        let mut bytes = bytes;
        bytes.resize(bytes.len() + zeros, 0);
        scan_anything(bytes.clone().into());
        let mut segment = SegmentHeader { cluster: CLUSTER, node: NODE, number: 1, salt: 5 }
            .encode()
            .to_vec();
        segment.extend_from_slice(&bytes);
        scan_anything(segment.into());
    }

    #[test]
    fn lengths_and_counts_are_not_believed(
        length in any::<u32>(), count in any::<u32>(), first in any::<u32>(), sequence in any::<u64>(),
    ) {
        // A batch that a buggy or hostile writer has sealed: its checksum is right.
        let header = SegmentHeader { cluster: CLUSTER, node: NODE, number: 1, salt: 5 };
        let mut segment = header.encode().to_vec();
        let mut batch = Batch::default();
        batch.push(GroupId(1), EpochNumber(1), &[7; 100]);
        segment.extend_from_slice(batch.seal(&header, 512, sequence.max(1), 0));
        segment[SECTOR + 8..SECTOR + 12].copy_from_slice(&length.to_le_bytes());
        segment[SECTOR + 12..SECTOR + 16].copy_from_slice(&count.to_le_bytes());
        segment[SECTOR + 32..SECTOR + 36].copy_from_slice(&first.to_le_bytes());
        scan_anything(segment.into());
    }

    #[test]
    fn undamaged_journals_come_back(batches in lengths(), per_segment in 1usize..4) {
        let image = write(&batches, per_segment, |sequence| sequence - 1);
        let (records, recovered) = image.recover().unwrap();
        prop_assert_eq!(image.assert_prefix(&records), image.records.len());
        prop_assert_eq!(recovered.next_sequence, batches.len() as u64 + 1);
        prop_assert!(recovered.cut.is_none());
    }

    #[test]
    fn a_flipped_bit_of_synced_data_is_refused(
        batches in lengths(), per_segment in 1usize..4, at in any::<Index>(), bit in 0u8..8,
    ) {
        let mut image = write(&batches, per_segment, |sequence| sequence - 1);
        let (last_segment, last, ..) = *image.batches.last().unwrap();
        // Everything but the last batch, which has no witness.
        let sizes: Vec<usize> = (0..=last_segment)
            .map(|s| if s == last_segment { last } else { image.segments[s].len() })
            .collect();
        let mut at = at.index(sizes.iter().sum());
        let segment = sizes.iter().position(|size| {
            let here = at < *size;
            if !here {
                at -= size;
            }
            here
        });
        image.segments[segment.unwrap()][at] ^= 1 << bit;
        let refusal = image.recover().unwrap_err();
        prop_assert_eq!(refusal.segment as usize, segment.unwrap() + 1);
        prop_assert!(refusal.offset <= at as u64, "{} for byte {}", refusal, at);
    }

    #[test]
    fn any_choice_of_sectors_of_the_last_batch_leaves_what_was_synced(
        batches in lengths(), per_segment in 1usize..4, keep in any::<u64>(), torn_at in any::<Index>(),
    ) {
        let mut image = write(&batches, per_segment, |sequence| sequence - 1);
        let (segment, start, end, _) = *image.batches.last().unwrap();
        let synced = image.batches.len().checked_sub(2).map_or(0, |before| image.batches[before].3);
        let whole = image.segments[segment].clone();
        for (index, at) in (start..end).step_by(SECTOR).enumerate() {
            if keep & 1 << (index % 64) == 0 {
                image.segments[segment][at..at + SECTOR].fill(0);
            }
        }
        // And one sector torn within.
        let torn = torn_at.index(end - start) + start;
        let sector_end = torn.next_multiple_of(SECTOR).min(end);
        image.segments[segment][torn..sector_end].fill(0);
        let (records, recovered) = image.recover().unwrap();
        let count = image.assert_prefix(&records);
        if image.segments[segment] == whole {
            prop_assert_eq!(count, image.records.len());
        } else {
            prop_assert_eq!(count, synced);
            prop_assert_eq!(recovered.next_sequence, batches.len() as u64);
        }
    }

    #[test]
    fn without_syncs_any_choice_of_sectors_leaves_a_prefix(
        batches in lengths(), per_segment in 1usize..4, synced in any::<Index>(), lost in vec(any::<Index>(), 1..12),
    ) {
        // The writer synced up to some batch and then stopped syncing.
        let synced = synced.index(batches.len() + 1) as u64;
        let mut image = write(&batches, per_segment, |sequence| (sequence - 1).min(synced));
        let unsynced = &image.batches[synced as usize..].to_vec();
        for index in &lost {
            let Some((segment, start, end, _)) = unsynced.get(index.index(unsynced.len().max(1))) else { break };
            let sector = start + index.index((end - start) / SECTOR) * SECTOR;
            image.segments[*segment][sector..sector + SECTOR].fill(0);
        }
        let (records, _) = image.recover().unwrap();
        let at_least = synced.checked_sub(1).map_or(0, |last| image.batches[last as usize].3);
        prop_assert!(image.assert_prefix(&records) >= at_least);
    }

    #[test]
    fn no_damage_whatever_yields_a_wrong_record(
        batches in lengths(), per_segment in 1usize..4, seed in vec((any::<Index>(), any::<Index>(), 0u8..5), 1..5),
    ) {
        let mut image = write(&batches, per_segment, |sequence| sequence - 1);
        for (first, second, how) in seed {
            let segment = first.index(image.segments.len());
            let bytes = &mut image.segments[segment];
            let sectors = bytes.len() / SECTOR;
            let (a, b) = (first.index(sectors) * SECTOR, second.index(sectors) * SECTOR);
            match how {
                0 => bytes[first.index(sectors * SECTOR)] ^= 1 << second.index(8),
                1 => bytes.copy_within(a..a + SECTOR, b),
                2 => bytes[a..a + SECTOR].fill(second.index(256) as u8),
                3 => bytes.truncate(b.max(SECTOR)),
                _ => {
                    let other = image.segments[second.index(image.segments.len())].clone();
                    let end = other.len().min(image.segments[segment].len());
                    image.segments[segment][SECTOR..end].copy_from_slice(&other[SECTOR..end]);
                }
            }
        }
        match image.recover() {
            Ok((records, _)) => drop(image.assert_prefix(&records)),
            Err(refusal) => prop_assert!(refusal.to_string().contains("segment"), "{}", refusal),
        }
    }

    #[test]
    fn a_payload_cannot_pose_as_evidence(offset in 0usize..600, torn in 0usize..3) {
        // A client puts a whole journal into a value: right places, wrong salt.
        let forged = {
            let header = SegmentHeader { cluster: CLUSTER, node: NODE, number: 1, salt: 666 };
            let mut bytes = vec![0; offset];
            for at in (SECTOR..8 * SECTOR).step_by(SECTOR) {
                bytes.extend_from_slice(Batch::default().seal(&header, at as u64, 1 << 40, 1 << 39));
            }
            bytes
        };
        let header = SegmentHeader { cluster: CLUSTER, node: NODE, number: 1, salt: 667 };
        let mut segment = header.encode().to_vec();
        let mut batch = Batch::default();
        batch.push(GroupId(1), EpochNumber(1), &forged);
        segment.extend_from_slice(batch.seal(&header, SECTOR as u64, 1, 0));
        segment[SECTOR * (1 + torn)..SECTOR * (2 + torn)].fill(0);
        let scan = scan_segment(&header, &segment.into(), Some(1));
        prop_assert!(matches!(scan.outcome, Outcome::TornTail(_)), "{:?}", scan.outcome);
        prop_assert!(scan.records.is_empty());
    }
}

#[test]
fn a_last_batch_torn_at_every_byte_leaves_the_synced_prefix() {
    let image = write(&[vec![5, 300], vec![700], vec![64; 20]], 3, |sequence| sequence - 1);
    let (_, start, end, _) = image.batches[2];
    let last_byte = image.segments[0].iter().rposition(|byte| *byte != 0).unwrap();
    for torn in start..end {
        // What was there before: nothing, then the end of the file.
        for short in [false, true] {
            let mut after = image.clone();
            after.segments[0][torn..].fill(0);
            if short {
                after.segments[0].truncate(torn);
            }
            let whole = torn > last_byte && !short;
            let count = image.assert_prefix(&after.recover().unwrap().0);
            assert_eq!(count, if whole { 23 } else { 3 }, "torn at {torn}");
        }
        // Only the part behind has persisted.
        let mut after = image.clone();
        after.segments[0][start..=torn].fill(0);
        assert_eq!(image.assert_prefix(&after.recover().unwrap().0), 3, "from {torn}");
    }
}

#[test]
fn segments_cannot_change_places() {
    let mut image = write(&[vec![5], vec![6], vec![7]], 1, |sequence| sequence - 1);
    image.segments.swap(0, 1);
    assert!(matches!(image.recover().unwrap_err().cause, Cause::Header(_)));
    image.segments.swap(0, 1);
    image.segments.remove(1);
    assert!(matches!(image.recover().unwrap_err().cause, Cause::Header(_)));
}
