//! Where the replicas are, how far apart, under what weather, and what that costs.
//!
//! The crate reads `geo-topology.yaml` and answers three questions: which link parameters to
//! emulate ([`Topology::links`]), how far apart the replicas of a set are ([`Topology::matrix`]),
//! and which latency each protocol can reach between them: at best ([`latency`], [`leader`]), and
//! under a load ([`contention`], [`prospect`]). The planner, the simulator's oracles and the emulator all take their numbers from
//! here, so they cannot disagree about the geography.
//!
//! Parsing does no IO; only [`Topology::load`] opens a file. All times in the model are whole
//! microseconds and every round trip is even, so that one way is exactly half of it.
//!
//! ```
//! use panchayat_topology::{Topology, latency};
//!
//! let topology = Topology::builtin();
//! let india = topology.matrix("india3").expect("india3 is built in");
//! let delhi = india.index_of("delhi").expect("delhi is in india3");
//! // From Delhi, one round trip to the nearest peer makes a majority of three: 27 ms.
//! assert_eq!(latency::epaxos_fast(&india, delhi, 2), Some(27_000));
//! ```

#![forbid(unsafe_code)]
#![deny(missing_docs)]

pub mod contention;
pub mod latency;
pub mod leader;
pub mod prospect;

mod diagnostic;
mod document;
mod fields;
mod link;
mod matrix;
mod model;
mod parse;
mod suggest;
mod topology;

/// Reading YAML with complaints that name the place: for other files than topologies.
pub mod yaml {
    pub use crate::diagnostic::{Position, Source, quoted};
    pub use crate::document::{Key, Node, Value, read};
    pub use crate::fields::{Fields, Read, named_entries, number, text};
    pub use crate::suggest::nearest;
}

pub use diagnostic::{Diagnostic, TopologyError};
pub use link::{Link, LossChain};
pub use matrix::{Matrix, MatrixError};
pub use model::{Flap, Pair, Profile, Site, SiteSet, TimeRange};
pub use topology::{Kind, NotFound, Topology};
