//! The mesh's way to the workloads of a replica: what each frame, request or transfer is for.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use panchayat_consensus::{GroupId, NodeId};
use panchayat_core::frame;
use panchayat_transport::{
    BoxFuture, BulkSink, ClientIdentity, CloseCode, Delivery, DownReason, Lane, MeshHandler,
    RequestError,
};

use crate::remote;
use crate::snapshots;

/// What one workload does with what is for it.
pub(crate) trait Inlet: Send + Sync {
    /// A frame. `false` if there is no room, and it is lost.
    fn frame(&self, from: NodeId, frame: Bytes) -> bool;
    /// A frame that its sender waits with until there is room.
    fn frame_or_wait(&self, from: NodeId, frame: Bytes) -> Delivery;
    /// A client's request.
    fn request(
        &self,
        client: ClientIdentity,
        request: Bytes,
    ) -> BoxFuture<Result<Bytes, RequestError>>;
    /// A peer that wants a state.
    fn serve(
        &self,
        from: NodeId,
        request: Bytes,
        sink: BulkSink,
    ) -> BoxFuture<Result<(), RequestError>>;
}

/// Gives everything to the workload it is for.
pub(crate) struct Mux {
    inlets: Vec<(GroupId, Arc<dyn Inlet>)>,
    /// Frames of no workload here, and frames of workloads that had no room.
    pub(crate) lost: Arc<AtomicU64>,
}

impl Mux {
    pub(crate) fn new(inlets: Vec<(GroupId, Arc<dyn Inlet>)>, lost: Arc<AtomicU64>) -> Self {
        Self { inlets, lost }
    }

    /// There are few: looking at each is quickest.
    fn inlet(&self, group: GroupId) -> Option<&Arc<dyn Inlet>> {
        self.inlets.iter().find(|(of, _)| *of == group).map(|(_, inlet)| inlet)
    }
}

fn refused<T: Send + 'static>(why: &'static str) -> BoxFuture<Result<T, RequestError>> {
    Box::pin(async move { Err(RequestError::Rejected(why.to_owned())) })
}

impl MeshHandler for Mux {
    /// With several workloads a peer never waits for one of them, since that would hold up the
    /// others' frames too: what does not fit is lost, as on any network, and sent again if it
    /// matters.
    fn frame(&self, from: NodeId, _lane: Lane, frame: Bytes) -> Delivery {
        let inlet = frame::group_of(&frame).and_then(|group| self.inlet(group));
        match inlet {
            // Frames of another version are counted there.
            _ if self.inlets.len() == 1 => return self.inlets[0].1.frame_or_wait(from, frame),
            Some(inlet) if inlet.frame(from, frame) => {}
            _ => _ = self.lost.fetch_add(1, Ordering::Relaxed),
        }
        Delivery::Done
    }

    fn peer_up(&self, peer: NodeId) {
        tracing::info!(%peer, "link up");
    }

    fn peer_down(&self, peer: NodeId, reason: DownReason) {
        if is_orderly(&reason) {
            tracing::info!(%peer, %reason, "link down");
        } else {
            tracing::warn!(%peer, %reason, "link down");
        }
    }

    fn request(
        &self,
        client: ClientIdentity,
        request: Bytes,
    ) -> BoxFuture<Result<Bytes, RequestError>> {
        let (group, request) = remote::addressed(request);
        match self.inlet(group) {
            Some(inlet) => inlet.request(client, request),
            None => refused("no workload of that name is here"),
        }
    }

    fn serve(
        &self,
        from: NodeId,
        request: Bytes,
        sink: BulkSink,
    ) -> BoxFuture<Result<(), RequestError>> {
        match snapshots::group_of(&request).and_then(|group| self.inlet(group)) {
            Some(inlet) => inlet.serve(from, request, sink),
            None => refused("of another group or format"),
        }
    }
}

/// Whether a link went down because one of its ends was told to stop.
fn is_orderly(reason: &DownReason) -> bool {
    matches!(
        reason,
        DownReason::ClosedByUs(CloseCode::Shutdown) | DownReason::ClosedByPeer(CloseCode::Shutdown)
    )
}
