//! Lanes: the classes of frames that never wait for each other.
//!
//! Votes queued behind a megabyte of payload turn overload into false suspicion. So each class has
//! its own queue, its own QUIC stream and its own stream priority. Frames of one lane arrive in
//! order (within one connection); frames of different lanes may overtake each other. Where frames go
//! as datagrams ([`crate::MeshConfig::datagrams`]) there is no order, and queues are all that lanes
//! have of their own.

/// How many lanes there are.
pub(crate) const LANES: usize = 3;

/// A class of frames: its own queue, stream and priority.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Lane {
    /// Small and needed at once: votes, leases, leader heartbeats.
    Urgent = 0,
    /// Ordinary protocol messages with their commands.
    Normal = 1,
    /// Large payloads, and what may wait. What is too large for frames is fetched: see
    /// [`crate::Mesh::fetch`].
    Bulk = 2,
}

impl Lane {
    /// Every lane, most urgent first.
    pub const ALL: [Self; LANES] = [Self::Urgent, Self::Normal, Self::Bulk];

    /// The lane as an index into per-lane arrays (`MeshStats`, `Limits`).
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The lane a stream announced by `code` carries.
    pub(crate) fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|lane| *lane as u8 == code)
    }

    /// The byte that opens a stream of this lane.
    pub(crate) const fn code(self) -> u8 {
        self as u8
    }

    /// quinn's stream priority; higher goes first.
    pub(crate) const fn priority(self) -> i32 {
        match self {
            Self::Urgent => 20,
            Self::Normal => 10,
            Self::Bulk => 0,
        }
    }
}
