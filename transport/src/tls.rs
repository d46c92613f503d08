//! TLS for QUIC: which cryptography, which certificates, which protocols.
//!
//! The provider is named explicitly everywhere. quinn's convenience constructors pick whichever
//! provider some other crate's features enabled, and then the post-quantum exchange is silently
//! gone. Both ends of every connection are ours, so X25519MLKEM768 is the only group offered: a
//! connection that exists has negotiated it.

use std::sync::Arc;

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use crate::error::TransportError;
use crate::identity::Identity;

/// The protocol between nodes.
pub(crate) const MESH_ALPN: &[u8] = b"panchayat-mesh/1";

/// The protocol between a client and a node.
pub(crate) const CLIENT_ALPN: &[u8] = b"panchayat-client/1";

fn provider() -> Arc<CryptoProvider> {
    let mut provider = aws_lc_rs::default_provider();
    provider.kx_groups = vec![aws_lc_rs::kx_group::X25519MLKEM768];
    Arc::new(provider)
}

fn roots(identity: &Identity) -> Result<Arc<RootCertStore>, TransportError> {
    let mut roots = RootCertStore::empty();
    for ca in identity.ca() {
        roots.add(ca.clone()).map_err(tls_error)?;
    }
    Ok(Arc::new(roots))
}

fn tls_error(error: impl std::fmt::Display) -> TransportError {
    TransportError::Tls(error.to_string())
}

/// The accepting side: demands a certificate of our authority, speaks both protocols.
pub(crate) fn server_config(identity: &Identity) -> Result<ServerConfig, TransportError> {
    let verifier = WebPkiClientVerifier::builder_with_provider(roots(identity)?, provider())
        .build()
        .map_err(tls_error)?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .map_err(tls_error)?
        .with_client_cert_verifier(verifier)
        .with_single_cert(identity.chain(), identity.key())
        .map_err(tls_error)?;
    config.alpn_protocols = vec![MESH_ALPN.to_vec(), CLIENT_ALPN.to_vec()];
    // A resumed session would not show its certificate again.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

/// The connecting side: demands a node's certificate of our authority, shows its own.
pub(crate) fn client_config(
    identity: &Identity,
    alpn: &[u8],
) -> Result<ClientConfig, TransportError> {
    let verifier = WebPkiServerVerifier::builder_with_provider(roots(identity)?, provider())
        .build()
        .map_err(tls_error)?;
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .map_err(tls_error)?
        .with_webpki_verifier(verifier)
        .with_client_auth_cert(identity.chain(), identity.key())
        .map_err(tls_error)?;
    config.alpn_protocols = vec![alpn.to_vec()];
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// [`server_config`] as quinn wants it.
pub(crate) fn quic_server(identity: &Identity) -> Result<Arc<QuicServerConfig>, TransportError> {
    Ok(Arc::new(server_config(identity)?.try_into().map_err(tls_error)?))
}

/// [`client_config`] as quinn wants it.
pub(crate) fn quic_client(
    identity: &Identity,
    alpn: &[u8],
) -> Result<Arc<QuicClientConfig>, TransportError> {
    Ok(Arc::new(client_config(identity, alpn)?.try_into().map_err(tls_error)?))
}

#[cfg(test)]
mod tests {
    use panchayat_consensus::{ClusterId, NodeId};
    use rustls::pki_types::ServerName;
    use rustls::quic::{ClientConnection, Connection, KeyChange, ServerConnection, Version};
    use rustls::{NamedGroup, ProtocolVersion};

    use super::*;
    use crate::identity::{Authority, NODE_DNS_NAME};

    fn identities() -> [Identity; 2] {
        let authority = Authority::create().unwrap();
        [1, 2].map(|node| authority.issue_node(ClusterId(1), NodeId(node)).unwrap())
    }

    /// A QUIC handshake in memory with exactly the configurations quinn is given.
    fn handshake(
        client: ClientConfig,
        server: ServerConfig,
    ) -> Result<[Connection; 2], rustls::Error> {
        let name = ServerName::try_from(NODE_DNS_NAME).unwrap();
        let version = Version::V1;
        let client = ClientConnection::new(Arc::new(client), version, name, Vec::new())?;
        let server = ServerConnection::new(Arc::new(server), version, Vec::new())?;
        let mut ends = [Connection::Client(client), Connection::Server(server)];
        for step in 0..10 {
            let (from, to) = (step % 2, (step + 1) % 2);
            loop {
                let mut bytes = Vec::new();
                let change: Option<KeyChange> = ends[from].write_hs(&mut bytes);
                if bytes.is_empty() && change.is_none() {
                    break;
                }
                ends[to].read_hs(&bytes)?;
            }
        }
        assert!(ends.iter().all(|end| !end.is_handshaking()));
        Ok(ends)
    }

    #[test]
    fn the_post_quantum_group_is_negotiated_under_tls_1_3() {
        let [a, b] = identities();
        let client = client_config(&a, MESH_ALPN).unwrap();
        for end in handshake(client, server_config(&b).unwrap()).unwrap() {
            let group = end.negotiated_key_exchange_group().unwrap().name();
            assert_eq!(group, NamedGroup::X25519MLKEM768);
            assert_eq!(end.protocol_version(), Some(ProtocolVersion::TLSv1_3));
            assert_eq!(end.alpn_protocol(), Some(MESH_ALPN));
            assert_eq!(end.peer_certificates().unwrap().len(), 1);
        }
    }

    #[test]
    fn a_classical_only_peer_is_refused() {
        let [a, b] = identities();
        let mut provider = aws_lc_rs::default_provider();
        provider.kx_groups = vec![aws_lc_rs::kx_group::X25519];
        let mut client = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[&TLS13])
            .unwrap()
            .with_root_certificates(roots(&a).unwrap())
            .with_client_auth_cert(a.chain(), a.key())
            .unwrap();
        client.alpn_protocols = vec![MESH_ALPN.to_vec()];
        let refused = handshake(client, server_config(&b).unwrap()).map(|_| ());
        assert!(refused.is_err(), "a peer without X25519MLKEM768 got in");
    }

    #[test]
    fn a_client_certificate_cannot_act_as_a_node() {
        let authority = Authority::create().unwrap();
        let node = authority.issue_node(ClusterId(1), NodeId(1)).unwrap();
        let impostor = authority.issue_client(ClusterId(1), "impostor").unwrap();
        let client = client_config(&node, MESH_ALPN).unwrap();
        assert!(handshake(client, server_config(&impostor).unwrap()).is_err());
    }
}
