//! Journals made by hand, damaged by hand. The properties over arbitrary damage are in
//! `panchayat-storage`'s tests.

use bytes::Bytes;
use panchayat_consensus::ids::{ClusterId, EpochNumber, GroupId, NodeId};

use super::*;

const CLUSTER: ClusterId = ClusterId(7);
const NODE: NodeId = NodeId(3);
const SEGMENT_BYTES: usize = 16 * SECTOR;

/// A segment under construction.
struct Image {
    header: SegmentHeader,
    bytes: Vec<u8>,
    at: usize,
}

impl Image {
    fn new(number: u64) -> Self {
        let header = SegmentHeader { cluster: CLUSTER, node: NODE, number, salt: number * 31 };
        let mut bytes = vec![0; SEGMENT_BYTES];
        bytes[..SECTOR].copy_from_slice(&header.encode());
        Self { header, bytes, at: SECTOR }
    }

    fn batch(mut self, sequence: u64, synced_upto: u64, payloads: &[&[u8]]) -> Self {
        let mut batch = Batch::default();
        for payload in payloads {
            batch.push(GroupId(1), EpochNumber(2), payload);
        }
        let sealed = batch.seal(&self.header, self.at as u64, sequence, synced_upto);
        self.bytes[self.at..self.at + sealed.len()].copy_from_slice(sealed);
        self.at += sealed.len();
        self
    }

    fn bytes(&self) -> Bytes {
        self.bytes.clone().into()
    }

    fn scan(&self, due: Option<u64>) -> Scan {
        scan_segment(&self.header, &self.bytes(), due)
    }
}

fn payloads(records: &[Record]) -> Vec<&[u8]> {
    records.iter().map(|record| &record.payload[..]).collect()
}

fn recover_images(images: &[&Image]) -> Result<(Vec<Record>, Recovered), Refusal> {
    let bytes: Vec<_> = images.iter().map(|i| (i.header.number, i.bytes())).collect();
    recover(CLUSTER, NODE, bytes.iter().map(|(number, bytes)| (*number, bytes)))
}

#[test]
fn what_was_pushed_is_scanned() {
    let image =
        Image::new(1).batch(1, 0, &[b"one", b""]).batch(2, 1, &[&[9; 700]]).batch(3, 2, &[]);
    let scan = image.scan(Some(1));
    assert_eq!(scan.outcome, Outcome::CleanEnd);
    assert_eq!(payloads(&scan.records), [&b"one"[..], b"", &[9; 700]]);
    assert_eq!(scan.records[0].group, GroupId(1));
    assert_eq!(scan.records[0].epoch, EpochNumber(2));
    assert_eq!(scan.end_offset, image.at as u64);
    assert_eq!(scan.batches.len(), 3);
}

#[test]
fn a_batch_is_not_valid_elsewhere() {
    let image = Image::new(1).batch(1, 0, &[b"here"]);
    let sector = image.bytes[SECTOR..2 * SECTOR].to_vec();

    let mut other_offset = Image::new(1);
    other_offset.bytes[2 * SECTOR..3 * SECTOR].copy_from_slice(&sector);
    assert_eq!(BatchHeader::read(&other_offset.header, &other_offset.bytes, 2 * SECTOR), None);

    let mut other_segment = Image::new(2);
    other_segment.bytes[SECTOR..2 * SECTOR].copy_from_slice(&sector);
    assert_eq!(BatchHeader::read(&other_segment.header, &other_segment.bytes, SECTOR), None);

    let other_life = SegmentHeader { salt: image.header.salt + 1, ..image.header };
    assert_eq!(BatchHeader::read(&other_life, &image.bytes, SECTOR), None);
    assert!(BatchHeader::read(&image.header, &image.bytes, SECTOR).is_some());
}

#[test]
fn a_torn_last_batch_is_cut_as_a_whole() {
    let mut image = Image::new(1).batch(1, 0, &[b"kept"]).batch(2, 1, &[&[1; 600], &[2; 600]]);
    let end = image.at;
    // The header and the first record persisted, a later sector did not.
    image.bytes[end - SECTOR..end].fill(0);
    let scan = image.scan(Some(1));
    assert!(matches!(scan.outcome, Outcome::TornTail(Damage::Record { .. })));
    assert_eq!(payloads(&scan.records), [b"kept"]);
    assert_eq!(scan.end_offset, 2 * SECTOR as u64);
}

#[test]
fn later_sectors_of_a_torn_batch_are_not_evidence() {
    let mut image = Image::new(1).batch(1, 0, &[b"kept"]).batch(2, 1, &[&[1; 1200]]);
    image.bytes[2 * SECTOR..3 * SECTOR].fill(0);
    let scan = image.scan(Some(1));
    assert_eq!(scan.outcome, Outcome::TornTail(Damage::Blank { data_at: 3 * SECTOR as u64 }));
    assert_eq!(payloads(&scan.records), [b"kept"]);
}

#[test]
fn damage_below_a_synced_mark_is_refused() {
    let mut image = Image::new(1).batch(1, 0, &[b"a"]).batch(2, 1, &[b"b"]).batch(3, 2, &[]);
    image.bytes[2 * SECTOR + BATCH_HEADER_BYTES + RECORD_HEADER_BYTES] ^= 1;
    let evidence = Evidence::SyncedBefore {
        segment: 1,
        offset: 3 * SECTOR as u64,
        sequence: 3,
        synced_upto: 2,
    };
    let scan = image.scan(Some(1));
    let damage = Damage::Record { at: (2 * SECTOR + BATCH_HEADER_BYTES) as u64 };
    assert_eq!(scan.outcome, Outcome::CorruptMiddle(damage, evidence));
    let refusal = recover_images(&[&image]).unwrap_err();
    assert_eq!((refusal.segment, refusal.offset), (1, 2 * SECTOR as u64));
}

#[test]
fn the_header_of_a_torn_batch_is_evidence() {
    let mut image = Image::new(1).batch(1, 0, &[b"a"]).batch(2, 1, &[&[7; 800]]);
    image.bytes[SECTOR + 40] ^= 1;
    image.bytes[3 * SECTOR..4 * SECTOR].fill(0);
    assert!(matches!(image.scan(Some(1)).outcome, Outcome::CorruptMiddle(..)));
}

#[test]
fn evidence_may_lie_in_a_later_segment() {
    let mut first = Image::new(1).batch(1, 0, &[b"a"]).batch(2, 1, &[b"b"]);
    let next = Image::new(2).batch(3, 2, &[]);
    let empty = Image::new(2);
    assert_eq!(payloads(&recover_images(&[&first, &next]).unwrap().0), [b"a", b"b"]);
    first.bytes[2 * SECTOR..3 * SECTOR].fill(0);
    let refusal = recover_images(&[&first, &next]).unwrap_err();
    assert!(matches!(refusal.cause, Cause::Corrupt(Damage::Missing, _)), "{refusal}");
    assert_eq!((refusal.segment, refusal.offset), (1, 2 * SECTOR as u64));
    first.bytes[2 * SECTOR..3 * SECTOR].fill(0xee);
    let refusal = recover_images(&[&first, &next]).unwrap_err();
    assert!(matches!(refusal.cause, Cause::Corrupt(Damage::Header, _)), "{refusal}");
    // A segment prepared ahead of need says nothing.
    let (records, recovered) = recover_images(&[&first, &empty]).unwrap();
    assert_eq!(payloads(&records), [b"a"]);
    assert_eq!(recovered.tail, Some(Tail { segment: 1, end_offset: 2 * SECTOR as u64 }));
    assert_eq!((recovered.next_segment, recovered.next_sequence), (2, 2));
    assert_eq!(recovered.cut.unwrap().damage, Damage::Header);
}

#[test]
fn without_syncs_the_first_hole_ends_the_journal() {
    let mut first = Image::new(1).batch(1, 0, &[b"a"]).batch(2, 0, &[b"b"]).batch(3, 0, &[b"c"]);
    let next = Image::new(2).batch(4, 0, &[b"d"]);
    let (records, recovered) = recover_images(&[&first, &next]).unwrap();
    assert_eq!(payloads(&records), [b"a", b"b", b"c", b"d"]);
    assert_eq!(recovered.unconfirmed.len(), 2, "nothing was synced");
    first.bytes[2 * SECTOR..3 * SECTOR].fill(0);
    let (records, recovered) = recover_images(&[&first, &next]).unwrap();
    assert_eq!(payloads(&records), [b"a"]);
    assert_eq!(recovered.next_segment, 2);
    let span = Span { segment: 1, from: SECTOR as u64, to: 2 * SECTOR as u64 };
    assert_eq!(recovered.unconfirmed, [span]);
    // The end of a segment that never reached the disk.
    first.bytes[3 * SECTOR..].fill(0);
    let (records, recovered) = recover_images(&[&first, &next]).unwrap();
    assert_eq!(payloads(&records), [b"a"]);
    assert_eq!(recovered.cut.unwrap().damage, Damage::Missing);
}

#[test]
fn only_what_no_witness_covers_is_unconfirmed() {
    let image = Image::new(1).batch(1, 0, &[b"a"]).batch(2, 1, &[b"b"]);
    let (_, recovered) = recover_images(&[&image]).unwrap();
    let span = Span { segment: 1, from: 2 * SECTOR as u64, to: 3 * SECTOR as u64 };
    assert_eq!((recovered.unconfirmed, recovered.synced_upto), (vec![span], 1));
}

#[test]
fn batches_out_of_order_are_refused() {
    let image = Image::new(1).batch(1, 0, &[b"a"]).batch(3, 0, &[b"c"]);
    let outcome = image.scan(Some(1)).outcome;
    let damage = Damage::Sequence { found: 3 };
    assert_eq!(outcome, Outcome::CorruptMiddle(damage, Evidence::OutOfOrder { due: 2 }));
    let repeated = Image::new(2).batch(1, 0, &[b"a"]);
    assert!(matches!(repeated.scan(Some(2)).outcome, Outcome::CorruptMiddle(..)));
}

#[test]
fn a_missing_segment_is_refused() {
    let first = Image::new(1).batch(1, 0, &[b"a"]);
    let third = Image::new(3).batch(2, 1, &[b"b"]);
    let refusal = recover_images(&[&first, &third]).unwrap_err();
    assert_eq!(refusal.cause, Cause::SegmentMissing { due: 2 });
    // Segments removed from the front are a snapshot's doing.
    assert_eq!(payloads(&recover_images(&[&third]).unwrap().0), [b"b"]);
}

#[test]
fn rot_in_unused_space_does_not_cost_the_next_segment() {
    let mut first = Image::new(1).batch(1, 0, &[b"a"]);
    // Durable, and without a witness: it is the last.
    let next = Image::new(2).batch(2, 1, &[b"b"]);
    first.bytes[5 * SECTOR] ^= 1;
    let refusal = recover_images(&[&first, &next]).unwrap_err();
    let evidence = Evidence::WrittenElsewhere { segment: 2, offset: 512, sequence: 2 };
    let damage = Damage::Blank { data_at: 5 * SECTOR as u64 };
    assert_eq!(refusal.cause, Cause::Corrupt(damage, evidence));
    assert_eq!((refusal.segment, refusal.offset), (1, 2 * SECTOR as u64));
    // Alone it costs nothing, and is cut.
    let (records, recovered) = recover_images(&[&first]).unwrap();
    assert_eq!((payloads(&records), recovered.next_sequence), (vec![&b"a"[..]], 2));
}

#[test]
fn without_any_batch_the_oldest_segment_stays() {
    let mut torn = Image::new(4).batch(9, 8, &[b"a"]);
    torn.bytes[SECTOR] ^= 1;
    for first in [&Image::new(4), &torn] {
        let (records, recovered) = recover_images(&[first, &Image::new(5)]).unwrap();
        assert!(records.is_empty() && recovered.unconfirmed.is_empty());
        assert_eq!(recovered.tail, Some(Tail { segment: 4, end_offset: SECTOR as u64 }));
        assert_eq!((recovered.next_segment, recovered.next_sequence), (5, 1));
    }
    // What the opener then leaves is read the same way, and can be followed.
    let mut cut = Image::new(4);
    cut.bytes.truncate(SECTOR);
    let next = Image::new(5).batch(1, 0, &[]).batch(2, 1, &[b"b"]);
    assert_eq!(payloads(&recover_images(&[&cut, &next]).unwrap().0), [b"b"]);
    assert_eq!(recover_images(&[]).unwrap().1.tail, None);
}

#[test]
fn an_emptied_oldest_segment_is_refused() {
    let mut first = Image::new(4).batch(9, 8, &[b"a"]);
    let next = Image::new(5).batch(10, 9, &[b"b"]);
    assert_eq!(recover_images(&[&first, &next]).unwrap().0.len(), 2);
    first.bytes.truncate(SECTOR);
    let refusal = recover_images(&[&first, &next]).unwrap_err();
    assert!(matches!(refusal.cause, Cause::Corrupt(Damage::Missing, _)), "{refusal}");
    assert_eq!((refusal.segment, refusal.offset), (4, SECTOR as u64));
}

#[test]
fn headers_are_refused_with_what_was_found() {
    let check = |change: &dyn Fn(&mut Vec<u8>), expected: &dyn Fn(HeaderError) -> bool| {
        let mut bytes = Image::new(1).batch(1, 0, &[b"a"]).bytes;
        change(&mut bytes);
        let refusal = recover(CLUSTER, NODE, [(1, &bytes.into())]).unwrap_err();
        let Cause::Header(error) = refusal.cause else { panic!("{refusal}") };
        assert!(expected(error), "{error}");
    };
    check(&|b| b.truncate(100), &|e| e == HeaderError::TooShort { found: 100 });
    check(&|b| b[..SECTOR].fill(0), &|e| e == HeaderError::NotASegment { found: [0; 8] });
    check(&|b| b[8] = 2, &|e| e == HeaderError::NewerFormat { found: 2 });
    check(&|b| b[500] = 1, &|e| matches!(e, HeaderError::Checksum { .. }));
    let other = |header: SegmentHeader| {
        move |b: &mut Vec<u8>| b[..SECTOR].copy_from_slice(&header.encode())
    };
    let ours = Image::new(1).header;
    let cluster = ClusterId(8);
    check(&other(SegmentHeader { cluster, ..ours }), &|e| {
        e == HeaderError::OtherCluster { found: cluster, expected: CLUSTER }
    });
    let node = NodeId(4);
    check(&other(SegmentHeader { node, ..ours }), &|e| {
        e == HeaderError::OtherNode { found: node, expected: NODE }
    });
    check(&other(SegmentHeader { number: 9, ..ours }), &|e| {
        e == HeaderError::OtherNumber { found: 9, expected: 1 }
    });
}

#[test]
fn any_flipped_bit_of_synced_data_is_refused() {
    let image =
        Image::new(1).batch(1, 0, &[b"abc", b"d"]).batch(2, 1, &[&[5; 600]]).batch(3, 2, &[]);
    // The last batch is the witness of the others; it has none itself.
    for at in 0..image.at - SECTOR {
        for bit in 0..8 {
            let mut damaged = image.bytes.clone();
            damaged[at] ^= 1 << bit;
            let result = recover(CLUSTER, NODE, [(1, &damaged.into())]);
            assert!(result.is_err(), "bit {bit} of byte {at} went unnoticed");
        }
    }
}

#[test]
fn every_tear_of_the_last_batch_leaves_the_synced_prefix() {
    let before = Image::new(1).batch(1, 0, &[b"synced", b"too"]);
    let start = before.at;
    let whole = Image { bytes: before.bytes.clone(), ..before }.batch(2, 1, &[&[3; 900], b"x"]);
    let last_byte = whole.bytes.iter().rposition(|byte| *byte != 0).unwrap();
    for cut in start..=last_byte {
        let mut torn = whole.bytes.clone();
        torn[cut..].fill(0);
        let scan = scan_segment(&whole.header, &torn.into(), Some(1));
        assert_eq!(payloads(&scan.records), [&b"synced"[..], b"too"], "cut at {cut}");
        assert_eq!(scan.end_offset, start as u64);
        assert!(!matches!(scan.outcome, Outcome::CorruptMiddle(..)));
        let mut short = whole.bytes.clone();
        short.truncate(cut);
        let scan = scan_segment(&whole.header, &short.into(), Some(1));
        assert_eq!(payloads(&scan.records), [&b"synced"[..], b"too"], "ends at {cut}");
    }
}

#[test]
fn a_batch_is_reused_without_a_trace() {
    let header = Image::new(1).header;
    let mut batch = Batch::default();
    batch.push(GroupId(1), EpochNumber(1), &[0xff; 3000]);
    batch.seal(&header, 512, 1, 0);
    batch.clear();
    batch.push(GroupId(2), EpochNumber(1), b"short");
    assert_eq!(batch.sealed_bytes(), SECTOR);
    let again = batch.seal(&header, 4096, 2, 1).to_vec();
    let mut fresh = Batch::default();
    fresh.push(GroupId(2), EpochNumber(1), b"short");
    assert_eq!(again, fresh.seal(&header, 4096, 2, 1));
}
