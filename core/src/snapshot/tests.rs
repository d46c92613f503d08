//! The format by itself: what is written is read, and nothing else is.

use std::io::{Read, Write};

use panchayat_consensus::ids::{ClusterId, EpochNumber, GroupId, NodeId};

use super::*;

const HEADER: SnapshotHeader = SnapshotHeader {
    cluster: ClusterId(0xfeed),
    group: GroupId(7),
    epoch: EpochNumber(3),
    number: 12,
};
const OWNER: Owner = Owner {
    node: NodeId(4),
    promises_of: NodeId(4),
    journal: JournalPosition { segment: 9, skip: 2 },
};

/// What is in a snapshot.
type Content = (Vec<u8>, Vec<u8>, Vec<Vec<u8>>);

fn content() -> Content {
    let machine = (0..70u8).collect();
    (machine, b"sessions".to_vec(), vec![vec![1; 5], Vec::new(), vec![2; 40], vec![3]])
}

fn written(header: SnapshotHeader, content: &Content, chunk_bytes: usize) -> Vec<u8> {
    let mut writer = SnapshotWriter::with_chunks(Vec::new(), header, chunk_bytes).unwrap();
    writer.write_all(&content.0).unwrap();
    writer.begin(Section::Sessions).unwrap();
    writer.write_all(&content.1).unwrap();
    for record in &content.2 {
        writer.record(record).unwrap();
    }
    let (bytes, info) = writer.finish(OWNER).unwrap();
    assert_eq!(info.bytes, bytes.len() as u64);
    bytes
}

fn read(bytes: &[u8]) -> Result<(Content, SnapshotInfo), SnapshotError> {
    let mut reader = SnapshotReader::new(bytes)?;
    let (mut machine, mut sessions, mut records) = (Vec::new(), Vec::new(), Vec::new());
    reader.section(Section::Machine).read_to_end(&mut machine)?;
    reader.section(Section::Sessions).read_to_end(&mut sessions)?;
    while let Some(record) = reader.next_record()? {
        records.push(record);
    }
    let (_, info) = reader.finish()?;
    Ok(((machine, sessions, records), info))
}

fn verify(bytes: &[u8], piece: usize) -> Result<Option<SnapshotInfo>, SnapshotError> {
    let mut verifier = SnapshotVerifier::new();
    let mut taken = Vec::new();
    for piece in bytes.chunks(piece) {
        verifier.push(piece)?;
        taken.extend(verifier.take_verified());
    }
    assert_eq!(taken, bytes[..taken.len()]);
    assert_eq!(verifier.verified(), taken.len() as u64);
    assert_eq!(verifier.pushed(), bytes.len() as u64);
    Ok(verifier.end().copied())
}

#[test]
fn what_is_written_is_read() {
    for chunk_bytes in [1, 3, 7, 64, 1 << 20, usize::MAX] {
        let bytes = written(HEADER, &content(), chunk_bytes);
        let (found, info) = read(&bytes).unwrap();
        assert_eq!(found, content());
        assert_eq!((info.header, info.owner), (HEADER, OWNER));
        assert_eq!((info.section_bytes, info.records), ([70, 8, 62], 4));
        let header = bytes.first_chunk().unwrap();
        let trailer = bytes.last_chunk().unwrap();
        assert_eq!(SnapshotInfo::read(header, trailer, info.bytes).unwrap(), info);
        for piece in [1, 10, bytes.len()] {
            assert_eq!(verify(&bytes, piece).unwrap(), Some(info));
        }
    }
}

#[test]
fn empty_sections_and_unread_ones() {
    let nothing = (Vec::new(), Vec::new(), Vec::new());
    assert_eq!(read(&written(HEADER, &nothing, 64)).unwrap().0, nothing);
    let bytes = written(HEADER, &content(), 16);
    // Nothing read, verified all the same.
    SnapshotReader::new(&*bytes).unwrap().finish().unwrap();
    // A part of the first, then the last, then the second again, which is over.
    let mut reader = SnapshotReader::new(&*bytes).unwrap();
    reader.section(Section::Machine).read_exact(&mut [0; 20]).unwrap();
    assert_eq!(reader.next_record().unwrap().unwrap(), [1; 5]);
    assert_eq!(reader.section(Section::Sessions).read(&mut [0; 9]).unwrap(), 0);
    assert_eq!(reader.next_record().unwrap().unwrap(), []);
    reader.finish().unwrap();
}

#[test]
fn any_changed_byte_is_noticed() {
    for chunk_bytes in [5, 1 << 20] {
        let whole = written(HEADER, &content(), chunk_bytes);
        for at in 0..whole.len() {
            for change in [1, 0x80, 0xff] {
                let mut bytes = whole.clone();
                bytes[at] ^= change;
                let error = read(&bytes).unwrap_err();
                match error {
                    SnapshotError::Header(_) => assert!(at < HEADER_BYTES),
                    SnapshotError::Damaged { offset, .. } => {
                        assert!(at >= HEADER_BYTES && offset <= at as u64, "{at}: {error}");
                    }
                    _ => panic!("{error}"),
                }
                // A length that grew makes it wait for more, which never comes.
                assert!(!matches!(verify(&bytes, 9), Ok(Some(_))));
                let ends = (bytes.first_chunk().unwrap(), bytes.last_chunk().unwrap());
                let info = SnapshotInfo::read(ends.0, ends.1, bytes.len() as u64);
                let at_the_ends = at < HEADER_BYTES || at >= bytes.len() - TRAILER_BYTES;
                assert_eq!(info.is_err(), at_the_ends);
            }
        }
    }
}

#[test]
fn any_missing_or_additional_byte_is_noticed() {
    let whole = written(HEADER, &content(), 20);
    for length in 0..whole.len() {
        read(&whole[..length]).unwrap_err();
        // So far there is nothing wrong with it, and it is no whole snapshot.
        assert_eq!(verify(&whole[..length], 7).unwrap(), None);
    }
    let longer = [&whole[..], &[0]].concat();
    let error = read(&longer).unwrap_err();
    assert!(error.to_string().contains("something stands behind it"), "{error}");
    verify(&longer, 7).unwrap_err();
}

#[test]
fn chunks_cannot_change_places_or_snapshots() {
    let (a, b) = (vec![1; 20], vec![2; 20]);
    let first = written(HEADER, &([a.clone(), b.clone()].concat(), a.clone(), vec![]), 20);
    let chunk = CHUNK_HEADER_BYTES + 20;
    let swapped = [
        &first[..HEADER_BYTES],
        &first[HEADER_BYTES + chunk..HEADER_BYTES + 2 * chunk],
        &first[HEADER_BYTES..HEADER_BYTES + chunk],
        &first[HEADER_BYTES + 2 * chunk..],
    ];
    let error = read(&swapped.concat()).unwrap_err();
    assert!(error.to_string().contains("the machine section, offset 56: checksum"), "{error}");
    let dropped = [&first[..HEADER_BYTES + chunk], &first[HEADER_BYTES + 2 * chunk..]];
    read(&dropped.concat()).unwrap_err();
    // The same place of the snapshot after it.
    let next = SnapshotHeader { number: 13, ..HEADER };
    let second = written(next, &([b, a.clone()].concat(), a, vec![]), 20);
    let mixed = [&first[..HEADER_BYTES + chunk], &second[HEADER_BYTES + chunk..]];
    read(&mixed.concat()).unwrap_err();
    // Of the very same name: the checksum over everything notices.
    let twin = written(HEADER, &([vec![9; 20], vec![2; 20]].concat(), vec![1; 20], vec![]), 20);
    let mixed = [&first[..HEADER_BYTES + chunk], &twin[HEADER_BYTES + chunk..]];
    let error = read(&mixed.concat()).unwrap_err();
    assert!(matches!(error, SnapshotError::Damaged { damage: Damage::Content, .. }), "{error}");
}

#[test]
fn a_new_protocol_section_replaces_a_peers() {
    let peer = written(HEADER, &content(), 30);
    let mut reader = SnapshotReader::new(&*peer).unwrap();
    let own = SnapshotHeader { number: 3, ..HEADER };
    let mut writer = SnapshotWriter::with_chunks(Vec::new(), own, 50).unwrap();
    for section in [Section::Machine, Section::Sessions] {
        writer.copy_section(&mut reader, section).unwrap();
    }
    reader.finish().unwrap();
    writer.record(b"mine").unwrap();
    let (bytes, _) = writer.finish(OWNER).unwrap();
    let (machine, sessions, _) = content();
    let (found, info) = read(&bytes).unwrap();
    assert_eq!(found, (machine, sessions, vec![b"mine".to_vec()]));
    assert_eq!(info.header.number, 3);
}

#[test]
fn identity_is_checked_with_clear_words() {
    let check = |bytes: &[u8], words: &str| {
        let error = SnapshotReader::new(bytes).unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
    };
    let mut bytes = written(HEADER, &content(), 30);
    bytes[8] = 2;
    check(&bytes, "written in snapshot format 2, and this program reads up to 1");
    check(b"PK", "ends inside it, after 2 bytes");
    check(&[7; 80], "not a snapshot");
    let other = HEADER.check(ClusterId(1), HEADER.group).unwrap_err();
    assert!(matches!(other, HeaderError::OtherCluster { .. }));
    let other = HEADER.check(HEADER.cluster, GroupId(1)).unwrap_err();
    assert!(other.to_string().contains("group 7, not to group 1"), "{other}");
    let other = HEADER.check_epoch(EpochNumber(4)).unwrap_err();
    assert!(other.to_string().contains("epoch 3, not of epoch 4"), "{other}");
}

#[test]
fn lengths_are_not_believed() {
    // Sealed as a hostile peer could: the checksums are right.
    let mut chain = chunk::Chain::new(HEADER);
    let mut chunk = [&[0; CHUNK_HEADER_BYTES][..], &u32::MAX.to_le_bytes()].concat();
    chunk[..8].copy_from_slice(&[3, 0, 0, 0, 4, 0, 0, 0]);
    let crc = chunk::checksum(HEADER.seed(), HEADER_BYTES as u64, &chunk);
    chunk[8..12].copy_from_slice(&crc.to_le_bytes());
    let error = chain.check(&chunk).unwrap_err();
    let damage = Damage::RecordLength { found: u32::MAX };
    assert!(matches!(error, SnapshotError::Damaged { damage: found, .. } if found == damage));
    for (length, allowed) in [(0, false), (1, true), (1 << 20, true), ((1 << 20) + 1, false)] {
        let mut start = [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        start[4..8].copy_from_slice(&u32::to_le_bytes(length));
        assert_eq!(chain.payload_bytes(&start).is_ok(), allowed, "{length}");
    }
}

#[test]
fn a_verifier_goes_on_after_a_damaged_piece() {
    let whole = written(HEADER, &content(), 30);
    let mut verifier = SnapshotVerifier::new();
    verifier.push(&whole[..100]).unwrap();
    let mut damaged = whole[100..].to_vec();
    damaged[40] ^= 1;
    verifier.push(&damaged).unwrap_err();
    let from = verifier.verified() as usize;
    assert_eq!(verifier.pushed() as usize, from);
    assert!((HEADER_BYTES..=140).contains(&from));
    verifier.push(&whole[from..]).unwrap();
    assert!(verifier.end().is_some());
}
