//! A leaderless, geo-replicated transaction layer to embed in a Rust program.
//!
//! A [`Replica`] runs a [`StateMachine`] that is replicated over a QUIC mesh by EPaxos*: every
//! replica serves its own clients, commits in one round trip to its nearest quorum, and answers
//! when the command has been executed after everything it depends on. Answers are strictly
//! serializable and durable by default.
//!
//! ```
//! use panchayat::{Durability, LocalCluster, LocalConfig, Topology};
//! use panchayat::kv::{KvCommand, KvOp, KvOutput, KvStore};
//!
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! let dir = tempfile::tempdir().unwrap();
//! let config = LocalConfig::new(Topology::builtin(), "india3", dir.path());
//! let cluster = LocalCluster::start(config, |_site| KvStore::default()).await.unwrap();
//! let (mumbai, delhi) = (&cluster.replicas()[0], &cluster.replicas()[1]);
//! let put = KvCommand::One(KvOp::Put { key: "city".into(), value: "Mumbai".into() });
//! assert_eq!(mumbai.propose(&put).await.unwrap(), KvOutput::Done);
//! let get = KvCommand::One(KvOp::Get { key: "city".into() });
//! assert_eq!(delhi.propose(&get).await.unwrap(), KvOutput::Value(Some("Mumbai".into())));
//! # cluster.shutdown(std::time::Duration::from_secs(5)).await;
//! # });
//! ```
//!
//! [`guide`] has a page for each idea.
//!
//! | to | use |
//! |---|---|
//! | run one replica in a program of your own | [`Replica::builder`] |
//! | run a whole cluster in one process | [`LocalCluster`] |
//! | talk to a replica from outside | [`RemoteClient`] |
//! | try again without applying twice | [`Replica::session`] |
//! | read, compute, and write only if nothing has changed | [`transact`] |
//! | run several states, each with a protocol of its own | [`Workload`], [`LocalNodes`], [`KvRouter`] |
//! | write your own replicated state | [`StateMachine`], tested by [`conformance`] |

#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod applied;
mod backup;
mod begun;
mod builder;
mod cluster;
mod door;
mod driver;
mod error;
pub mod guide;
mod handler;
mod host;
mod inbox;
mod latency;
mod limits;
mod local;
mod local_faults;
mod local_links;
mod local_nodes;
mod membership;
mod metrics;
mod outbox;
mod phases;
mod protocol;
mod read;
mod records;
mod remote;
mod remote_admin;
mod replica;
mod router;
mod session;
mod snapshots;
pub mod transact;
mod workload;

pub use applied::Applied;
pub use backup::{Backup, BackupError};
pub use begun::{Asked, Begun};
pub use builder::Builder;
pub use cluster::{Cluster, Member};
pub use error::{MarkerError, ProposeError, SnapshotUnreadable, StartError, Stopped};
pub use host::{NoWorkload, Node, NodeMetrics};
pub use limits::Limits;
pub use local::{LocalCluster, LocalConfig, LocalError};
pub use local_nodes::LocalNodes;
pub use membership::{Change, ChangeError, GroupView, MemberView, Newcomer, Standing};
pub use metrics::{CoreMetrics, Metrics, SnapshotMetrics};
pub use protocol::{
    AdaptiveChoice, FastPaxosChoice, Leader, MultiPaxosChoice, NoProtocol, ProtocolChoice,
    ProtocolError, configured,
};
pub use read::ReadError;
pub use remote::{RemoteClient, RemoteError};
pub use replica::Replica;
pub use router::{KvRouter, RouteError};
pub use session::{Requests, Session};
pub use workload::Workload;

pub use panchayat_consensus::account;
pub use panchayat_consensus::{
    ClientId, ClusterId, Footprint, InstanceId, KeyHash, Mode, NodeId, Path, QuorumError, Quorums,
    ReadLevel, ReadRefusal, ReplicaId, Request, Span, WallTime, wire,
};
pub use panchayat_core::{
    ApplyContext, Doubt, FootprintGuard, Reading, RestoreError, SessionConfig, StateHash,
    StateMachine, conformance, cow, kv, sessions, stream,
};
pub use panchayat_epochs::EpochError;
pub use panchayat_multipaxos::{Learning, Lease};
pub use panchayat_storage::{Durability, StorageError, SyncLatency, backend, measure_sync};
pub use panchayat_topology::{self as topology, Topology};
pub use panchayat_transport::{self as transport, identity};

/// The README's examples are compiled with the documentation tests.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
