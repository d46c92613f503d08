//! A page for each idea: what is promised, what is not, and how to use it. Every snippet is
//! compiled with the tests.
//!
//! | page | answers |
//! |---|---|
//! | [`guarantees`] | what does an answer mean, and what is never promised? |
//! | [`choosing`] | which protocol for which workload? |
//! | [`state_machines`] | how is a state of one's own replicated? |
//! | [`footprints`] | which commands wait for each other? |
//! | [`sessions`] | how is a command tried again without being applied twice? |
//! | [`transactions`] | how is more than one key changed at once? |
//! | [`reads`] | how current is what I read, and what does it cost? |
//! | [`workloads`] | how do several states share a process? |
//! | [`membership`] | how are members and protocols changed while it runs? |
//! | [`operations`] | what do I watch, back up, limit, and do after a failure? |

pub mod choosing;
pub mod footprints;
pub mod guarantees;
pub mod membership;
pub mod operations;
pub mod reads;
pub mod sessions;
pub mod state_machines;
pub mod transactions;
pub mod workloads;
