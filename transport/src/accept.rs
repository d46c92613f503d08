//! The accepting side: who may come in, and as what.

use std::sync::Arc;

use panchayat_consensus::NodeId;
use quinn::crypto::rustls::HandshakeData;
use quinn::{Connection, Endpoint, Incoming, VarInt};
use tokio::sync::OwnedSemaphorePermit;

use crate::bulk::streams_max;
use crate::error::Refusal;
use crate::hello::{Accepted, authenticate, lost, welcome};
use crate::identity::Subject;
use crate::lane::LANES;
use crate::request::serve_client;
use crate::shared::{Role, Shared, all_streams_bytes, transport_config};
use crate::tls::{CLIENT_ALPN, MESH_ALPN};

/// Takes connections until the endpoint is closed.
pub(crate) async fn accept(shared: Arc<Shared>, endpoint: Endpoint) {
    while let Some(incoming) = endpoint.accept().await {
        let places = match shared.peer_at(incoming.remote_address()) {
            Some(_) => &shared.peer_handshakes,
            None => &shared.handshakes,
        };
        // A forged address costs its owner nothing, and would hold a place until the timeout.
        let crowded = places.available_permits() <= shared.limits.handshakes_max / 2;
        if crowded && incoming.may_retry() && !incoming.remote_address_validated() {
            let _ = incoming.retry();
            continue;
        }
        match Arc::clone(places).try_acquire_owned() {
            Ok(permit) => {
                let shared_by_task = Arc::clone(&shared);
                shared.tasks.spawn(judge(shared_by_task, incoming, permit));
            }
            Err(_) => {
                shared.refused(incoming.remote_address(), &Refusal::Overloaded);
                incoming.refuse();
            }
        }
    }
}

/// Lets one connection in, or tells it why not.
async fn judge(shared: Arc<Shared>, incoming: Incoming, handshake: OwnedSemaphorePermit) {
    let remote = incoming.remote_address();
    let connection = match handshaken(&shared, incoming).await {
        Ok(connection) => connection,
        Err(refusal) => return shared.refused(remote, &refusal),
    };
    if let Err(refusal) = admit(&shared, &connection, handshake).await {
        shared.refused(remote, &refusal);
        connection.close(refusal.code().into(), refusal.to_string().as_bytes());
    }
}

async fn handshaken(shared: &Shared, incoming: Incoming) -> Result<Connection, Refusal> {
    let rtt = shared.expected_rtt(incoming.remote_address());
    let mut config = shared.crypto.read().accept.clone();
    config.transport_config(transport_config(
        &shared.limits,
        &shared.timing,
        rtt,
        Role::Acceptor,
        shared.datagrams,
    ));
    let connecting = incoming.accept_with(Arc::new(config)).map_err(lost)?;
    let late = |_| Refusal::Lost("handshake timed out".into());
    let connected = tokio::time::timeout(shared.timing.handshake_timeout, connecting);
    connected.await.map_err(late)?.map_err(lost)
}

async fn admit(
    shared: &Arc<Shared>,
    connection: &Connection,
    handshake: OwnedSemaphorePermit,
) -> Result<(), Refusal> {
    let subject = authenticate(connection, shared.cluster)?;
    let protocol = connection
        .handshake_data()
        .and_then(|any| any.downcast::<HandshakeData>().ok())
        .and_then(|data| data.protocol);
    match (protocol.as_deref(), subject) {
        (Some(MESH_ALPN), Subject::Node(node)) => admit_node(shared, connection, node).await,
        (Some(CLIENT_ALPN), Subject::Client(name)) => {
            let permit = Arc::clone(&shared.clients).try_acquire_owned();
            let _connected = permit.map_err(|_| Refusal::Overloaded)?;
            let subject = Subject::Client(name.clone());
            hear_hello(shared, connection, &subject).await?;
            drop(handshake);
            serve_client(shared, connection, name).await;
            Ok(())
        }
        (Some(MESH_ALPN), Subject::Client(name)) => {
            Err(Refusal::Certificate(format!("client {name} speaks as a node")))
        }
        (Some(CLIENT_ALPN), Subject::Node(node)) => {
            Err(Refusal::Certificate(format!("{node} speaks as a client")))
        }
        (other, _) => Err(Refusal::Alpn(format!("{other:?}"))),
    }
}

async fn admit_node(
    shared: &Arc<Shared>,
    connection: &Connection,
    node: NodeId,
) -> Result<(), Refusal> {
    // The lower id dials: a higher one that dials has another idea of the cluster than we have.
    let peer = shared.peer(node).filter(|_| node < shared.me);
    let peer = peer.ok_or(Refusal::UnknownPeer(node))?;
    let window = VarInt::from_u64(all_streams_bytes(&shared.limits)).unwrap_or(VarInt::MAX);
    connection.set_receive_window(window);
    connection.set_max_concurrent_uni_streams((LANES as u32).into());
    connection.set_max_concurrent_bi_streams(streams_max(&shared.limits).into());
    let version = hear_hello(shared, connection, &Subject::Node(node)).await?;
    let accepted = Accepted { connection: connection.clone(), version };
    peer.arrive(accepted).map_err(|_| Refusal::Overloaded)
}

async fn hear_hello(
    shared: &Shared,
    connection: &Connection,
    subject: &Subject,
) -> Result<u8, Refusal> {
    let timeout = shared.timing.handshake_timeout;
    welcome(connection, shared.cluster, shared.me, subject, timeout).await
}
