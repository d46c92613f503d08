//! What replicas of a group send each other: many messages in one frame.
//!
//! ```text
//! frame   := version u8 · group u32 · epoch u64 · terms u32 · message*
//! message := the protocol's own encoding, self-delimiting
//! ```
//! The transport adds the length and authenticates sender and content.

use bytes::Bytes;
use panchayat_consensus::wire::{Decode, DecodeError, Encode, Reader, Writer};
use panchayat_consensus::{EpochNumber, GroupId};

/// The version of the format of frames and of everything in them.
pub const FRAME_VERSION: u8 = 2;

/// The bytes of a frame before its first message.
pub const FRAME_HEADER_BYTES: usize = 17;

/// Collects messages for one receiver.
#[derive(Debug)]
pub struct FrameWriter {
    header: FrameHeader,
    out: Writer,
    messages: u32,
}

/// The address part of a received frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// The group it is for.
    pub group: GroupId,
    /// The epoch of that group its sender was in.
    pub epoch: EpochNumber,
    /// A fingerprint of what the members of the epoch must agree on: protocol, quorums, who sits
    /// where. Members that were started differently do not read each other's messages.
    pub terms: u32,
}

impl FrameWriter {
    /// A writer of frames with this header.
    pub fn new(header: FrameHeader) -> Self {
        Self { header, out: Writer::default(), messages: 0 }
    }

    /// Appends a message that was encoded already.
    pub fn push_encoded(&mut self, message: &[u8]) {
        self.begin_message();
        self.out.put_raw(message);
    }

    /// Appends a message.
    pub fn push(&mut self, message: &impl Encode) {
        self.begin_message();
        message.encode(&mut self.out);
    }

    fn begin_message(&mut self) {
        if self.messages == 0 {
            self.out.put_u8(FRAME_VERSION);
            self.out.put_u32(self.header.group.0);
            self.out.put_u64(self.header.epoch.0);
            self.out.put_u32(self.header.terms);
        }
        self.messages += 1;
    }

    /// The bytes collected so far.
    pub fn len(&self) -> usize {
        self.out.len()
    }

    /// Whether no message was collected.
    pub fn is_empty(&self) -> bool {
        self.messages == 0
    }

    /// The messages collected so far.
    pub fn messages(&self) -> u32 {
        self.messages
    }

    /// Takes the frame, unless it would be empty.
    pub fn take(&mut self) -> Option<Bytes> {
        if self.messages == 0 {
            return None;
        }
        self.messages = 0;
        Some(self.out.take())
    }
}

/// The group that a frame is for, read without the rest; `None` for a stump or another version.
pub fn group_of(frame: &[u8]) -> Option<GroupId> {
    let (version, rest) = frame.split_first()?;
    let group = u32::from_le_bytes(*rest.first_chunk()?);
    (*version == FRAME_VERSION).then_some(GroupId(group))
}

/// Reads the header of a frame. What is left in the reader are its messages.
///
/// # Errors
/// [`DecodeError::UnknownTag`] for another version, [`DecodeError::Truncated`] for a stump.
pub fn open_frame(frame: Bytes) -> Result<(FrameHeader, Reader), DecodeError> {
    let mut input = Reader::new(frame);
    match input.u8()? {
        FRAME_VERSION => {}
        tag => return Err(DecodeError::UnknownTag { what: "frame version", tag }),
    }
    let group = GroupId(input.u32()?);
    let epoch = EpochNumber(input.u64()?);
    let terms = input.u32()?;
    Ok((FrameHeader { group, epoch, terms }, input))
}

/// Reads the next message of a frame; `None` at its end.
///
/// # Errors
/// Whatever the message's decoder refuses. The rest of the frame is then worthless.
pub fn next_message<M: Decode>(input: &mut Reader) -> Result<Option<M>, DecodeError> {
    if input.is_empty() { Ok(None) } else { M::decode(input).map(Some) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use panchayat_consensus::{InstanceId, ReplicaId};

    #[test]
    fn messages_come_back_in_order() {
        let ours = FrameHeader { group: GroupId(7), epoch: EpochNumber(3), terms: 0xfeed };
        let mut writer = FrameWriter::new(ours);
        assert_eq!(writer.take(), None);
        let ids = [InstanceId::new(ReplicaId(0), 1), InstanceId::new(ReplicaId(2), 900)];
        for id in &ids {
            writer.push(id);
        }
        let frame = writer.take().unwrap();
        assert_eq!(group_of(&frame), Some(ours.group));
        assert_eq!((group_of(&frame[..4]), group_of(b"\x09123456")), (None, None));
        let (header, mut input) = open_frame(frame).unwrap();
        assert_eq!(header, ours);
        assert_eq!(next_message(&mut input), Ok(Some(ids[0])));
        assert_eq!(next_message(&mut input), Ok(Some(ids[1])));
        assert_eq!(next_message::<InstanceId>(&mut input), Ok(None));
        assert!(writer.is_empty() && writer.take().is_none());
    }

    #[test]
    fn another_version_and_a_stump_are_refused() {
        assert!(matches!(
            open_frame(Bytes::from_static(&[9; 20])),
            Err(DecodeError::UnknownTag { what: "frame version", tag: 9 })
        ));
        assert!(matches!(
            open_frame(Bytes::from_static(&[FRAME_VERSION, 0])),
            Err(DecodeError::Truncated)
        ));
    }
}
