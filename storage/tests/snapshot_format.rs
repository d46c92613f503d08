//! The format of snapshots under arbitrary damage: never a panic, never wrong data.

use std::io::{Read, Write};

use panchayat_consensus::ids::{ClusterId, EpochNumber, GroupId, NodeId};
use panchayat_core::snapshot::{
    HEADER_BYTES, JournalPosition, Owner, Section, SnapshotError, SnapshotHeader, SnapshotInfo,
    SnapshotReader, SnapshotVerifier, SnapshotWriter, TRAILER_BYTES,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

type Content = (Vec<u8>, Vec<u8>, Vec<Vec<u8>>);

fn content() -> impl Strategy<Value = Content> {
    let records = vec(vec(any::<u8>(), 0..90), 0..8);
    (vec(any::<u8>(), 0..600), vec(any::<u8>(), 0..200), records)
}

fn header(number: u64) -> SnapshotHeader {
    let (cluster, group, epoch) = (ClusterId(99), GroupId(3), EpochNumber(8));
    SnapshotHeader { cluster, group, epoch, number }
}

fn write(content: &Content, number: u64, chunk_bytes: usize) -> Vec<u8> {
    let mut writer = SnapshotWriter::with_chunks(Vec::new(), header(number), chunk_bytes).unwrap();
    writer.write_all(&content.0).unwrap();
    writer.begin(Section::Sessions).unwrap();
    writer.write_all(&content.1).unwrap();
    for record in &content.2 {
        writer.record(record).unwrap();
    }
    let journal = JournalPosition { segment: 4, skip: 6 };
    let owner = Owner { node: NodeId(1), promises_of: NodeId(1), journal };
    writer.finish(owner).unwrap().0
}

/// Reads everything, checking all that is handed out on the way against what was written.
fn read(bytes: &[u8], written: &Content) -> Result<SnapshotInfo, SnapshotError> {
    let mut reader = SnapshotReader::new(bytes)?;
    let mut out = [0; 70];
    for (section, whole) in [(Section::Machine, &written.0), (Section::Sessions, &written.1)] {
        let mut at = 0;
        loop {
            let length = reader.section(section).read(&mut out)?;
            if length == 0 {
                break;
            }
            assert_eq!(out[..length], whole[at..at + length], "wrong data");
            at += length;
        }
    }
    let mut records = written.2.iter();
    while let Some(record) = reader.next_record()? {
        assert_eq!(Some(&record), records.next(), "a wrong record");
    }
    Ok(reader.finish()?.1)
}

fn verify(bytes: &[u8], piece: usize) -> Option<SnapshotInfo> {
    let mut verifier = SnapshotVerifier::new();
    for piece in bytes.chunks(piece) {
        verifier.push(piece).ok()?;
        drop(verifier.take_verified());
    }
    verifier.end().copied()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..Default::default() })]

    #[test]
    fn what_is_written_is_read(content in content(), chunk in 1usize..300, piece in 1usize..500) {
        let bytes = write(&content, 1, chunk);
        let info = read(&bytes, &content).unwrap();
        prop_assert_eq!(info.records, content.2.len() as u64);
        prop_assert_eq!(info.bytes, bytes.len() as u64);
        prop_assert_eq!(verify(&bytes, piece), Some(info));
    }

    #[test]
    fn any_flipped_bit_is_noticed(
        content in content(), chunk in 1usize..300, at in any::<Index>(), bit in 0u32..8, piece in 1usize..500,
    ) {
        let mut bytes = write(&content, 1, chunk);
        let at = at.index(bytes.len());
        bytes[at] ^= 1u8 << bit;
        let error = read(&bytes, &content).unwrap_err();
        if let SnapshotError::Damaged { offset, .. } = error {
            prop_assert!(offset <= at as u64, "{} for byte {}", error, at);
        }
        prop_assert_eq!(verify(&bytes, piece), None);
    }

    #[test]
    fn any_truncation_is_noticed(content in content(), chunk in 1usize..300, at in any::<Index>()) {
        let bytes = write(&content, 1, chunk);
        let at = at.index(bytes.len());
        prop_assert!(read(&bytes[..at], &content).is_err());
        prop_assert_eq!(verify(&bytes[..at], 100), None);
    }

    #[test]
    fn no_damage_whatever_yields_wrong_data(
        content in content(), other in content(), chunk in 1usize..100,
        seed in vec((any::<Index>(), any::<Index>(), any::<Index>(), 0u8..6), 1..5),
    ) {
        let whole = write(&content, 1, chunk);
        let other = write(&other, 2, chunk);
        let mut bytes = whole.clone();
        for (first, second, third, how) in seed {
            let (a, b) = (first.index(bytes.len()), second.index(bytes.len()));
            let length = third.index(bytes.len() - a.max(b)).max(1);
            match how {
                0 => bytes[a] = bytes[a].wrapping_add(1 + third.index(255) as u8),
                1 => bytes.copy_within(a..a + length, b),
                2 => bytes[a..a + length].fill(second.index(256) as u8),
                3 => bytes.truncate(a.max(1)),
                4 => drop(bytes.drain(a..a + length)),
                _ => {
                    let end = other.len().min(bytes.len());
                    // Header and all, it would be that other snapshot.
                    let a = a.max(HEADER_BYTES).min(end);
                    bytes[a..end].copy_from_slice(&other[a..end]);
                }
            }
            if bytes.is_empty() {
                bytes.push(0);
            }
        }
        let found = read(&bytes, &content);
        prop_assert!(bytes == whole || found.is_err());
        prop_assert!(bytes == whole || verify(&bytes, 64).is_none());
    }

    #[test]
    fn arbitrary_bytes_are_harmless(bytes in vec(any::<u8>(), 0..2000), with_header in any::<bool>()) {
        let mut all = if with_header { header(1).encode().to_vec() } else { Vec::new() };
        all.extend_from_slice(&bytes);
        let nothing = (Vec::new(), Vec::new(), Vec::new());
        prop_assert!(read(&all, &nothing).is_err());
        prop_assert_eq!(verify(&all, 33), None);
        if let (Some(head), Some(tail)) =
            (all.first_chunk::<HEADER_BYTES>(), all.last_chunk::<TRAILER_BYTES>())
        {
            prop_assert!(SnapshotInfo::read(head, tail, all.len() as u64).is_err());
        }
    }
}
