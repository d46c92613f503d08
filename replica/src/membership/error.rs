//! Why members or protocol were not changed.

use panchayat_consensus::NodeId;
use panchayat_epochs::EpochError;
use thiserror::Error;

use crate::protocol::ProtocolError;

/// Why a [`Change`](crate::Change) was not made.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ChangeError {
    /// There can be no such group, or not as the next step from what there is.
    #[error(transparent)]
    Epoch(#[from] EpochError),
    /// The protocol cannot be run by those members as it was chosen. Choose it anew along with them.
    #[error("{0}; say in the same change how the protocol is to be run")]
    Protocol(#[from] ProtocolError),
    /// A name is taken, empty or too long.
    #[error("`{name}` cannot be the name of a member: {why}")]
    Name {
        /// The name.
        name: String,
        /// Why.
        why: &'static str,
    },
    /// Numbers of nodes give them their places, and this one's is taken.
    #[error("{node} would have the place of another member: take {next}")]
    NoPlace {
        /// The node.
        node: NodeId,
        /// The first whose place is free.
        next: NodeId,
    },
    /// An expected round trip is none.
    #[error("a round trip of {node} is longer than a minute: that is no link")]
    RoundTrip {
        /// The node.
        node: NodeId,
    },
    /// With these members nothing could be decided for now: too few of them are alive and have the state.
    #[error(
        "of {members} members only {alive} would be alive and have the state, and {needed} are needed to \
         decide anything: wait until newcomers have it, replace the dead in the same change, or say there a \
         protocol or quorums that fewer can run"
    )]
    TooFewAlive {
        /// Members of the next epoch that are not suspected here and have said that they have the state.
        alive: usize,
        /// How many are needed.
        needed: usize,
        /// How many there would be.
        members: usize,
    },
    /// A member runs a program that does not know what is asked for.
    #[error(
        "{node} runs an older program, which does not know adaptive groups: upgrade all members first"
    )]
    TooOld {
        /// The member.
        node: NodeId,
    },
    /// Of a member nobody knows what program it runs.
    #[error(
        "there is no link to {node} just now, so nobody knows whether its program is new enough: try again \
         when all members are connected"
    )]
    UnknownProgram {
        /// The member.
        node: NodeId,
    },
    /// This replica is no member: ask one that is.
    #[error("this replica is no member of the group, or has not caught up: ask another one")]
    NotMember,
    /// Another change was first, and this one does not follow from it; or this replica was started a
    /// moment ago. Look again at who the members are.
    #[error(
        "another change was first, or this replica has just started: look again, and try again"
    )]
    Overtaken,
    /// Not made, and never will be, for the reason given.
    #[error("not changed: {0}")]
    NotMade(&'static str),
    /// It may be made, or have been. Look at who the members are.
    #[error("it is unknown whether the change was made: {0}")]
    InDoubt(&'static str),
}
