//! Who the members of a group are, and how that is changed while it runs.
//!
//! | file | what |
//! |---|---|
//! | `contact` | how a member is called and reached, as an epoch has it |
//! | `change` | what one wants to be different, and the epoch that follows from it |
//! | `make` | the change, tried until it is made or cannot be |
//! | `directory` | who is at which place, for a replica's thread |
//! | `peers` | the peers that the workloads of a replica need, together |
//! | `program` | whether all members' programs know what is asked for |
//! | `view` | members and protocol, for people and programs |

mod change;
mod contact;
mod directory;
mod error;
mod make;
mod peers;
mod program;
mod view;

/// The members of now, shared with those who want to know.
pub(crate) type Roster =
    std::sync::Arc<parking_lot::Mutex<std::sync::Arc<crate::cluster::Cluster>>>;

pub use change::{Change, Newcomer};
pub(crate) use change::{founding, home_place, next_epoch};
pub(crate) use contact::{addr, put_addr, roster};
pub(crate) use directory::Directory;
pub use error::ChangeError;
pub(crate) use make::make;
pub(crate) use peers::Peers;
pub(crate) use program::check_programs;
pub use view::{GroupView, MemberView, Standing};
