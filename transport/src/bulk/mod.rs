//! Bulk transfers: one node fetches something of any size from another, a snapshot say.
//!
//! A frame is held in memory whole, and a lane is for everybody; a gigabyte fits neither. So each
//! transfer has a bidirectional QUIC stream of its own on the connection that the two nodes already
//! have, with a priority below every lane: it gets what votes and commands leave over. QUIC's flow
//! control is the back-pressure, from the fetcher that does not read to the owner that writes;
//! and what the fetcher says it has read lets the server keep the path's queues short (`window`).
//!
//! ```text
//! request:   version u8 (1), length u32 LE, the request; then from time to time
//!            u64 LE, how many bytes of data were read so far
//! response:  records: kind u8, length u32 LE, bytes; the last one is not data; then the end
//!            kind 0 data | 1 end | 2 refused, overloaded | 3 refused, and the bytes say why
//! ```
//!
//! Only the record "end" means that everything has come. A stream that ends without one, is reset,
//! or goes down with its connection, is an error. Nothing resumes by itself: a request is opaque
//! here, and its owner can put an offset in it.
//!
//! | file | what |
//! |---|---|
//! | `wire` | the request's head and the records; sans-IO |
//! | `window` | how much may be on its way; sans-IO |
//! | `count` | places (limits) and counters |
//! | `rate` | [`RateLimit`] |
//! | `sink` | [`BulkSink`], what the serving owner writes to |
//! | `serve` | the serving side's task |
//! | `fetch` | the fetching side's opening |
//! | `reader` | [`BulkReader`], what the fetching owner reads from |

mod count;
mod fetch;
mod rate;
mod reader;
mod serve;
mod sink;
mod window;
mod wire;

pub use count::TransferStats;
pub use fetch::FetchError;
pub use rate::RateLimit;
pub use reader::BulkReader;
pub use sink::{BulkSink, TransferEnded};

pub(crate) use count::Transfers;
pub(crate) use fetch::fetch;
pub(crate) use serve::serve_transfers;

use crate::config::Limits;

/// The version of the layout above.
const TRANSFER_VERSION: u8 = 1;

/// What a fetcher reads, at most, before it says so. Far below the least window: what waits to be
/// said never holds up the server.
const CREDIT_BYTES: u64 = 32 << 10;

/// quinn's priority of a transfer's streams; the lowest lane has 0.
const PRIORITY: i32 = -10;

/// How many streams a peer may open for transfers (and its hello): twice as many as are served, so
/// that what is too much can be told so instead of waiting for no stated reason.
pub(crate) fn streams_max(limits: &Limits) -> u32 {
    let transfers = u32::try_from(limits.transfers_per_peer_max).unwrap_or(u32::MAX);
    transfers.saturating_mul(2).saturating_add(1)
}
