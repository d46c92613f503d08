//! Messages on their way out: encoded once, collected into one frame per peer, lane and turn.

use panchayat_consensus::wire::{Encode, Writer};
use panchayat_consensus::{NodeId, REPLICAS_MAX, ReplicaSet};
use panchayat_core::frame::{FrameHeader, FrameWriter};
use panchayat_transport::{Lane, Mesh, SendError};

/// Messages above this travel in a lane of their own, so that votes need not wait behind them.
const SMALL_MESSAGE_BYTES_MAX: usize = 4 << 10;
/// A message above this travels by itself in the bulk lane, where the others need not wait behind
/// it, and is not sent again while it is still on its way.
const LARGE_MESSAGE_BYTES_MIN: usize = 64 << 10;
/// A frame that has grown this large leaves before the turn ends.
const FRAME_BYTES_SOFT_MAX: usize = 256 << 10;

pub(crate) struct Outbox {
    mesh: Mesh,
    peers: [Option<NodeId>; REPLICAS_MAX],
    /// Per place: small messages, those that are not.
    frames: Vec<[FrameWriter; 2]>,
    large: FrameWriter,
    scratch: Writer,
    pub(crate) messages_sent: u64,
    pub(crate) bytes_sent: u64,
    pub(crate) frames_sent: u64,
    pub(crate) frames_refused: u64,
}

const LANES: [Lane; 2] = [Lane::Urgent, Lane::Normal];

impl Outbox {
    pub(crate) fn new(mesh: Mesh, header: FrameHeader) -> Self {
        let frames = (0..REPLICAS_MAX).map(|_| LANES.map(|_| FrameWriter::new(header))).collect();
        Self {
            mesh,
            peers: [None; REPLICAS_MAX],
            frames,
            large: FrameWriter::new(header),
            scratch: Writer::default(),
            messages_sent: 0,
            bytes_sent: 0,
            frames_sent: 0,
            frames_refused: 0,
        }
    }

    /// From now on these nodes have the places. What is for others by then has left.
    pub(crate) fn set_peers(&mut self, peers: [Option<NodeId>; REPLICAS_MAX]) {
        self.flush();
        self.peers = peers;
    }

    pub(crate) fn push(&mut self, to: ReplicaSet, message: &impl Encode) {
        self.scratch.clear();
        message.encode(&mut self.scratch);
        if self.scratch.len() > LARGE_MESSAGE_BYTES_MIN {
            self.send_large(to);
            return;
        }
        let lane = usize::from(self.scratch.len() > SMALL_MESSAGE_BYTES_MAX);
        for replica in to.iter() {
            let frame = &mut self.frames[replica.index()][lane];
            frame.push_encoded(self.scratch.as_slice());
            self.messages_sent += 1;
            if frame.len() >= FRAME_BYTES_SOFT_MAX {
                self.send(replica.index(), lane);
            }
        }
    }

    /// One frame with what was encoded last, the same to all.
    fn send_large(&mut self, to: ReplicaSet) {
        self.large.push_encoded(self.scratch.as_slice());
        let Some(frame) = self.large.take() else { return };
        // What this once needed to be encoded is not kept for the small ones that follow.
        self.scratch = Writer::default();
        for replica in to.iter() {
            self.messages_sent += 1;
            let sent = match self.peers[replica.index()] {
                Some(peer) => self.mesh.send_once(peer, frame.clone()),
                None => Err(SendError::UnknownPeer),
            };
            self.count(frame.len(), sent);
        }
    }

    pub(crate) fn flush(&mut self) {
        for place in 0..self.frames.len() {
            for lane in 0..LANES.len() {
                self.send(place, lane);
            }
        }
    }

    /// A frame that the transport does not take is lost, as on any network; the protocol repeats
    /// what matters.
    fn send(&mut self, place: usize, lane: usize) {
        if let Some(frame) = self.frames[place][lane].take() {
            let bytes = frame.len();
            let sent = match self.peers[place] {
                Some(peer) => self.mesh.send(peer, LANES[lane], frame),
                None => Err(SendError::UnknownPeer),
            };
            self.count(bytes, sent.map(|()| true));
        }
    }

    fn count(&mut self, bytes: usize, sent: Result<bool, SendError>) {
        match sent {
            Ok(false) => {}
            Ok(true) => {
                self.frames_sent += 1;
                self.bytes_sent += bytes as u64;
            }
            Err(_) => self.frames_refused += 1,
        }
    }
}
