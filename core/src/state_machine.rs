//! The replicated state: what a user of the library writes.

use std::fmt;
use std::io::{self, Read, Write};

use panchayat_consensus::wire::{Decode, DecodeError, Encode, to_bytes};
use panchayat_consensus::{Footprint, InstanceId, WallTime};
use thiserror::Error;
use xxhash_rust::xxh3::xxh3_64;

/// What `apply` may know besides the command: agreed data, the same at every replica.
#[derive(Clone, Copy, Debug)]
pub struct ApplyContext {
    /// The instance that decided the command.
    pub id: InstanceId,
    /// The coordinator's wall clock when it proposed. Use it instead of a local clock.
    pub proposed_at: WallTime,
}

/// A fingerprint of a whole state. Replicas that executed the same commands have equal ones.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct StateHash(pub u64);

impl StateHash {
    /// That of one part of a state, by its encoding. A part says which it is: it holds its key.
    pub fn of(part: &impl Encode) -> Self {
        Self(xxh3_64(&to_bytes(part)))
    }

    /// That of a state with one more part. The order in which parts come is no matter, so a state
    /// can keep its hash up to date with every change.
    pub fn with(self, part: Self) -> Self {
        Self(self.0.wrapping_add(part.0))
    }

    /// That of a state without one of its parts.
    pub fn without(self, part: Self) -> Self {
        Self(self.0.wrapping_sub(part.0))
    }
}

/// Why a written state could not be read back.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// The source failed or ended too early.
    #[error("reading the state: {0}")]
    Io(#[from] io::Error),
    /// It was written in another format than this code reads.
    #[error("the state is in format {found}; this version reads up to {newest}")]
    Version {
        /// The format found.
        found: u8,
        /// The newest format that can be read.
        newest: u8,
    },
    /// A part of it cannot be decoded.
    #[error("a part of the state cannot be decoded: {0}")]
    Decode(#[from] DecodeError),
    /// It contradicts itself, or a limit.
    #[error("the state is malformed: {0}")]
    Malformed(&'static str),
    /// It was written under another configuration, where this one must be equal at all members.
    #[error("the state was written with {what} {found}, but {expected} is configured")]
    Configuration {
        /// What differs.
        what: &'static str,
        /// The value it was written with.
        found: u64,
        /// The value configured here.
        expected: u64,
    },
}

/// A deterministic state machine.
///
/// `apply` must depend on nothing but the state, the context and the command: no clock, no
/// randomness, no iteration over a hash map that reaches the result. It must touch only keys that
/// the command's footprint names, because commands with disjoint footprints execute in different
/// orders at different replicas.
///
/// A state is saved without stopping the world: [`view`](Self::view) freezes it for next to
/// nothing on the replica's thread, [`write`](Self::write) streams the frozen state from another
/// thread while commands go on. [`CowTable`](crate::cow::CowTable) is a map that can do that.
pub trait StateMachine: Send + 'static {
    /// What changes or reads the state in agreed order. Its encoding is never empty: an empty one
    /// stands for a read that was ordered.
    type Command: Encode + Decode + Send + 'static;
    /// What `apply` answers.
    type Output: Encode + Decode + Send + 'static;
    /// What can be asked of the state without changing it.
    type Query: Encode + Decode + Send + 'static;
    /// What `query` answers.
    type Answer: Encode + Decode + Send + 'static;
    /// The state as it was at one moment, whatever is applied after.
    type View: Send + 'static;

    /// What `command` touches. Computed once, by the replica that proposes it, on the thread of
    /// the caller; it travels with the command. A function of the command alone.
    fn footprint(command: &Self::Command) -> Footprint;

    /// Executes `command`.
    fn apply(&mut self, context: &ApplyContext, command: Self::Command) -> Self::Output;

    /// What `query` looks at: keys in [`Mode::Read`](panchayat_consensus::Mode::Read), all of
    /// them. A function of the query alone, like [`footprint`](Self::footprint).
    fn query_footprint(query: &Self::Query) -> Footprint;

    /// Answers `query` from the state as it is. It runs between two commands, at one replica, and
    /// is no agreed data: anything may reach the result.
    fn query(&self, query: Self::Query) -> Self::Answer;

    /// A fingerprint of the state, independent of the order of non-conflicting commands.
    fn state_hash(&self) -> StateHash;

    /// Freezes the state. It runs between two commands, so it must take microseconds however large
    /// the state is: share, do not copy.
    fn view(&mut self) -> Self::View;

    /// Writes a frozen state, piece by piece: it may be larger than memory has room for twice.
    ///
    /// # Errors
    /// Those of `sink`.
    fn write(view: &Self::View, sink: &mut dyn Write) -> io::Result<()>;

    /// Reads back what [`write`](Self::write) wrote. `source` ends where the state ends.
    ///
    /// # Errors
    /// Any [`RestoreError`]; what was written by someone else, or damaged, is never believed.
    fn restore(source: &mut dyn Read) -> Result<Self, RestoreError>
    where
        Self: Sized;
}

impl fmt::Debug for StateHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Display for StateHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}
