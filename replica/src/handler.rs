//! The mesh's way into one workload.

use bytes::Bytes;
use panchayat_consensus::NodeId;
use panchayat_core::StateMachine;
use panchayat_transport::{BoxFuture, BulkSink, ClientIdentity, Delivery, RequestError};

use crate::error::ProposeError;
use crate::host::Inlet;
use crate::inbox::Inbox;
use crate::remote;
use crate::remote_admin;
use crate::replica::{Gate, submit};
use crate::snapshots::Stream;

pub(crate) struct Handler<S: StateMachine> {
    pub(crate) inbox: Inbox<S::Output>,
    pub(crate) gate: Gate,
    pub(crate) states: Stream<S::Output>,
}

impl<S: StateMachine> Inlet for Handler<S> {
    fn frame(&self, from: NodeId, frame: Bytes) -> bool {
        self.inbox.try_frame(from, frame).is_ok()
    }

    fn frame_or_wait(&self, from: NodeId, frame: Bytes) -> Delivery {
        match self.inbox.try_frame(from, frame) {
            Ok(()) => Delivery::Done,
            Err(frame) => {
                let inbox = self.inbox.clone();
                Delivery::Wait(Box::pin(async move { inbox.frame(from, frame).await }))
            }
        }
    }

    fn request(
        &self,
        client: ClientIdentity,
        request: Bytes,
    ) -> BoxFuture<Result<Bytes, RequestError>> {
        let (inbox, gate) = (self.inbox.clone(), self.gate.clone());
        if remote_admin::is_operators(&request) {
            return Box::pin(remote_admin::answer(inbox, client.name, request));
        }
        Box::pin(async move {
            let result = {
                let read = remote::read_request::<S::Command>(request);
                let (request, command) = read.map_err(|error| {
                    tracing::warn!(client = client.name, %error, "unreadable request");
                    RequestError::Rejected(format!("unreadable command: {error}"))
                })?;
                submit::<S>(&inbox, &gate, &command, request)
            };
            let applied = match result {
                Ok(result) => result.await.unwrap_or(Err(ProposeError::Unknown)),
                Err(error) => Err(error),
            };
            Ok(remote::response(applied.map(|applied| applied.output)))
        })
    }

    fn serve(
        &self,
        from: NodeId,
        request: Bytes,
        sink: BulkSink,
    ) -> BoxFuture<Result<(), RequestError>> {
        Box::pin(self.states.clone().serve(from, request, sink))
    }
}
