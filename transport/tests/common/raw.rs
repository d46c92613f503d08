//! A connection that knows the wire format but keeps no rules: the impostor of the refusal tests.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part of this")]

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use panchayat_consensus::{ClusterId, NodeId};
use panchayat_transport::identity::Identity;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{Connection, ConnectionError, Endpoint, EndpointConfig, TokioRuntime, TransportConfig};
use rustls::RootCertStore;
use rustls::crypto::aws_lc_rs;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// What a hello claims.
pub struct Claim {
    /// The lowest and the highest that it speaks.
    pub versions: [u8; 2],
    pub cluster: ClusterId,
    pub from: NodeId,
    pub to: NodeId,
}

impl Claim {
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = b"PNCH".to_vec();
        bytes.extend_from_slice(&self.versions);
        bytes.extend_from_slice(&self.cluster.0.to_le_bytes());
        bytes.extend_from_slice(&self.from.0.to_le_bytes());
        bytes.extend_from_slice(&self.to.0.to_le_bytes());
        bytes
    }
}

/// Connects with `identity` (or without a certificate) and `alpn`.
pub async fn connect(
    addr: SocketAddr,
    identity: &Identity,
    show_certificate: bool,
    alpn: &[u8],
) -> Result<Connection, ConnectionError> {
    let [certificate, key, ca] = identity.to_pem();
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca.as_bytes()).unwrap()).unwrap();
    let builder =
        rustls::ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(roots);
    let mut tls = if show_certificate {
        let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
        builder.with_client_auth_cert(chain, key).unwrap()
    } else {
        builder.with_no_client_auth()
    };
    tls.alpn_protocols = vec![alpn.to_vec()];
    let crypto: QuicClientConfig = tls.try_into().unwrap();
    let mut config = quinn::ClientConfig::new(Arc::new(crypto));
    let mut transport = TransportConfig::default();
    transport.max_concurrent_uni_streams(16u32.into());
    config.transport_config(Arc::new(transport));
    let socket = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let runtime = Arc::new(TokioRuntime);
    let endpoint = Endpoint::new(EndpointConfig::default(), None, socket, runtime).unwrap();
    endpoint.connect_with(config, addr, "node.panchayat.internal").unwrap().await
}

/// Says hello as claimed; the answer, or nothing if the other side closed instead.
pub async fn say(connection: &Connection, claim: &Claim) -> Option<Vec<u8>> {
    let (mut send, mut receive) = connection.open_bi().await.ok()?;
    send.write_all(&claim.bytes()).await.ok()?;
    send.finish().ok()?;
    receive.read_to_end(1000).await.ok()
}

/// The code the other side closed with.
pub async fn close_code(connection: &Connection) -> u64 {
    match connection.closed().await {
        ConnectionError::ApplicationClosed(close) => close.error_code.into_inner(),
        other => panic!("closed otherwise: {other:?}"),
    }
}

/// An endpoint that takes connections as `identity` and asks for no certificate.
pub fn listen(identity: &Identity, alpn: &[u8]) -> Endpoint {
    let [certificate, key, _] = identity.to_pem();
    let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
    let mut tls =
        rustls::ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
    tls.alpn_protocols = vec![alpn.to_vec()];
    let crypto: QuicServerConfig = tls.try_into().unwrap();
    let config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
    let socket = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let runtime = Arc::new(TokioRuntime);
    Endpoint::new(EndpointConfig::default(), Some(config), socket, runtime).unwrap()
}
