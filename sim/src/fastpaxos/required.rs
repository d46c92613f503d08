//! What a long run of Fast Paxos must have come to.

use crate::required::Required;

/// What a hundred seeds come to.
const COMMON: &[&str] = &["acknowledged"];

/// What takes more seeds.
const RARE: &[&str] = &["bits_flipped"];

/// The same at every number of replicas.
pub(super) fn required(_n: usize) -> Required {
    Required { common: COMMON.to_vec(), rare: RARE.to_vec() }
}
