//! What the owner of a mesh implements to receive frames, link changes and client requests.

use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;

use bytes::Bytes;
use panchayat_consensus::NodeId;

use crate::error::DownReason;
use crate::lane::Lane;

/// A boxed future, as trait objects need it.
pub type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Whether the owner has taken a frame.
///
/// This is the mesh's back-pressure: while a `Wait` is pending, the lane's reader reads nothing
/// more, QUIC's flow control stops the sender, and the sender's bounded queue fills up. Other
/// lanes, other peers and heartbeats go on.
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

/// Why a request was answered without a result.
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
    /// up to the last one delivered. Sender and receiver are authenticated.
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
}
