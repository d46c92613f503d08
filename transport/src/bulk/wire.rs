//! The records of a response, sans-IO.
//!
//! The reader passes data on in whatever pieces it arrives; it holds back nothing but a header or
//! a reason of which the end is missing, so what a header announces allocates nothing.

use bytes::{BufMut, Bytes, BytesMut};

use super::TRANSFER_VERSION;
use crate::handler::RequestError;
use crate::request::{REASON_BYTES_MAX, reason_bytes};

/// What is in front of a record and of a request: a byte, and the length of what follows.
pub(super) const HEADER_BYTES: usize = 5;

const DATA: u8 = 0;
const END: u8 = 1;
const OVERLOADED: u8 = 2;
const REJECTED: u8 = 3;

fn header(kind: u8, bytes: u32) -> Bytes {
    let mut header = [kind; HEADER_BYTES];
    header[1..].copy_from_slice(&bytes.to_le_bytes());
    Bytes::copy_from_slice(&header)
}

/// What is in front of a request of this length, which the caller keeps below 4 GiB.
pub(super) fn request_header(bytes: usize) -> Bytes {
    header(TRANSFER_VERSION, bytes as u32)
}

/// The length of the request behind this; an error if it is of another version.
pub(super) fn request_bytes(header: [u8; HEADER_BYTES]) -> Result<usize, u8> {
    let [version, length @ ..] = header;
    if version != TRANSFER_VERSION {
        return Err(version);
    }
    Ok(u32::from_le_bytes(length) as usize)
}

/// The header of a record of this much data, which the caller keeps below 4 GiB.
pub(super) fn data_header(bytes: usize) -> Bytes {
    debug_assert!(bytes > 0 && u32::try_from(bytes).is_ok());
    header(DATA, bytes as u32)
}

/// The record that says how the transfer ended.
pub(super) fn last(result: &Result<(), RequestError>) -> Bytes {
    match result {
        Ok(()) => header(END, 0),
        Err(RequestError::Overloaded) => header(OVERLOADED, 0),
        Err(RequestError::Rejected(reason)) => {
            let reason = reason_bytes(reason);
            let mut record = BytesMut::from(&header(REJECTED, reason.len() as u32)[..]);
            record.put_slice(reason);
            record.freeze()
        }
    }
}

/// A part of a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Item {
    /// Some data, never empty.
    Data(Bytes),
    /// The owner of the other node ended the transfer: with success if all was sent.
    Last(Result<(), RequestError>),
}

/// Why the bytes of a response make no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed(pub(super) &'static str);

/// Takes records out of whatever pieces arrive.
#[derive(Debug, Default)]
pub(super) struct RecordReader {
    /// The beginning of a header, or a header and the beginning of a reason.
    partial: BytesMut,
    /// What is missing of the record of data that has begun.
    data_bytes: usize,
    /// The last record has come.
    over: bool,
}

impl RecordReader {
    /// The next item of `input`, which it is taken from; `None` once `input` is used up.
    pub(super) fn next(&mut self, input: &mut Bytes) -> Result<Option<Item>, Malformed> {
        while !input.is_empty() {
            if self.over {
                return Err(Malformed("bytes after the end"));
            }
            if self.data_bytes > 0 {
                let piece = input.split_to(self.data_bytes.min(input.len()));
                self.data_bytes -= piece.len();
                return Ok(Some(Item::Data(piece)));
            }
            if let Some(last) = self.begin(input)? {
                self.over = true;
                return Ok(Some(Item::Last(last)));
            }
        }
        Ok(None)
    }

    /// Reads a header (and the reason behind it); returns how the transfer ended, if it did.
    fn begin(&mut self, input: &mut Bytes) -> Result<Option<Result<(), RequestError>>, Malformed> {
        self.take_into_partial(HEADER_BYTES, input);
        let Some((&[kind, ref length @ ..], _)) = self.partial.split_first_chunk::<HEADER_BYTES>()
        else {
            return Ok(None);
        };
        let bytes = u32::from_le_bytes(*length) as usize;
        match (kind, bytes) {
            (DATA, 1..) => {
                self.data_bytes = bytes;
                self.partial.clear();
                Ok(None)
            }
            (DATA, 0) => Err(Malformed("an empty record of data")),
            (END, 0) => Ok(Some(Ok(()))),
            (OVERLOADED, 0) => Ok(Some(Err(RequestError::Overloaded))),
            (REJECTED, 0..=REASON_BYTES_MAX) => {
                self.take_into_partial(HEADER_BYTES + bytes, input);
                if self.partial.len() < HEADER_BYTES + bytes {
                    return Ok(None);
                }
                let reason = String::from_utf8_lossy(&self.partial[HEADER_BYTES..]).into_owned();
                Ok(Some(Err(RequestError::Rejected(reason))))
            }
            (END | OVERLOADED | REJECTED, _) => Err(Malformed("a last record of a wrong length")),
            _ => Err(Malformed("an unknown kind of record")),
        }
    }

    /// Moves input to `partial` until that holds `want` bytes.
    fn take_into_partial(&mut self, want: usize, input: &mut Bytes) {
        let missing = want.saturating_sub(self.partial.len()).min(input.len());
        self.partial.extend_from_slice(&input.split_to(missing));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Response = (Vec<u8>, Option<Result<(), RequestError>>);

    fn read(wire: &[u8], cuts: &[usize]) -> Result<Response, Malformed> {
        let (mut data, mut last) = (Vec::new(), None);
        let mut reader = RecordReader::default();
        let mut rest = Bytes::copy_from_slice(wire);
        let mut cuts = cuts.iter().cycle();
        while !rest.is_empty() {
            let cut = cuts.next().copied().unwrap_or(1).clamp(1, rest.len());
            let mut piece = rest.split_to(cut);
            while let Some(item) = reader.next(&mut piece)? {
                match item {
                    Item::Data(piece) => {
                        assert!(!piece.is_empty());
                        data.extend_from_slice(&piece);
                    }
                    Item::Last(result) => last = Some(result),
                }
            }
        }
        Ok((data, last))
    }

    fn results() -> impl Strategy<Value = Result<(), RequestError>> {
        prop_oneof![
            Just(Ok(())),
            Just(Err(RequestError::Overloaded)),
            ".{0,40}".prop_map(|reason| Err(RequestError::Rejected(reason))),
        ]
    }

    proptest! {
        #[test]
        fn any_cutting_gives_the_same_response(
            lengths in prop::collection::vec(1usize..3000, 0..12),
            result in results(),
            cuts in prop::collection::vec(1usize..2000, 1..10),
        ) {
            let (mut wire, mut sent) = (Vec::new(), Vec::new());
            for (i, length) in lengths.into_iter().enumerate() {
                wire.extend_from_slice(&data_header(length));
                wire.resize(wire.len() + length, i as u8);
                sent.resize(sent.len() + length, i as u8);
            }
            wire.extend_from_slice(&last(&result));
            prop_assert_eq!(read(&wire, &cuts).unwrap(), (sent, Some(result)));
        }

        #[test]
        fn garbage_neither_panics_nor_hoards(
            bytes in prop::collection::vec(0u8..5, 0..400),
            cuts in prop::collection::vec(1usize..50, 1..10),
        ) {
            let _ = read(&bytes, &cuts);
        }
    }

    #[test]
    fn a_response_cut_anywhere_before_its_end_has_no_last_record() {
        let mut wire = data_header(3).to_vec();
        wire.extend_from_slice(b"abc");
        wire.extend_from_slice(&last(&Err(RequestError::Rejected("why".into()))));
        for end in 0..wire.len() {
            assert_eq!(read(&wire[..end], &[2]).unwrap().1, None, "{end}");
        }
        assert!(read(&wire, &[2]).unwrap().1.is_some());
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let long = u32::try_from(REASON_BYTES_MAX + 1).unwrap();
        for wire in [header(9, 0), header(DATA, 0), header(END, 1), header(REJECTED, long)] {
            assert!(read(&wire, &[64]).is_err(), "{wire:?}");
        }
        let after = [last(&Ok(())), data_header(1)].concat();
        assert_eq!(read(&after, &[64]), Err(Malformed("bytes after the end")));
    }

    #[test]
    fn an_announcement_allocates_nothing() {
        let mut reader = RecordReader::default();
        let mut input = header(DATA, u32::MAX);
        assert_eq!(reader.next(&mut input), Ok(None));
        assert!(reader.partial.capacity() < 1024);
    }
}
