//! The first words on a connection, both ways, and the check of the certificate's name.
//!
//! TLS has proven that the other end holds a key our authority signed. Here each end checks which
//! cluster and node that is, and says so itself: only the answer to a hello proves that the other
//! side has accepted *us* (a QUIC client's `connect` succeeds before the server has judged the
//! client's certificate).
//!
//! ```text
//! magic "PNCH" | versions u8, u8 | cluster u128 | sender u64 | addressee u64     (little-endian)
//! ```
//! The versions are the lowest and the highest that the sender speaks, of everything after TLS. Both ends
//! speak the highest that both know, so that members can be upgraded one by one; where there is none they
//! say so and part. A release speaks the version of the one before it, too.
//!
//! A client sends 0 as sender, and the node answers 0 as addressee.

use std::time::Duration;

use panchayat_consensus::{ClusterId, NodeId};
use quinn::{Connection, ConnectionError, ReadExactError};
use rustls::pki_types::CertificateDer;

use crate::close::CloseCode;
use crate::error::Refusal;
use crate::identity::{Name, Subject};

const MAGIC: [u8; 4] = *b"PNCH";

/// The versions this program speaks of everything after TLS: hello, streams, frames, datagrams.
const VERSIONS: Versions = Versions { lowest: 2, highest: 3 };

const HELLO_BYTES: usize = 4 + 2 + 16 + 8 + 8;

/// A connection on which both ends have accepted each other.
#[derive(Clone, Debug)]
pub(crate) struct Accepted {
    pub(crate) connection: Connection,
    /// The version that both speak on it.
    pub(crate) version: u8,
}

/// The versions that one end speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Versions {
    lowest: u8,
    highest: u8,
}

impl Versions {
    /// The one that both speak.
    fn in_common(self, other: Self) -> Option<u8> {
        let highest = self.highest.min(other.highest);
        (highest >= self.lowest.max(other.lowest)).then_some(highest)
    }
}

/// The sender a client names, and the addressee of the answer to it.
const NO_NODE: NodeId = NodeId(0);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Hello {
    versions: Versions,
    cluster: ClusterId,
    from: NodeId,
    to: NodeId,
}

impl Hello {
    fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HELLO_BYTES);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&[self.versions.lowest, self.versions.highest]);
        bytes.extend_from_slice(&self.cluster.0.to_le_bytes());
        bytes.extend_from_slice(&self.from.0.to_le_bytes());
        bytes.extend_from_slice(&self.to.0.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8; HELLO_BYTES]) -> Result<Self, Refusal> {
        if bytes[..4] != MAGIC {
            return Err(Refusal::Hello("wrong magic".into()));
        }
        Ok(Self {
            versions: Versions { lowest: bytes[4], highest: bytes[5] },
            cluster: ClusterId(u128::from_le_bytes(array(&bytes[6..22]))),
            from: NodeId(u64::from_le_bytes(array(&bytes[22..30]))),
            to: NodeId(u64::from_le_bytes(array(&bytes[30..38]))),
        })
    }

    /// Compares with what this end knows to be true; gives the version to speak.
    fn check(&self, cluster: ClusterId, from: NodeId, to: NodeId) -> Result<u8, Refusal> {
        let Some(version) = self.versions.in_common(VERSIONS) else {
            let (theirs, ours) = (self.versions, VERSIONS);
            return Err(Refusal::Hello(format!(
                "it speaks wire versions {} to {}, and this program {} to {}: upgrade one release \
                 at a time",
                theirs.lowest, theirs.highest, ours.lowest, ours.highest
            )));
        };
        tracing::debug!(%from, %to, version, "a hello");
        if self.cluster != cluster {
            return Err(Refusal::Cluster { theirs: self.cluster });
        }
        if (self.from, self.to) != (from, to) {
            return Err(Refusal::Node {
                theirs: format!("{} speaking to {}", self.from, self.to),
                meant: format!("{from} speaking to {to}"),
            });
        }
        Ok(version)
    }
}

fn array<const N: usize>(slice: &[u8]) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(slice);
    array
}

/// The subject of the peer's certificate, which must be of `cluster`.
pub(crate) fn authenticate(
    connection: &Connection,
    cluster: ClusterId,
) -> Result<Subject, Refusal> {
    let chain = connection
        .peer_identity()
        .and_then(|any| any.downcast::<Vec<CertificateDer<'static>>>().ok())
        .ok_or_else(|| Refusal::Certificate("no certificate".into()))?;
    let leaf = chain.first().ok_or_else(|| Refusal::Certificate("no certificate".into()))?;
    let name = Name::of_certificate(leaf).map_err(|e| Refusal::Certificate(e.to_string()))?;
    if name.cluster != cluster {
        return Err(Refusal::Cluster { theirs: name.cluster });
    }
    Ok(name.subject)
}

/// The connecting side's part: check the certificate, say hello, wait to be accepted. Gives the
/// version to speak. `from` is `None` for a client.
pub(crate) async fn introduce(
    connection: &Connection,
    cluster: ClusterId,
    from: Option<NodeId>,
    to: NodeId,
    timeout: Duration,
) -> Result<u8, Refusal> {
    let from = from.unwrap_or(NO_NODE);
    match authenticate(connection, cluster)? {
        Subject::Node(node) if node == to => {}
        other => {
            let theirs = Name { cluster, subject: other }.to_string();
            return Err(Refusal::Node { theirs, meant: to.to_string() });
        }
    }
    let exchange = async {
        let (mut send, mut receive) = connection.open_bi().await.map_err(lost)?;
        let hello = Hello { versions: VERSIONS, cluster, from, to };
        send.write_all(&hello.encode()).await.map_err(|e| stream_lost(connection, &e))?;
        // Finishing twice cannot happen here, and a closed stream shows in the read below.
        let _ = send.finish();
        let mut answer = [0; HELLO_BYTES];
        match receive.read_exact(&mut answer).await {
            Ok(()) => Hello::decode(&answer)?.check(cluster, to, from),
            // Refused: the acceptor lets go of its stream a moment before it says why.
            Err(ReadExactError::FinishedEarly(0)) => Err(lost(connection.closed().await)),
            Err(error) => Err(stream_lost(connection, &error)),
        }
    };
    let late = |_| Refusal::Lost(format!("no answer to our hello within {timeout:?}"));
    tokio::time::timeout(timeout, exchange).await.map_err(late)?
}

/// The accepting side's part: read the hello, hold it against the certificate's `subject`, answer.
/// Gives the version to speak.
pub(crate) async fn welcome(
    connection: &Connection,
    cluster: ClusterId,
    me: NodeId,
    subject: &Subject,
    timeout: Duration,
) -> Result<u8, Refusal> {
    let peer = match subject {
        Subject::Node(node) => *node,
        Subject::Client(_) => NO_NODE,
    };
    let exchange = async {
        let (mut send, mut receive) = connection.accept_bi().await.map_err(lost)?;
        let mut hello = [0; HELLO_BYTES];
        receive.read_exact(&mut hello).await.map_err(|e| stream_lost(connection, &e))?;
        let version = Hello::decode(&hello)?.check(cluster, peer, me)?;
        let answer = Hello { versions: VERSIONS, cluster, from: me, to: peer };
        send.write_all(&answer.encode()).await.map_err(|e| stream_lost(connection, &e))?;
        let _ = send.finish();
        Ok(version)
    };
    let late = |_| Refusal::Hello(format!("none within {timeout:?}"));
    tokio::time::timeout(timeout, exchange).await.map_err(late)?
}

fn stream_lost(connection: &Connection, error: &dyn std::error::Error) -> Refusal {
    match connection.close_reason() {
        Some(reason) => lost(reason),
        None => Refusal::Hello(error.to_string()),
    }
}

/// TLS alerts (RFC 8446, section 6) that mean "your certificate will not do".
const CERTIFICATE_ALERTS: [u64; 9] = [42, 43, 44, 45, 46, 48, 49, 51, 116];

/// TLS alert "no application protocol".
const ALPN_ALERT: u64 = 120;

/// QUIC error codes that carry a TLS alert start here (RFC 9001, section 4.8).
const CRYPTO_ERRORS: u64 = 0x100;

/// What a connection error says about acceptance: we refused, they refused, or it just broke.
pub(crate) fn lost(error: ConnectionError) -> Refusal {
    let text = error.to_string();
    match error {
        ConnectionError::TransportError(error) => {
            let code: u64 = error.code.into();
            match code.checked_sub(CRYPTO_ERRORS) {
                Some(ALPN_ALERT) => Refusal::Alpn(text),
                Some(alert) if CERTIFICATE_ALERTS.contains(&alert) => Refusal::Certificate(text),
                _ => Refusal::Hello(text),
            }
        }
        ConnectionError::ConnectionClosed(close) => {
            let code: u64 = close.error_code.into();
            if code >= CRYPTO_ERRORS { Refusal::ByPeer(text) } else { Refusal::Lost(text) }
        }
        ConnectionError::ApplicationClosed(close) => {
            match CloseCode::from_code(close.error_code.into_inner()) {
                CloseCode::Dropped | CloseCode::Shutdown | CloseCode::Superseded => {
                    Refusal::Lost(text)
                }
                code => Refusal::ByPeer(code.to_string()),
            }
        }
        _ => Refusal::Lost(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HELLO: Hello =
        Hello { versions: VERSIONS, cluster: ClusterId(5), from: NodeId(1), to: NodeId(2) };

    fn wire(hello: &Hello) -> [u8; HELLO_BYTES] {
        array(&hello.encode())
    }

    #[test]
    fn a_hello_survives_the_wire() {
        assert_eq!(Hello::decode(&wire(&HELLO)), Ok(HELLO));
    }

    #[test]
    fn another_magic_is_refused() {
        let mut bytes = wire(&HELLO);
        bytes[0] ^= 0x40;
        assert!(matches!(Hello::decode(&bytes), Err(Refusal::Hello(_))));
    }

    #[test]
    fn both_ends_speak_the_highest_version_that_both_know() {
        let versions = |lowest, highest| Versions { lowest, highest };
        assert_eq!(versions(2, 3).in_common(versions(1, 2)), Some(2));
        assert_eq!(versions(1, 4).in_common(versions(2, 3)), Some(3));
        assert_eq!(versions(3, 4).in_common(versions(1, 2)), None);
        let check = |lowest, highest| {
            let hello = Hello { versions: versions(lowest, highest), ..HELLO };
            hello.check(ClusterId(5), NodeId(1), NodeId(2))
        };
        assert_eq!(check(1, u8::MAX), Ok(3));
        assert_eq!(check(2, 2), Ok(2), "the version of the release before");
        // What versions before this rule say: one, in two bytes.
        for (lowest, highest) in [(1, 0), (1, 1), (u8::MAX, u8::MAX)] {
            let refused = check(lowest, highest).unwrap_err().to_string();
            assert!(refused.contains("one release at a time"), "{refused}");
        }
    }

    #[test]
    fn a_hello_must_match_what_is_known() {
        let check = |cluster, from, to| HELLO.check(ClusterId(cluster), NodeId(from), NodeId(to));
        assert_eq!(check(5, 1, 2), Ok(VERSIONS.highest));
        assert!(matches!(check(6, 1, 2), Err(Refusal::Cluster { .. })));
        assert!(matches!(check(5, 3, 2), Err(Refusal::Node { .. })));
        assert!(matches!(check(5, 1, 3), Err(Refusal::Node { .. })));
    }
}
