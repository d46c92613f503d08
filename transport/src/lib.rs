//! The QUIC mesh between the nodes of a cluster, and WAN emulation beneath it.
//!
//! # What is here
//!
//! * [`identity`]: who a process is, by X.509 certificate: cluster and node, or cluster and client.
//! * [`Mesh`]: one authenticated QUIC connection per pair of nodes, three lanes of framed messages
//!   with bounded queues, heartbeats, statistics, orderly shutdown.
//! * [`Mesh::fetch`] and [`MeshHandler::serve`]: transfers of any size between nodes, below every
//!   lane in priority.
//! * [`Client`]: request and response towards one node, over the same port.
//! * [`CertificateFacts`], [`RedisCertificate`]: what stands in certificates, and those for Redis
//!   clients, which the mesh does not let in.
//! * [`wan`]: delay, jitter, loss, bandwidth and partitions under QUIC, per directed link.
//!
//! # What is not here
//!
//! No message is retransmitted across connections, nor within one if it went as a datagram
//! ([`MeshConfig::datagrams`]): when a connection is lost, frames in flight are
//! lost with it, and the protocols above send again. No frame checksum: QUIC authenticates. No
//! 0-RTT and no session resumption: the first can be replayed, the second would skip the check of
//! the peer's certificate. No classical-only key exchange: both ends are ours, so only the hybrid
//! X25519MLKEM768 is offered and accepted.
//!
//! # From the socket up
//!
//! ```text
//! UDP socket → wan::socket (counts strangers, delays, drops) → quinn → tls/identity/hello
//!            → peer (one supervisor per peer: dial, race, replace) → link (tasks of one connection)
//!            → frame + queue (lanes), bulk (transfers) → Mesh / MeshHandler
//! ```

#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod accept;
mod bulk;
mod certificate;
mod client;
mod close;
mod config;
mod datagram;
mod dial;
mod error;
mod frame;
mod handler;
mod hello;
pub mod identity;
mod lane;
mod link;
mod mesh;
mod peer;
mod queue;
mod redis_pki;
mod request;
mod shared;
mod stats;
mod tasks;
mod tls;
mod under_way;
mod unfinished;
pub mod wan;

pub use bulk::{BulkReader, BulkSink, FetchError, RateLimit, TransferEnded, TransferStats};
pub use certificate::{CertificateFacts, CertificateRole, Moment};
pub use client::{Client, ClientConfig, ClientError};
pub use close::CloseCode;
pub use config::{INTERNET_DATAGRAM_BYTES, Limits, Listen, MeshConfig, PeerConfig, Timing};
pub use error::{DownReason, SendError, TransportError};
pub use handler::{BoxFuture, ClientIdentity, Delivery, MeshHandler, RequestError};
pub use lane::Lane;
pub use mesh::Mesh;
pub use redis_pki::RedisCertificate;
pub use stats::{DatagramStats, LaneStats, MeshStats, PeerStats, PingStats, Refusals};
