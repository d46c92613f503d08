//! The client's side: connect to one node, ask, get an answer.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use panchayat_consensus::NodeId;
use quinn::{Connection, Endpoint, EndpointConfig, ReadToEndError, RecvStream, TokioRuntime};

use crate::close::CloseCode;
use crate::config::{Limits, Timing};
use crate::error::{Refusal, TransportError};
use crate::hello::{introduce, lost};
use crate::identity::{Identity, NODE_DNS_NAME};
use crate::request::{REQUEST_VERSION, STATUS_OK, STATUS_OVERLOADED, STATUS_REJECTED};
use crate::shared::{Role, transport_config};
use crate::tls::{CLIENT_ALPN, quic_client};
use crate::unfinished::Unfinished;

/// A client's limits and timeouts.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// Connecting, including being accepted, takes at most this long.
    pub connect_timeout: Duration,
    /// A request without a response is given up after this long; its outcome is then unknown.
    pub request_timeout: Duration,
    /// Longest request; should be the node's own limit.
    pub request_bytes_max: usize,
    /// Longest response.
    pub response_bytes_max: usize,
    /// Round trip to expect.
    pub initial_rtt: Duration,
    /// A connection on which nothing was heard for this long is given up.
    pub idle_timeout: Duration,
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            request_timeout: Duration::from_secs(10),
            request_bytes_max: Limits::default().request_bytes_max,
            response_bytes_max: 8 << 20,
            initial_rtt: Duration::from_millis(50),
            idle_timeout: Duration::from_secs(10),
        }
    }
}

/// Why there is no response. See [`ClientError::is_unknown`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The client itself could not be set up.
    #[error(transparent)]
    Setup(#[from] TransportError),
    /// The node could not be reached, or did not accept us, or was not the one meant.
    #[error("cannot connect to {node} at {addr}: {reason}")]
    Connect {
        /// The node meant.
        node: NodeId,
        /// The address tried.
        addr: SocketAddr,
        /// What happened.
        reason: String,
    },
    /// The request is longer than the limit; it was not sent.
    #[error("request of {bytes} bytes is over the limit of {limit}")]
    RequestTooLarge {
        /// Its length.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// The node is at a limit and did nothing.
    #[error("the node is overloaded")]
    Overloaded,
    /// The node refused the request.
    #[error("rejected: {0}")]
    Rejected(String),
    /// The response is longer than the limit.
    #[error("response over the limit of {limit} bytes")]
    ResponseTooLarge {
        /// The limit.
        limit: usize,
    },
    /// The response is not one this version knows.
    #[error("malformed response: {0}")]
    BadResponse(&'static str),
    /// There was no response in time.
    #[error("no response within {0:?}")]
    TimedOut(Duration),
    /// The connection ended before the response.
    #[error("connection lost: {0}")]
    Lost(String),
}

impl ClientError {
    /// Whether the request may have taken effect all the same: the caller must not assume either.
    pub fn is_unknown(&self) -> bool {
        matches!(
            self,
            Self::ResponseTooLarge { .. }
                | Self::BadResponse(_)
                | Self::TimedOut(_)
                | Self::Lost(_)
        )
    }
}

/// A connection to one node. Clones share it; requests run side by side.
#[derive(Clone, Debug)]
pub struct Client {
    endpoint: Endpoint,
    connection: Connection,
    config: Arc<ClientConfig>,
}

impl Client {
    /// Connects to `node` at `addr` and waits to be accepted. Fails if another node, or another
    /// cluster's, answers there. Runs on the tokio runtime it is called in.
    pub async fn connect(
        addr: SocketAddr,
        node: NodeId,
        identity: &Identity,
        config: ClientConfig,
    ) -> Result<Self, ClientError> {
        let crypto = quic_client(identity, CLIENT_ALPN)?;
        let local: SocketAddr = match addr {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let socket = UdpSocket::bind(local)
            .map_err(|source| TransportError::Bind { addr: local, source })?;
        let runtime = Arc::new(TokioRuntime);
        let endpoint = Endpoint::new(EndpointConfig::default(), None, socket, runtime)
            .map_err(TransportError::Socket)?;
        let timing = Timing { idle_timeout: config.idle_timeout, ..Timing::default() };
        let mut quic = quinn::ClientConfig::new(crypto);
        quic.transport_config(transport_config(
            &Limits::default(),
            &timing,
            config.initial_rtt,
            Role::Client,
            false,
        ));
        let failed =
            |refusal: Refusal| ClientError::Connect { node, addr, reason: refusal.to_string() };
        let connect = async {
            let connecting = endpoint
                .connect_with(quic, addr, NODE_DNS_NAME)
                .map_err(|e| Refusal::Lost(e.to_string()))?;
            let connection = connecting.await.map_err(lost)?;
            let accepted =
                introduce(&connection, identity.cluster(), None, node, config.connect_timeout);
            match accepted.await {
                Ok(_version) => Ok(connection),
                Err(refusal) => {
                    let code = refusal.code().into();
                    connection.close(code, refusal.to_string().as_bytes());
                    Err(refusal)
                }
            }
        };
        let late = |_| failed(Refusal::Lost("timed out".into()));
        let connected = tokio::time::timeout(config.connect_timeout, connect).await;
        let connection = connected.map_err(late)?.map_err(failed)?;
        Ok(Self { endpoint, connection, config: Arc::new(config) })
    }

    /// Sends `request`; its response, or why there is none. Waits while the node's limit of
    /// requests per client is reached.
    pub async fn request(&self, request: Bytes) -> Result<Bytes, ClientError> {
        let limit = self.config.request_bytes_max;
        if request.len() > limit {
            return Err(ClientError::RequestTooLarge { bytes: request.len(), limit });
        }
        let timeout = self.config.request_timeout;
        match tokio::time::timeout(timeout, self.exchange(request)).await {
            Ok(result) => result,
            Err(_) => Err(ClientError::TimedOut(timeout)),
        }
    }

    async fn exchange(&self, request: Bytes) -> Result<Bytes, ClientError> {
        let (send, receive) = self.connection.open_bi().await.map_err(|e| self.lost(&e))?;
        // A request given up while it is sent must not look like a whole one.
        let mut send = Unfinished::new(send);
        let mut chunks = [Bytes::from_static(&[REQUEST_VERSION]), request];
        // A node that answers without reading everything stops the stream: read its answer then.
        match send.write_all_chunks(&mut chunks).await {
            Ok(()) => send.finish(),
            Err(quinn::WriteError::Stopped(_)) => {}
            Err(error) => return Err(self.lost(&error)),
        }
        self.read_response(receive).await
    }

    async fn read_response(&self, mut receive: RecvStream) -> Result<Bytes, ClientError> {
        let limit = self.config.response_bytes_max;
        let response = receive.read_to_end(limit + 1).await.map_err(|error| match error {
            ReadToEndError::TooLong => ClientError::ResponseTooLarge { limit },
            ReadToEndError::Read(error) => self.lost(&error),
        })?;
        let mut response = Bytes::from(response);
        if response.is_empty() {
            return Err(ClientError::BadResponse("empty"));
        }
        let body = response.split_off(1);
        match response[0] {
            STATUS_OK => Ok(body),
            STATUS_OVERLOADED => Err(ClientError::Overloaded),
            STATUS_REJECTED => {
                Err(ClientError::Rejected(String::from_utf8_lossy(&body).into_owned()))
            }
            _ => Err(ClientError::BadResponse("unknown status")),
        }
    }

    fn lost(&self, error: &dyn std::error::Error) -> ClientError {
        match self.connection.close_reason() {
            Some(reason) => ClientError::Lost(reason.to_string()),
            None => ClientError::Lost(error.to_string()),
        }
    }

    /// Whether the connection still exists. A client does not reconnect by itself: another node
    /// may be the better choice.
    pub fn is_open(&self) -> bool {
        self.connection.close_reason().is_none()
    }

    /// Closes the connection and waits until the node has probably heard of it.
    pub async fn close(self) {
        self.connection.close(CloseCode::Shutdown.into(), b"client closed");
        let patience = Timing::default().shutdown_timeout;
        let _ = tokio::time::timeout(patience, self.endpoint.wait_idle()).await;
    }
}
