//! A workload: a named state with a replication group, a protocol and limits of its own.

use panchayat_consensus::GroupId;
use panchayat_core::SessionConfig;
use xxhash_rust::xxh3::xxh3_64;

use crate::error::StartError;
use crate::limits::Limits;
use crate::protocol::ProtocolChoice;

/// Longest name.
const NAME_BYTES_MAX: usize = 64;
/// Set in the ids of named groups, so that none is the only group of a replica without names.
const NAMED: u32 = 1 << 31;
/// The group of a replica that has one workload without a name.
const UNNAMED: GroupId = GroupId(1);

/// Describes one of several workloads of a replica: see [`Builder::workload`].
///
/// What is not said here is as the builder says. Name, protocol and what its safety rests on must
/// be the same at all members.
///
/// [`Builder::workload`]: crate::Builder::workload
#[derive(Clone, Debug)]
pub struct Workload {
    name: String,
    pub(crate) protocol: Option<ProtocolChoice>,
    pub(crate) limits: Option<Limits>,
    pub(crate) sessions: Option<SessionConfig>,
}

impl Workload {
    /// The workload called `name`: up to 64 small letters, digits, `-`, `_` and `.`.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), protocol: None, limits: None, sessions: None }
    }

    /// The only one of a replica.
    pub(crate) fn unnamed() -> Self {
        Self::new("")
    }

    /// Which protocol orders its commands.
    pub fn protocol(mut self, protocol: ProtocolChoice) -> Self {
        self.protocol = Some(protocol);
        self
    }

    /// What it may hold at once. What concerns the journal's files is the builder's to say, and
    /// commands may not be longer than there.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = Some(limits);
        self
    }

    /// For how long its requests are remembered, and how many.
    pub fn sessions(mut self, sessions: SessionConfig) -> Self {
        self.sessions = Some(sessions);
        self
    }

    /// Its name; empty for the only one of a replica without names.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The group that replicates it, which follows from its name.
    pub(crate) fn group(&self) -> GroupId {
        group_of(&self.name)
    }

    /// Refuses names that would not do for files and reports.
    pub(crate) fn check(&self) -> Result<(), StartError> {
        let proper = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let name = self.name.as_bytes();
        let rest = name.iter().all(|byte| proper(*byte) || b"-_.".contains(byte));
        if name.is_empty() || (name.len() <= NAME_BYTES_MAX && rest && proper(name[0])) {
            return Ok(());
        }
        let name = self.name.clone();
        Err(StartError::Workload { name, why: "a name is up to 64 of a-z, 0-9, `-`, `_`, `.`" })
    }
}

/// The group of the workload called `name`.
pub(crate) fn group_of(name: &str) -> GroupId {
    if name.is_empty() { UNNAMED } else { GroupId(xxh3_64(name.as_bytes()) as u32 | NAMED) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_follows_from_its_name_for_ever() {
        assert_eq!(Workload::unnamed().group(), GroupId(1));
        assert_eq!(Workload::new("payments").group(), GroupId(0xcb77_b43d));
        assert_ne!(group_of("alerts"), group_of("orderbook"));
    }

    #[test]
    fn names_that_would_not_do_are_refused() {
        for name in ["payments", "order-book_2.in", "7"] {
            Workload::new(name).check().unwrap();
        }
        for name in ["Payments", "a b", "../x", ".", "-", "é", &"x".repeat(65)] {
            let refused = Workload::new(name).check().unwrap_err();
            assert!(matches!(refused, StartError::Workload { .. }), "{name}");
        }
    }
}
