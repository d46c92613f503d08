//! Snapshots around a running group: when one is taken, who writes it, how a replica starts from
//! it, and how a replica that missed too much gets a peer's.
//!
//! The group decides what a snapshot consists of, the store what its bytes promise; here is what
//! lies between:
//!
//! | file | what |
//! |---|---|
//! | `desk` | everything about them that the replica's thread decides |
//! | `due` | when the journal has grown enough for the next one |
//! | `writer` | the thread that writes them and cuts the journal below them |
//! | `decode` | a snapshot's file back into a state |
//! | `start` | a group from its snapshot and its journal |
//! | `marker` | the note that this directory's replica has run before |
//! | `request` | what a replica that needs a state says, and is told |
//! | `serving` | the serving replica: what it promises to keep, and for whom |
//! | `stream` | a file on its way to a peer |
//! | `fetch` | the replica that takes over a state: the transfer |
//! | `catch_up` | the same replica's thread: whom to ask, and when |

mod catch_up;
mod decode;
mod desk;
mod due;
mod fetch;
mod marker;
mod request;
mod serving;
mod start;
mod stream;
mod writer;

pub(crate) use catch_up::CatchUp;
pub use decode::SnapshotUnreadable;
pub(crate) use decode::check;
pub(crate) use desk::Desk;
pub(crate) use due::Due;
pub(crate) use fetch::Fetcher;
pub use marker::MarkerError;
pub(crate) use marker::leave_restored;
pub(crate) use request::group_of;
pub(crate) use serving::{Ask, Asked, Word};
pub(crate) use start::{Places, Started, load};
pub(crate) use stream::Stream;
pub(crate) use writer::{Report, SnapshotWriter};
