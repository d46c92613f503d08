//! What clients are told when a command was not executed, or may not have been.
//!
//! The first word says what to do: `TRYAGAIN` and `CLUSTERDOWN` are certain, nothing was applied;
//! `UNKNOWN` is not, and trying again may apply it twice.

use panchayat::{ProposeError, ReadError, ReadRefusal};

use crate::redis::Reply;

/// The answer to a write that has no output.
pub(super) fn of_write(error: &ProposeError) -> Reply {
    match error {
        ProposeError::Overloaded => overloaded(),
        ProposeError::TooLarge { bytes, bytes_max } => Reply::error(format!(
            "ERR the command takes {bytes} bytes, and the limit is {bytes_max}; it was not applied"
        )),
        error if error.is_certain() => Reply::error(format!("CLUSTERDOWN {error}")),
        error => Reply::error(format!("UNKNOWN {error}")),
    }
}

/// The answer to a read that has none.
pub(super) fn of_read(error: &ReadError) -> Reply {
    match error {
        ReadError::Refused(ReadRefusal::Overloaded) => overloaded(),
        error => Reply::error(format!("CLUSTERDOWN {error}")),
    }
}

/// The answer in the place of one that nobody could take.
pub(super) fn too_long() -> Reply {
    Reply::error("ERR the reply is too long; what was asked for has been done")
}

/// There is no room.
pub(super) fn overloaded() -> Reply {
    Reply::error("TRYAGAIN too much is under way at this replica; nothing was applied")
}

/// Nothing was tried, since it could not succeed.
pub(super) fn no_quorum() -> Reply {
    Reply::error("CLUSTERDOWN this replica does not reach a majority; nothing was applied")
}

/// A write that was waited for long enough.
pub(super) fn write_timeout() -> Reply {
    Reply::error("UNKNOWN no majority has answered in time; the command may or may not be applied")
}

/// The same for a read.
pub(super) fn read_timeout() -> Reply {
    Reply::error("CLUSTERDOWN no majority has answered in time; nothing was read")
}
