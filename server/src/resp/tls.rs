//! TLS for Redis clients.
//!
//! TLS 1.3 only, with the post-quantum hybrid X25519MLKEM768 for every client that sends a share of it,
//! and plain elliptic curves for the others: unlike peers, clients are not ours to choose. Nothing is
//! resumed, so every connection meets the certificates that are in force when it comes; those that
//! are there already go on with the ones they have met.

use std::fmt;
use std::io;
use std::sync::Arc;

use parking_lot::RwLock;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::version::TLS13;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use thiserror::Error;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// The certificates in force.
pub(crate) struct Tls {
    config: RwLock<Arc<ServerConfig>>,
}

/// Why certificates cannot be used.
#[derive(Debug, Error)]
pub(crate) enum TlsError {
    #[error("the {what}: {reason}")]
    Pem { what: &'static str, reason: String },
    #[error("no {0} in its file")]
    Empty(&'static str),
    #[error("certificate and key: {0}")]
    Pair(rustls::Error),
    #[error("the authority of clients: {0}")]
    Authority(String),
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}

impl Tls {
    /// With a chain of certificates, the key of the first, and the authorities of which clients have
    /// to show a certificate, if any; PEM all of them.
    pub(crate) fn new(
        chain: &[u8],
        key: &[u8],
        client_ca: Option<&[u8]>,
    ) -> Result<Self, TlsError> {
        Ok(Self { config: RwLock::new(config(chain, key, client_ca)?) })
    }

    /// The same for connections to come; what cannot be used changes nothing.
    pub(crate) fn renew(
        &self,
        chain: &[u8],
        key: &[u8],
        client_ca: Option<&[u8]>,
    ) -> Result<(), TlsError> {
        *self.config.write() = config(chain, key, client_ca)?;
        Ok(())
    }

    /// The handshake with one client.
    pub(super) async fn accept(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let acceptor = TlsAcceptor::from(self.config.read().clone());
        acceptor.accept(stream).await
    }
}

fn provider() -> Arc<CryptoProvider> {
    let mut provider = aws_lc_rs::default_provider();
    // Among the groups that a client has sent shares of, the server's order decides.
    let hybrid = aws_lc_rs::kx_group::X25519MLKEM768;
    provider.kx_groups.retain(|group| group.name() != hybrid.name());
    provider.kx_groups.insert(0, hybrid);
    Arc::new(provider)
}

fn certificates(what: &'static str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let read = read.map_err(|error| TlsError::Pem { what, reason: error.to_string() })?;
    if read.is_empty() { Err(TlsError::Empty(what)) } else { Ok(read) }
}

fn config(
    chain: &[u8],
    key: &[u8],
    client_ca: Option<&[u8]>,
) -> Result<Arc<ServerConfig>, TlsError> {
    let chain = certificates("certificate", chain)?;
    let key = PrivateKeyDer::from_pem_slice(key)
        .map_err(|error| TlsError::Pem { what: "key", reason: error.to_string() })?;
    let builder = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .map_err(TlsError::Pair)?;
    let builder = match client_ca {
        None => builder.with_no_client_auth(),
        Some(pem) => {
            let mut roots = RootCertStore::empty();
            for root in certificates("certificate of the authority of clients", pem)? {
                roots.add(root).map_err(|error| TlsError::Authority(error.to_string()))?;
            }
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider()).build();
            let verifier = verifier.map_err(|error| TlsError::Authority(error.to_string()))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut config = builder.with_single_cert(chain, key).map_err(TlsError::Pair)?;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}
