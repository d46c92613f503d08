//! Several states in one process.
//!
//! A [`Workload`](crate::Workload) is a named state with a replication group, a protocol, a state machine
//! and limits of its own. All workloads of a replica share one mesh, one port and one journal.
//!
//! ```
//! use panchayat::kv::KvStore;
//! use panchayat::{Builder, KvRouter, NoWorkload, Node, ProtocolChoice, Workload};
//!
//! fn describe(builder: Builder) -> Result<Builder, Box<dyn std::error::Error>> {
//!     let orders: ProtocolChoice = "multipaxos leader mumbai".parse()?;
//!     Ok(builder
//!         .workload(Workload::new("payments"), KvStore::default())
//!         .workload(Workload::new("orderbook").protocol(orders), KvStore::default()))
//! }
//!
//! fn route(node: &Node) -> Result<KvRouter, NoWorkload> {
//!     Ok(KvRouter::new(node.workload("payments")?).route("order:", node.workload("orderbook")?))
//! }
//! ```
//!
//! * [`Builder::start_workloads`](crate::Builder::start_workloads) starts them,
//!   [`Node::workload`](crate::Node::workload) gives a typed handle, and
//!   [`LocalNodes`](crate::LocalNodes) is a whole cluster of them in one process.
//! * Names are for ever: a workload's group follows from its name. All members have the same workloads,
//!   and a replica starts with all it has had; records of one that is not described are refused.
//! * Proposals, reads, received frames and sessions are limited for each workload by itself, so a
//!   producer without bounds gets `Overloaded` in its own. The journal's bandwidth, the links and the
//!   processors are shared without reservation: others become slower.
//! * They stop together. A failed disk or a panic in one state machine stops the replica.
//! * Nothing is ordered between workloads, and no command is of two.
