//! What can go wrong, typed: starting, sending, losing a peer.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use panchayat_consensus::{ClusterId, NodeId};

use crate::close::CloseCode;

/// Why a mesh, a client or an identity could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransportError {
    /// The UDP socket could not be opened.
    #[error("cannot listen on {addr}: {source}")]
    Bind {
        /// The address asked for.
        addr: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The UDP socket or the endpoint over it failed while being set up.
    #[error("cannot set up the socket: {0}")]
    Socket(#[source] io::Error),
    /// A PEM file could not be read or written.
    #[error("cannot access {path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A PEM text holds no usable certificate or key.
    #[error("{what}: not usable PEM: {reason}")]
    Pem {
        /// Which of the texts.
        what: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// A certificate could not be made.
    #[error("cannot issue a certificate for {subject}: {reason}")]
    Issue {
        /// For whom.
        subject: String,
        /// What the generator said.
        reason: String,
    },
    /// A certificate is not one of ours: it lacks a single well-formed `panchayat://` name.
    #[error("certificate carries no Panchayat identity: {reason}")]
    NoIdentity {
        /// What is missing or malformed.
        reason: String,
    },
    /// The identity given cannot play this part (a client's certificate for a node, say).
    #[error("{given} cannot act as {needed}")]
    WrongIdentity {
        /// The subject of the certificate given.
        given: String,
        /// The part asked for.
        needed: &'static str,
    },
    /// A peer is configured twice, or is this node itself.
    #[error("peer {peer}: {reason}")]
    BadPeer {
        /// The peer.
        peer: NodeId,
        /// What is wrong.
        reason: &'static str,
    },
    /// A configured number is out of its range.
    #[error("configuration: {0}")]
    BadConfig(&'static str),
    /// The TLS library refused the certificates or keys.
    #[error("TLS set-up: {0}")]
    Tls(String),
    /// The process-wide timer thread of the WAN emulation could not be started.
    #[error("cannot start the WAN emulation thread: {0}")]
    Emulator(#[source] io::Error),
}

/// Why a frame was not queued. The frame is dropped; the protocol sends again when it must.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The lane's queue towards this peer is at its limit.
    #[error("queue to the peer is full")]
    Full,
    /// There is no connection to this peer now.
    #[error("peer is down")]
    Down,
    /// No such peer is configured.
    #[error("no such peer")]
    UnknownPeer,
    /// The frame is longer than the configured limit.
    #[error("frame of {bytes} bytes is over the limit of {limit}")]
    TooLarge {
        /// Length of the frame.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
}

/// Why the link to a peer ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DownReason {
    /// A newer connection to the same peer took over; frames in flight may be lost.
    #[error("replaced by a newer connection")]
    Superseded,
    /// Nothing was heard for the idle timeout.
    #[error("timed out")]
    TimedOut,
    /// The peer closed the connection and said why.
    #[error("closed by the peer: {0}")]
    ClosedByPeer(CloseCode),
    /// We closed it because the peer broke the rules.
    #[error("closed by us: {0}")]
    ClosedByUs(CloseCode),
    /// The connection broke.
    #[error("connection lost: {0}")]
    Lost(String),
    /// The peer was removed from the mesh.
    #[error("peer removed")]
    Removed,
}

/// Why a handshaken connection was not accepted. Each kind is logged and counted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("certificate refused: {0}")]
    Certificate(String),
    #[error("other cluster: {theirs}")]
    Cluster { theirs: ClusterId },
    #[error("wrong node: reached {theirs}, meant {meant}")]
    Node { theirs: String, meant: String },
    #[error("not a peer of this node: {0}")]
    UnknownPeer(NodeId),
    #[error("no common protocol: {0}")]
    Alpn(String),
    #[error("bad hello: {0}")]
    Hello(String),
    #[error("too many connections or handshakes")]
    Overloaded,
    #[error("refused by the other side: {0}")]
    ByPeer(String),
    /// Not a refusal at all: the connection broke before either side had judged the other.
    #[error("connection lost: {0}")]
    Lost(String),
}

impl Refusal {
    /// The code the other side is told.
    pub(crate) fn code(&self) -> CloseCode {
        match self {
            Self::Certificate(_) => CloseCode::Certificate,
            Self::Cluster { .. } => CloseCode::Cluster,
            Self::Node { .. } => CloseCode::Node,
            Self::UnknownPeer(_) => CloseCode::UnknownPeer,
            Self::Alpn(_) => CloseCode::Alpn,
            Self::Hello(_) => CloseCode::Hello,
            Self::Overloaded => CloseCode::Overloaded,
            Self::ByPeer(_) | Self::Lost(_) => CloseCode::Dropped,
        }
    }
}
