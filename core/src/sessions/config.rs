//! How long a group remembers requests, and how many.

use panchayat_consensus::Span;
use thiserror::Error;

/// How exactly-once is kept in one group.
///
/// `retention` and `output_bytes_max` decide what a command answers, so they are part of the
/// group's configuration: equal at all members, changed only with an epoch. The rest is each
/// replica's own.
///
/// A group that takes `r` session commands a second holds about `r × retention` entries: with the
/// defaults, 7,000 a second for ten minutes. For more, shorten `retention` or give it more room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SessionConfig {
    /// For how long after its first attempt a request is recognized, by the proposal times of its
    /// attempts. An attempt proposed later is not applied, and its outcome is unknown.
    pub retention: Span,
    /// Outputs whose encoding is longer are not kept: a retry then learns that the request was
    /// applied, but not what it answered.
    pub output_bytes_max: usize,
    /// How far a client's clock may be from this replica's. A request that seems to be issued
    /// further in the future is not proposed, nor one that might be too old by another clock.
    pub skew: Span,
    /// With this many entries a replica proposes no more session commands. Commands in flight, at
    /// all replicas, may still exceed it: execution never refuses.
    pub entries_max: usize,
    /// As `entries_max`, in bytes: outputs, and [`ENTRY_BYTES`] for every entry.
    pub bytes_max: usize,
}

/// What an entry is reckoned at besides its output, in bytes: its row, its place in the queue of
/// expiry and its share of the nodes above.
pub const ENTRY_BYTES: usize = 128;

/// Why a session configuration is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SessionConfigError {
    /// No request would ever be young enough.
    #[error("the retention of requests ({retention:?}) must exceed twice the skew ({skew:?})")]
    RetentionTooShort {
        /// The retention configured.
        retention: Span,
        /// The skew configured.
        skew: Span,
    },
    /// A retained output would not fit what states are written with.
    #[error("outputs of {0} bytes cannot be kept; the most is 16 MiB")]
    OutputTooLong(usize),
}

impl SessionConfig {
    /// The longest output that can be kept, in bytes.
    pub const OUTPUT_BYTES_CEILING: usize = 16 << 20;

    /// Whether it makes sense.
    ///
    /// # Errors
    /// What does not.
    pub fn check(&self) -> Result<(), SessionConfigError> {
        if self.retention.0 <= self.skew.0.saturating_mul(2) {
            let (retention, skew) = (self.retention, self.skew);
            return Err(SessionConfigError::RetentionTooShort { retention, skew });
        }
        if self.output_bytes_max > Self::OUTPUT_BYTES_CEILING {
            return Err(SessionConfigError::OutputTooLong(self.output_bytes_max));
        }
        Ok(())
    }
}

impl Default for SessionConfig {
    /// Ten minutes, a minute of skew, outputs up to 4 KiB, four million entries in 1 GiB.
    fn default() -> Self {
        Self {
            retention: Span::from_ms(600_000),
            output_bytes_max: 4 << 10,
            skew: Span::from_ms(60_000),
            entries_max: 4 << 20,
            bytes_max: 1 << 30,
        }
    }
}
