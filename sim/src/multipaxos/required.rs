//! What a long run of Multi-Paxos must have come to.

use crate::required::Required;

/// What a hundred seeds come to at any number of replicas.
const COMMON: &[&str] = &["acknowledged"];

/// What takes more than a hundred seeds.
const RARE: &[&str] = &[];

/// The same at every number of replicas: nothing here depends on how many vote.
pub(super) fn required(_n: usize) -> Required {
    Required { common: COMMON.to_vec(), rare: RARE.to_vec() }
}
