//! Reads: how current an answer must be, who vouches for it, and why there may be none.

use std::fmt;

use crate::time::Span;

/// How current the answer to a query must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ReadLevel {
    /// It contains everything answered to anyone, anywhere, before the read began. Trusts no
    /// clock; takes a quorum.
    Linearizable,
    /// The same, without asking anyone where the leader holds a lease. Trusts that clocks run at
    /// the right *rate*, within the bound that the lease is configured with; refused by protocols
    /// without leases and where none is configured.
    Lease,
    /// It contains everything answered longer ago than `max`, and says how much longer at most.
    /// Given from the local state if that is known to be so; otherwise the read
    /// is made linearizable.
    /// What is known comes from earlier reads and from the times that commands carry, and so trusts
    /// that wall clocks agree within the group's configured skew. With [`Span::MAX`] it is always
    /// answered at once.
    Stale {
        /// How old the state may be.
        max: Span,
    },
}

/// Who vouches that a read misses nothing: what a protocol is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Assurance {
    /// A quorum, heard after the read began.
    Quorum,
    /// A leader, as long as it holds a lease.
    Lease,
}

/// Why a read was not answered. Nothing was read; it may be tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ReadRefusal {
    /// Too much waits here.
    Overloaded,
    /// A lease read where there is no lease to be had.
    NoLease,
    /// No quorum, or no leader, was heard in time, or what the read waited for was not executed.
    Unreachable,
    /// The local state may be older than was allowed, and no quorum was heard in time.
    TooOld {
        /// How old it may be; `None` if that is not known.
        age: Option<Span>,
    },
}

impl fmt::Display for ReadRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Overloaded => f.write_str("too much waits at this replica"),
            Self::NoLease => f.write_str("there are no leases here"),
            Self::Unreachable => f.write_str("no quorum was heard in time"),
            Self::TooOld { age: Some(age) } => {
                let ms = age.as_ms_f64();
                write!(f, "the state here may be {ms:.1} ms old, and no quorum was heard in time")
            }
            Self::TooOld { age: None } => f.write_str(
                "how old the state here is is not known, and no quorum was heard in time",
            ),
        }
    }
}
