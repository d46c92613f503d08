//! What QUIC datagrams carry between two nodes: heartbeats, counts, and short frames where both ends
//! speak version 3 and the sender wants it ([`crate::MeshConfig::datagrams`]).
//!
//! ```text
//! 1 = ping | 2 = pong, timestamp u64 LE (the pinger's own, echoed)
//! 3 = taken, u64 LE, how many frames of the bulk lane so far
//! 4 = frame, lane u8, then the one frame as on a stream
//! ```
//!
//! Nobody sends a datagram again. A count says what earlier ones said and more, and the last one is
//! repeated with every heartbeat; a frame that is lost is sent again by the protocol above, or not.
//! What that buys is that no other frame waits for it, as everything behind a lost packet does on
//! a stream.
//!
//! QUIC sends datagrams before any stream, and drops the oldest when too many wait. So a frame goes
//! as one only while few wait, which is while the path has room; otherwise it takes its lane's
//! stream, where priorities and back-pressure hold. No frame is dropped here, and no heartbeat.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use quinn::{Connection, SendDatagramError};

use crate::frame::{self, FrameError, HEADER_BYTES};
use crate::lane::Lane;
use crate::peer::Peer;

/// The first version of the wire in which datagrams may carry frames.
pub(crate) const FRAMES_SINCE_VERSION: u8 = 3;

/// Heartbeats and counts that wait to be sent or read need far less, even if a peer is silent until
/// the idle timeout; frames take what [`RESERVE_BYTES`] leaves.
pub(crate) const BUFFER_BYTES: usize = 64 << 10;

/// For datagrams that wait to be read where frames are expected: a burst of them that comes at once.
pub(crate) const FRAMES_BUFFER_BYTES: usize = 512 << 10;

/// What is kept free of frames in the buffer of datagrams that wait to be sent.
const RESERVE_BYTES: usize = 16 << 10;

const PING: u8 = 1;
const PONG: u8 = 2;
const TAKEN: u8 = 3;
const FRAME: u8 = 4;

/// A datagram with a number.
const NUMBER_BYTES: usize = 1 + 8;
/// What stands in front of a frame, its own header included.
const BEFORE_FRAME_BYTES: usize = 2 + HEADER_BYTES;

/// What a datagram says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Datagram {
    Ping(u64),
    Pong(u64),
    Taken(u64),
    Frame(Lane, Bytes),
}

/// What is wrong with an incoming datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error("{0}")]
    Protocol(&'static str),
}

impl Datagram {
    pub(crate) fn encode(&self) -> Bytes {
        let (kind, number) = match self {
            Self::Ping(number) => (PING, number),
            Self::Pong(number) => (PONG, number),
            Self::Taken(number) => (TAKEN, number),
            Self::Frame(lane, frame) => {
                let mut bytes = BytesMut::with_capacity(BEFORE_FRAME_BYTES + frame.len());
                bytes.put_slice(&[FRAME, lane.code()]);
                frame::put(frame, &mut bytes);
                return bytes.freeze();
            }
        };
        let mut bytes = BytesMut::with_capacity(NUMBER_BYTES);
        bytes.put_u8(kind);
        bytes.put_u64_le(*number);
        bytes.freeze()
    }

    /// What a peer with whom `version` is spoken says, whose frames are no longer than `limit`.
    pub(crate) fn decode(mut bytes: Bytes, version: u8, limit: usize) -> Result<Self, Malformed> {
        let Some(&kind) = bytes.first() else {
            return Err(Malformed::Protocol("an empty datagram"));
        };
        if kind == FRAME && version >= FRAMES_SINCE_VERSION {
            let lane = bytes.get(1).and_then(|code| Lane::from_code(*code));
            // Frames of the bulk lane are counted on their stream.
            let lane = lane.filter(|lane| *lane != Lane::Bulk);
            let lane = lane.ok_or(Malformed::Protocol("a datagram of no lane"))?;
            let frame = frame::only(bytes.split_off(2), limit)?;
            let frame = frame.ok_or(Malformed::Protocol("a datagram that is not one frame"))?;
            return Ok(Self::Frame(lane, frame));
        }
        let Ok(number) = bytes[1..].try_into().map(u64::from_le_bytes) else {
            return Err(Malformed::Protocol("a datagram of the wrong length"));
        };
        match kind {
            PING => Ok(Self::Ping(number)),
            PONG => Ok(Self::Pong(number)),
            TAKEN => Ok(Self::Taken(number)),
            _ => Err(Malformed::Protocol("an unknown datagram")),
        }
    }
}

/// Sends frames of one link as datagrams.
#[derive(Clone, Debug)]
pub(crate) struct FrameSender {
    peer: Arc<Peer>,
    connection: Connection,
}

impl FrameSender {
    pub(crate) fn new(peer: &Arc<Peer>, connection: &Connection) -> Self {
        Self { peer: Arc::clone(peer), connection: connection.clone() }
    }

    /// Sends those of `frames` for which a datagram has room, and leaves the others.
    pub(crate) fn send(
        &self,
        lane: Lane,
        frames: &mut VecDeque<Bytes>,
    ) -> Result<(), SendDatagramError> {
        // Of a path that turns out to carry less in this very moment, quinn drops what is too long.
        let Some(longest) = self.connection.max_datagram_size() else { return Ok(()) };
        let (mut sent, mut diverted) = (0, 0);
        let mut others = VecDeque::new();
        for frame in frames.drain(..) {
            let bytes = frame.len() + BEFORE_FRAME_BYTES;
            if bytes > longest {
                others.push_back(frame);
            } else if self.connection.datagram_send_buffer_space() < bytes + RESERVE_BYTES {
                diverted += 1;
                others.push_back(frame);
            } else {
                match self.connection.send_datagram(Datagram::Frame(lane, frame.clone()).encode()) {
                    Ok(()) => sent += 1,
                    Err(SendDatagramError::TooLarge) => others.push_back(frame),
                    Err(error) => return Err(error),
                }
            }
        }
        *frames = others;
        self.peer.counters.datagrams.sent(sent, diverted);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMIT: usize = 100;

    fn frame() -> Datagram {
        Datagram::Frame(Lane::Normal, Bytes::from_static(b"a vote"))
    }

    #[test]
    fn every_kind_survives_the_wire() {
        let empty = Datagram::Frame(Lane::Urgent, Bytes::new());
        for sent in [Datagram::Ping(1), Datagram::Pong(2), Datagram::Taken(3), frame(), empty] {
            assert_eq!(Datagram::decode(sent.encode(), 3, LIMIT), Ok(sent));
        }
    }

    #[test]
    fn version_2_knows_no_frames_in_datagrams() {
        assert!(Datagram::decode(frame().encode(), 2, LIMIT).is_err());
        // Not even those that are as long as a number.
        let short = Datagram::Frame(Lane::Normal, Bytes::from_static(b"no"));
        assert_eq!(short.encode().len(), NUMBER_BYTES);
        let unknown = Malformed::Protocol("an unknown datagram");
        assert_eq!(Datagram::decode(short.encode(), 2, LIMIT), Err(unknown));
    }

    #[test]
    fn a_frame_is_refused_as_on_a_stream_and_unless_it_is_alone_and_whole() {
        let changed = |at: usize, to: u8| {
            let mut bytes = frame().encode().to_vec();
            bytes[at] = to;
            Datagram::decode(bytes.into(), 3, LIMIT)
        };
        assert_eq!(changed(6, 9), Err(Malformed::Frame(FrameError::Version(9))));
        let large = FrameError::TooLarge { bytes: 200, limit: LIMIT };
        assert_eq!(changed(2, 200), Err(Malformed::Frame(large)));
        // Shorter and longer than it says; lanes that do not exist, and the one that has none here.
        for (at, to) in [(2, 5), (2, 7), (1, 3), (1, 255), (1, Lane::Bulk.code())] {
            assert!(matches!(changed(at, to), Err(Malformed::Protocol(_))), "{at} {to}");
        }
        let whole = frame().encode();
        for length in 1..whole.len() {
            assert!(Datagram::decode(whole.slice(..length), 3, LIMIT).is_err(), "{length}");
        }
    }

    proptest! {
        #[test]
        fn garbage_is_refused_or_read_but_never_panics(
            bytes in prop::collection::vec(any::<u8>(), 0..40),
            version in 2u8..4,
        ) {
            if let Ok(read) = Datagram::decode(bytes.clone().into(), version, LIMIT) {
                prop_assert_eq!(read.encode(), bytes);
            }
        }
    }
}
