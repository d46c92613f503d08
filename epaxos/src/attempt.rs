//! What a replica does to decide an instance.
use panchayat_consensus::Ballot;
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    pub(crate) ballot: Ballot,
}
