//! Messages on their way out: encoded once, collected into one frame per peer, lane and turn.

use panchayat_consensus::wire::{Encode, Writer};
use panchayat_consensus::{EpochNumber, GroupId, NodeId, ReplicaSet};
use panchayat_core::frame::FrameWriter;
use panchayat_transport::{Lane, Mesh};

/// Messages above this travel in a lane of their own, so that votes need not wait behind them.
const SMALL_MESSAGE_BYTES_MAX: usize = 4 << 10;
/// A frame that has grown this large leaves before the turn ends.
const FRAME_BYTES_SOFT_MAX: usize = 256 << 10;

pub(crate) struct Outbox {
    mesh: Mesh,
    peers: Vec<NodeId>,
    /// Per seat: small messages, large messages.
    frames: Vec<[FrameWriter; 2]>,
    scratch: Writer,
    pub(crate) messages_sent: u64,
    pub(crate) bytes_sent: u64,
    pub(crate) frames_sent: u64,
    pub(crate) frames_refused: u64,
}

const LANES: [Lane; 2] = [Lane::Urgent, Lane::Normal];

impl Outbox {
    pub(crate) fn new(mesh: Mesh, peers: Vec<NodeId>, group: GroupId, epoch: EpochNumber) -> Self {
        let frames = peers.iter().map(|_| LANES.map(|_| FrameWriter::new(group, epoch))).collect();
        Self {
            mesh,
            peers,
            frames,
            scratch: Writer::default(),
            messages_sent: 0,
            bytes_sent: 0,
            frames_sent: 0,
            frames_refused: 0,
        }
    }

    pub(crate) fn push(&mut self, to: ReplicaSet, message: &impl Encode) {
        self.scratch.clear();
        message.encode(&mut self.scratch);
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

    pub(crate) fn flush(&mut self) {
        for seat in 0..self.frames.len() {
            for lane in 0..LANES.len() {
                self.send(seat, lane);
            }
        }
    }

    /// A frame that the transport does not take is lost, as on any network; the protocol repeats
    /// what matters.
    fn send(&mut self, seat: usize, lane: usize) {
        if let Some(frame) = self.frames[seat][lane].take() {
            let bytes = frame.len() as u64;
            match self.mesh.send(self.peers[seat], LANES[lane], frame) {
                Ok(()) => {
                    self.frames_sent += 1;
                    self.bytes_sent += bytes;
                }
                Err(_) => self.frames_refused += 1,
            }
        }
    }
}
