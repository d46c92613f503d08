//! What the owner of a mesh implements: it receives frames, link changes and client requests, and
//! serves bulk transfers.

use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;

use bytes::Bytes;
use panchayat_consensus::NodeId;

use crate::bulk::BulkSink;
use crate::error::DownReason;
use crate::lane::Lane;

/// A boxed future, as trait objects need it.
pub type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Whether the owner has taken a frame.
///
/// This is the mesh's back-pressure: while a `Wait` is pending, the lane's reader reads nothing
/// more, QUIC's flow control stops the sender, and the sender's bounded queue fills up. Other
/// lanes, other peers and heartbeats go on. Frames that come as datagrams cannot be stopped: those of
/// the lane are lost meanwhile.
#[must_use]
pub enum Delivery {
    /// The frame is taken; go on.
    Done,
    /// Read no more of this lane until this is ready.
    Wait(BoxFuture<()>),
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Done => "Done",
            Self::Wait(_) => "Wait",
        })
    }
}

/// Who sent a request, by its certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientIdentity {
    /// The name in the client's certificate.
    pub name: String,
    /// Where it connected from.
    pub remote: SocketAddr,
}

/// Why a request was answered without a result, or a transfer refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// A limit is reached; nothing was done.
    #[error("overloaded")]
    Overloaded,
    /// The node does not accept this request; the text says why.
    #[error("rejected: {0}")]
    Rejected(String),
}

/// The owner of a mesh. Called from the mesh's tasks: return quickly, never block.
pub trait MeshHandler: Send + Sync + 'static {
    /// A frame from `from`. Frames of one lane come in the order they were sent, and none is
    /// missing between a [`MeshHandler::peer_up`] and the following [`MeshHandler::peer_down`]
    /// up to the last one delivered, unless the peer sends short ones as datagrams
    /// ([`crate::MeshConfig::datagrams`]): any of those may be missing, or overtake. None comes twice.
    /// Sender and receiver are authenticated.
    fn frame(&self, from: NodeId, lane: Lane, frame: Bytes) -> Delivery;

    /// A link to `peer` is up: both sides have accepted each other. Strictly alternates with
    /// [`MeshHandler::peer_down`], and comes before the first frame of that link.
    fn peer_up(&self, peer: NodeId);

    /// The link to `peer` ended; no frame of it follows. Frames in flight may be lost.
    fn peer_down(&self, peer: NodeId, reason: DownReason);

    /// A request of an authenticated client. The future is dropped if the client goes away.
    fn request(
        &self,
        client: ClientIdentity,
        request: Bytes,
    ) -> BoxFuture<Result<Bytes, RequestError>>;

    /// A peer fetches something in bulk ([`crate::Mesh::fetch`]): write it to `sink`, which waits
    /// for the fetcher, and drop the sink. The transfer has come to its end for the fetcher when
    /// this is ready with `Ok` and the sink is gone, and all of it is there. An error is told to
    /// the fetcher with its text, even in the middle.
    ///
    /// The future is dropped when the fetcher gives up, the link ends, or nothing is written or
    /// taken for [`crate::Timing::transfer_stall_timeout`]; so prepare what takes long before
    /// peers ask for it. It runs on the mesh's runtime: read files elsewhere.
    ///
    /// Only peers get here, not clients. Unless implemented, everything is refused.
    fn serve(
        &self,
        from: NodeId,
        request: Bytes,
        sink: BulkSink,
    ) -> BoxFuture<Result<(), RequestError>> {
        let _ = (from, request, sink);
        Box::pin(async { Err(RequestError::Rejected("this node serves no transfers".into())) })
    }
}
