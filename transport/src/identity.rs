//! Who a process is: X.509 certificates that name a cluster and a node, or a cluster and a client.
//!
//! The name is one URI among the certificate's alternative names:
//!
//! ```text
//! panchayat://<cluster, 32 hex digits>/node/<number>
//! panchayat://<cluster, 32 hex digits>/client/<name>
//! ```
//!
//! The chain to the cluster's authority is checked by TLS; the name is checked on both sides right
//! after the handshake, before a byte of either side is used. One authority may serve several
//! clusters: the name keeps them apart. A client's certificate cannot act as a node's.

use std::fmt;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use panchayat_consensus::{ClusterId, NodeId};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::extensions::GeneralName;

use crate::error::TransportError;

/// The DNS name in every node's certificate, which TLS wants. It says "a node", not which one.
pub(crate) const NODE_DNS_NAME: &str = "node.panchayat.internal";

const URI_SCHEME: &str = "panchayat://";

/// Longest client name, in bytes.
const CLIENT_NAME_BYTES_MAX: usize = 64;

/// How far before its making a certificate is valid, for clocks that are behind.
const BACKDATED: Duration = Duration::from_secs(24 * 3600);

pub(crate) const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

/// The names of the files [`Identity::save`] and [`Authority::save`] write.
pub(crate) const CA_FILE: &str = "ca.pem";
const CA_KEY_FILE: &str = "ca.key";
const CERTIFICATE_FILE: &str = "identity.pem";
const KEY_FILE: &str = "identity.key";

/// Whom a certificate names.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    /// A node.
    Node(NodeId),
    /// A client, by its name.
    Client(String),
}

/// The identity in a certificate: cluster and subject.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Name {
    /// The cluster.
    pub cluster: ClusterId,
    /// The node or client.
    pub subject: Subject,
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.subject {
            Subject::Node(node) => write!(f, "{URI_SCHEME}{}/node/{}", self.cluster, node.0),
            Subject::Client(name) => write!(f, "{URI_SCHEME}{}/client/{name}", self.cluster),
        }
    }
}

impl Name {
    /// Reads a name from its URI.
    pub fn parse(uri: &str) -> Result<Self, TransportError> {
        Self::parse_uri(uri).ok_or_else(|| TransportError::NoIdentity {
            reason: format!("malformed name {:?}", truncate(uri)),
        })
    }

    fn parse_uri(uri: &str) -> Option<Self> {
        let (cluster, rest) = uri.strip_prefix(URI_SCHEME)?.split_once('/')?;
        let (kind, subject) = rest.split_once('/')?;
        let hex = cluster.len() == 32 && cluster.bytes().all(|b| b.is_ascii_hexdigit());
        let cluster = ClusterId(u128::from_str_radix(cluster, 16).ok().filter(|_| hex)?);
        let subject = match kind {
            "node" if subject.bytes().all(|b| b.is_ascii_digit()) => {
                Subject::Node(NodeId(subject.parse().ok()?))
            }
            "client" if is_client_name(subject) => Subject::Client(subject.to_owned()),
            _ => return None,
        };
        Some(Self { cluster, subject })
    }

    /// Reads the name a certificate carries: exactly one.
    pub fn of_certificate(certificate: &CertificateDer<'_>) -> Result<Self, TransportError> {
        let no = |reason: &str| TransportError::NoIdentity { reason: reason.to_owned() };
        let (_, parsed) = x509_parser::parse_x509_certificate(certificate)
            .map_err(|e| no(&format!("not a certificate: {e}")))?;
        let names = parsed
            .subject_alternative_name()
            .map_err(|e| no(&format!("bad alternative names: {e}")))?
            .ok_or_else(|| no("no alternative names"))?;
        let mut uris = names.value.general_names.iter().filter_map(|name| match name {
            GeneralName::URI(uri) if uri.starts_with(URI_SCHEME) => Some(*uri),
            _ => None,
        });
        match (uris.next(), uris.next()) {
            (Some(uri), None) => Self::parse(uri),
            (None, _) => Err(no("no panchayat:// name")),
            (Some(_), Some(_)) => Err(no("more than one panchayat:// name")),
        }
    }
}

pub(crate) fn is_client_name(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    !name.is_empty() && name.len() <= CLIENT_NAME_BYTES_MAX && name.bytes().all(plain)
}

pub(crate) fn truncate(text: &str) -> String {
    text.chars().take(100).collect()
}

/// A certificate with its private key and the authority it trusts: all one end of a connection
/// needs.
pub struct Identity {
    name: Name,
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
    /// More than one while an authority takes the place of another.
    ca: Vec<CertificateDer<'static>>,
    /// The same three as PEM texts.
    pem: [String; 3],
}

impl Clone for Identity {
    fn clone(&self) -> Self {
        Self {
            name: self.name.clone(),
            certificate: self.certificate.clone(),
            key: self.key.clone_key(),
            ca: self.ca.clone(),
            pem: self.pem.clone(),
        }
    }
}

impl fmt::Debug for Identity {
    /// Never shows the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Identity").field(&self.name.to_string()).finish()
    }
}

impl Identity {
    /// Who this is.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// The cluster this identity belongs to.
    pub fn cluster(&self) -> ClusterId {
        self.name.cluster
    }

    /// From PEM texts: own certificate, its key (PKCS #8), the authority's certificate; or several,
    /// while one authority takes the place of another.
    pub fn from_pem(certificate: &str, key: &str, ca: &str) -> Result<Self, TransportError> {
        let pem = [certificate, key, ca].map(str::to_owned);
        let certificate = certificate_from_pem("certificate", certificate)?;
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes())
            .map_err(|e| TransportError::Pem { what: "key", reason: e.to_string() })?;
        let ca = authorities_from_pem(ca)?;
        Ok(Self { name: Name::of_certificate(&certificate)?, certificate, key, ca, pem })
    }

    /// The PEM texts: own certificate, its key, the authority's certificate. Keep the key secret.
    pub fn to_pem(&self) -> &[String; 3] {
        &self.pem
    }

    /// The files of an identity in `directory`: certificate, key, authority.
    pub fn files(directory: &Path) -> [PathBuf; 3] {
        [CERTIFICATE_FILE, KEY_FILE, CA_FILE].map(|file| directory.join(file))
    }

    /// Reads `identity.pem`, `identity.key` and `ca.pem` from `directory`.
    pub fn load(directory: &Path) -> Result<Self, TransportError> {
        let [certificate, key, ca] = Self::files(directory);
        Self::from_pem(&read(&certificate)?, &read(&key)?, &read(&ca)?)
    }

    /// Writes `identity.pem`, `identity.key` (readable by the owner only) and `ca.pem`. Refuses to
    /// overwrite an identity.
    pub fn save(&self, directory: &Path) -> Result<(), TransportError> {
        let [certificate, key, ca] = self.to_pem();
        create_directory(directory)?;
        write_new(&directory.join(KEY_FILE), key, 0o600)?;
        write_new(&directory.join(CERTIFICATE_FILE), certificate, 0o644)?;
        // Several identities, or the authority itself, may share a directory's ca.pem.
        let path = directory.join(CA_FILE);
        match fs::read_to_string(&path) {
            Ok(present) if present == *ca => Ok(()),
            _ => write_new(&path, ca, 0o644),
        }
    }

    pub(crate) fn chain(&self) -> Vec<CertificateDer<'static>> {
        vec![self.certificate.clone()]
    }

    pub(crate) fn key(&self) -> PrivateKeyDer<'static> {
        self.key.clone_key()
    }

    pub(crate) fn ca(&self) -> &[CertificateDer<'static>] {
        &self.ca
    }

    /// The node this identity names; an error that says so if it names a client.
    pub(crate) fn node(&self) -> Result<NodeId, TransportError> {
        match self.name.subject {
            Subject::Node(node) => Ok(node),
            Subject::Client(_) => Err(TransportError::WrongIdentity {
                given: self.name.to_string(),
                needed: "a node",
            }),
        }
    }
}

/// A certificate authority: issues the identities of one or more clusters.
pub struct Authority {
    ca: CertificateDer<'static>,
    ca_pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl fmt::Debug for Authority {
    /// Never shows the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").finish_non_exhaustive()
    }
}

impl Authority {
    /// A new authority with a new key, valid for ten years.
    pub fn create() -> Result<Self, TransportError> {
        let subject = "the certificate authority";
        let issue = |e: rcgen::Error| issue_error(subject, &e);
        let key = KeyPair::generate().map_err(issue)?;
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "Panchayat cluster authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        set_validity(&mut params, 10 * YEAR);
        let ca = params.self_signed(&key).map_err(issue)?;
        let (ca, ca_pem) = (ca.der().clone(), ca.pem());
        Ok(Self { ca, ca_pem, issuer: Issuer::new(params, key) })
    }

    /// An identity for `node` of `cluster`, valid for three years.
    pub fn issue_node(&self, cluster: ClusterId, node: NodeId) -> Result<Identity, TransportError> {
        self.issue(Name { cluster, subject: Subject::Node(node) })
    }

    /// An identity for the client called `name` (letters, digits, `-`, `_`, `.`; at most 64),
    /// valid for three years.
    pub fn issue_client(&self, cluster: ClusterId, name: &str) -> Result<Identity, TransportError> {
        if !is_client_name(name) {
            return Err(TransportError::Issue {
                subject: truncate(name),
                reason: "client names are 1 to 64 of letters, digits, '-', '_', '.'".into(),
            });
        }
        self.issue(Name { cluster, subject: Subject::Client(name.to_owned()) })
    }

    pub(crate) fn issuer(&self) -> &Issuer<'static, KeyPair> {
        &self.issuer
    }

    fn issue(&self, name: Name) -> Result<Identity, TransportError> {
        let subject = name.to_string();
        let issue = |e: rcgen::Error| issue_error(&subject, &e);
        let key = KeyPair::generate().map_err(issue)?;
        let mut params = CertificateParams::default();
        let uri = subject.as_str().try_into().map_err(issue)?;
        params.subject_alt_names = vec![SanType::URI(uri)];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let common_name = match &name.subject {
            Subject::Node(node) => {
                let dns = NODE_DNS_NAME.try_into().map_err(issue)?;
                params.subject_alt_names.push(SanType::DnsName(dns));
                params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
                node.to_string()
            }
            Subject::Client(client) => client.clone(),
        };
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        set_validity(&mut params, 3 * YEAR);
        let certificate = params.signed_by(&key, &self.issuer).map_err(issue)?;
        let pem = [certificate.pem(), key.serialize_pem(), self.ca_pem.clone()];
        let certificate = certificate.der().clone();
        let key = PrivateKeyDer::try_from(key.serialize_der())
            .map_err(|e| TransportError::Issue { subject: name.to_string(), reason: e.into() })?;
        Ok(Identity { name, certificate, key, ca: vec![self.ca.clone()], pem })
    }

    /// From PEM texts: the authority's certificate and its key.
    pub fn from_pem(ca: &str, key: &str) -> Result<Self, TransportError> {
        let bad = |what, e: rcgen::Error| TransportError::Pem { what, reason: e.to_string() };
        let ca_pem = ca.to_owned();
        let ca = certificate_from_pem("ca", ca)?;
        let key = KeyPair::from_pem(key).map_err(|e| bad("ca key", e))?;
        let issuer = Issuer::from_ca_cert_der(&ca, key).map_err(|e| bad("ca", e))?;
        Ok(Self { ca, ca_pem, issuer })
    }

    /// The PEM texts: certificate and key. Keep the key secret.
    pub fn to_pem(&self) -> [String; 2] {
        [self.ca_pem.clone(), self.issuer.key().serialize_pem()]
    }

    /// Reads `ca.pem` and `ca.key` from `directory`.
    pub fn load(directory: &Path) -> Result<Self, TransportError> {
        Self::from_pem(&read(&directory.join(CA_FILE))?, &read(&directory.join(CA_KEY_FILE))?)
    }

    /// Writes `ca.pem` and `ca.key` (readable by the owner only). Refuses to overwrite either.
    pub fn save(&self, directory: &Path) -> Result<(), TransportError> {
        let [ca, key] = self.to_pem();
        create_directory(directory)?;
        write_new(&directory.join(CA_KEY_FILE), &key, 0o600)?;
        write_new(&directory.join(CA_FILE), &ca, 0o644)
    }
}

pub(crate) fn set_validity(params: &mut CertificateParams, length: Duration) {
    let now = SystemTime::now();
    params.not_before = (now - BACKDATED).into();
    params.not_after = (now + length).into();
}

pub(crate) fn issue_error(subject: &str, error: &rcgen::Error) -> TransportError {
    TransportError::Issue { subject: subject.to_owned(), reason: error.to_string() }
}

/// Most authorities that are trusted at once.
const AUTHORITIES_MAX: usize = 8;

fn authorities_from_pem(text: &str) -> Result<Vec<CertificateDer<'static>>, TransportError> {
    let bad = |reason: String| TransportError::Pem { what: "ca", reason };
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
    match read.map_err(|error| bad(error.to_string()))? {
        none if none.is_empty() => Err(bad("there is no certificate".to_owned())),
        many if many.len() > AUTHORITIES_MAX => Err(bad("more than 8 certificates".to_owned())),
        some => Ok(some),
    }
}

fn certificate_from_pem(
    what: &'static str,
    text: &str,
) -> Result<CertificateDer<'static>, TransportError> {
    CertificateDer::from_pem_slice(text.as_bytes())
        .map_err(|e| TransportError::Pem { what, reason: e.to_string() })
}

fn file_error(path: &Path) -> impl Fn(std::io::Error) -> TransportError {
    let path = path.to_owned();
    move |source| TransportError::File { path: path.clone(), source }
}

fn read(path: &Path) -> Result<String, TransportError> {
    fs::read_to_string(path).map_err(file_error(path))
}

pub(crate) fn create_directory(path: &Path) -> Result<(), TransportError> {
    fs::create_dir_all(path).map_err(file_error(path))
}

pub(crate) fn write_new(path: &Path, text: &str, mode: u32) -> Result<(), TransportError> {
    let error = file_error(path);
    let mut options = fs::OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(mode).open(path).map_err(&error)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(&error)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const CLUSTER: ClusterId = ClusterId(0xabcd);

    #[test]
    fn names_survive_text_and_certificate() {
        let authority = Authority::create().unwrap();
        for identity in [
            authority.issue_node(CLUSTER, NodeId(7)).unwrap(),
            authority.issue_client(CLUSTER, "payments-1").unwrap(),
        ] {
            assert_eq!(Name::parse(&identity.name.to_string()).unwrap(), identity.name);
            assert_eq!(Name::of_certificate(&identity.certificate).unwrap(), identity.name);
        }
    }

    #[test]
    fn malformed_names_are_refused() {
        let cluster = "0".repeat(32);
        for uri in [
            "",
            "panchayat://",
            "http://00000000000000000000000000000001/node/1",
            "panchayat://1/node/1",
            "panchayat://+0000000000000000000000000000001/node/1",
            &format!("panchayat://{cluster}/node/"),
            &format!("panchayat://{cluster}/node/-1"),
            &format!("panchayat://{cluster}/node/+1"),
            &format!("panchayat://{cluster}/node/1/2"),
            &format!("panchayat://{cluster}/node/99999999999999999999"),
            &format!("panchayat://{cluster}/client/"),
            &format!("panchayat://{cluster}/client/a b"),
            &format!("panchayat://{cluster}/client/{}", "x".repeat(65)),
            &format!("panchayat://{cluster}/king/1"),
        ] {
            assert!(Name::parse(uri).is_err(), "{uri}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_can_be_parsed_and_only_canonical_names_pass(text in ".{0,80}") {
            if let Ok(name) = Name::parse(&format!("{URI_SCHEME}{text}")) {
                let again = Name::parse(&name.to_string());
                proptest::prop_assert_eq!(again.ok(), Some(name));
            }
        }
    }

    #[test]
    fn a_certificate_without_a_name_is_refused() {
        let authority = Authority::create().unwrap();
        let refused = Name::of_certificate(&authority.ca);
        assert!(matches!(refused, Err(TransportError::NoIdentity { .. })), "{refused:?}");
        let junk = Name::of_certificate(&CertificateDer::from(vec![1, 2, 3]));
        assert!(matches!(junk, Err(TransportError::NoIdentity { .. })), "{junk:?}");
    }

    #[test]
    fn files_round_trip_and_keys_are_private() {
        let directory = tempfile::tempdir().unwrap();
        let authority = Authority::create().unwrap();
        authority.save(directory.path()).unwrap();
        let authority = Authority::load(directory.path()).unwrap();
        let identity = authority.issue_node(CLUSTER, NodeId(3)).unwrap();
        identity.save(directory.path()).unwrap();
        let loaded = Identity::load(directory.path()).unwrap();
        assert_eq!(loaded.to_pem(), identity.to_pem());
        assert_eq!(loaded.name(), identity.name());
        for key in [KEY_FILE, CA_KEY_FILE] {
            let mode = fs::metadata(directory.path().join(key)).unwrap().permissions().mode();
            assert_eq!(mode & 0o077, 0, "{key}");
        }
        assert!(identity.save(directory.path()).is_err(), "overwrote an identity");
        assert!(authority.save(directory.path()).is_err(), "overwrote an authority");
        let missing = Identity::load(&directory.path().join("none")).unwrap_err().to_string();
        assert!(missing.contains("identity.pem"), "{missing}");
    }

    #[test]
    fn debug_shows_no_key() {
        let identity = Authority::create().unwrap().issue_node(CLUSTER, NodeId(1)).unwrap();
        assert!(format!("{identity:?}").len() < 80);
    }
}
