//! What a replica may hold at once.

use std::time::Duration;

use crate::error::StartError;

/// Half of what the lane of large messages holds for a peer.
const COMMAND_BYTES_CEILING: usize = 16 << 20;
/// The journal's queue, unless commands may be larger or its segments are too small for it.
const QUEUE_BYTES: u64 = 8 << 20;
/// What a message says beside its command, at most.
const BESIDE_COMMAND_BYTES: usize = 1 << 20;

/// What a replica may hold at once, in memory and on disk.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Most proposals of this replica without a result; above, they are `Overloaded`.
    pub proposals_max: usize,
    /// How long a proposal may wait before the replica begins with it; above, it is `Overloaded`.
    /// Nobody has to wait here while the replica keeps up.
    pub proposal_wait_max: Duration,
    /// Most bytes of received frames that wait for the replica's thread; above, peers wait.
    pub inbox_bytes_max: u32,
    /// Most bytes of commands without a result; above, proposals are `Overloaded`.
    pub proposal_bytes_max: u32,
    /// Most queries of this replica without an answer; above, they are `Overloaded`.
    pub reads_max: usize,
    /// How long a query may wait for a quorum before it is refused.
    pub read_timeout: Duration,
    /// Longest encoding of a command, in bytes; at most 16 MiB, and a quarter of a segment. Must be
    /// the same at all members.
    pub command_bytes_max: usize,
    /// After so many bytes of records a snapshot is taken, and the journal cut below it.
    pub snapshot_journal_bytes: u64,
    /// How fast snapshots are written, in bytes per second: what is left of the disk belongs to
    /// the journal.
    pub snapshot_bytes_per_second: u64,
    /// How fast all peers together are sent states they take over, in bytes per second.
    pub state_bytes_per_second: u64,
    /// Length of one file of the journal, in bytes.
    pub journal_segment_bytes: u64,
    /// Most bytes the journal's files may take; at the limit proposals are refused until a
    /// snapshot lets it be cut.
    pub journal_bytes_max: u64,
    /// Above so many decided instances kept for members that do not have them, those that hold
    /// everybody up are counted as absent: they will need a state. Proposals are `Overloaded` at
    /// four times as many.
    pub retained_max: usize,
    /// The same in bytes of commands.
    pub retained_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        let protocol = panchayat_epaxos::Limits::default();
        Self {
            proposals_max: 1 << 14,
            proposal_wait_max: Duration::from_millis(100),
            inbox_bytes_max: 64 << 20,
            proposal_bytes_max: 64 << 20,
            reads_max: 1 << 14,
            read_timeout: Duration::from_secs(5),
            command_bytes_max: 1 << 20,
            snapshot_journal_bytes: 64 << 20,
            snapshot_bytes_per_second: 64 << 20,
            state_bytes_per_second: 32 << 20,
            journal_segment_bytes: 64 << 20,
            journal_bytes_max: 4 << 30,
            retained_max: protocol.retained_max,
            retained_bytes_max: protocol.retained_bytes_max,
        }
    }
}

impl Limits {
    /// Whether they go together.
    pub(crate) fn check(&self) -> Result<(), StartError> {
        // A command travels in a frame and rests in a record; it must fit into either.
        if self.command_bytes_max > COMMAND_BYTES_CEILING {
            return Err(StartError::Limits("command_bytes_max is above 16 MiB"));
        }
        if self.command_bytes_max > self.queue_bytes_max() / 2 {
            return Err(StartError::Limits("command_bytes_max is above a quarter of a segment"));
        }
        let zero = self.proposals_max == 0
            || self.proposal_wait_max.is_zero()
            || self.reads_max == 0
            || self.read_timeout.is_zero()
            || self.proposal_bytes_max == 0
            || self.inbox_bytes_max == 0
            || self.snapshot_journal_bytes == 0
            || self.snapshot_bytes_per_second == 0
            || self.state_bytes_per_second == 0
            || self.retained_max == 0
            || self.retained_bytes_max == 0;
        if zero {
            return Err(StartError::Limits("a limit of 0 lets nothing through"));
        }
        // One in use, one ahead, one to be snapshotted, and one while that is done.
        if self.journal_bytes_max / 4 < self.journal_segment_bytes {
            return Err(StartError::Limits("journal_bytes_max is below four segments"));
        }
        Ok(())
    }

    /// The journal's queue must fit into one segment.
    pub(crate) fn queue_bytes_max(&self) -> usize {
        let wanted = QUEUE_BYTES.max(self.command_bytes_max as u64 * 2);
        wanted.min(self.journal_segment_bytes / 2) as usize
    }

    /// Frames and requests must be able to carry a command.
    pub(crate) fn frame_bytes_max(&self) -> usize {
        self.command_bytes_max.saturating_add(BESIDE_COMMAND_BYTES)
    }
}
