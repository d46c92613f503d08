//! Certificates for Redis clients and for whom they talk to.
//!
//! They carry no name of the cluster, so the mesh lets nobody in with one: a certificate that opens
//! the port for Redis clients opens nothing else.

use std::fs;
use std::net::IpAddr;
use std::path::Path;

use rcgen::{
    CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose, SanType,
};

use crate::error::TransportError;
use crate::identity::{
    Authority, CA_FILE, NODE_DNS_NAME, YEAR, create_directory, is_client_name, issue_error,
    set_validity, truncate, write_new,
};

/// Most names of a server.
const HOSTS_MAX: usize = 64;
/// How long they are valid, in years.
const YEARS: u32 = 1;

/// A certificate with its key and the authority's certificate, all PEM.
pub struct RedisCertificate {
    /// What its files are called.
    stem: &'static str,
    /// The certificate.
    pub certificate: String,
    /// Its key. Keep it secret.
    pub key: String,
    /// The authority's certificate.
    pub ca: String,
}

impl std::fmt::Debug for RedisCertificate {
    /// Never shows the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisCertificate").field("stem", &self.stem).finish_non_exhaustive()
    }
}

impl RedisCertificate {
    /// Writes `server.pem` or `client.pem`, its `.key` (readable by the owner only) and `ca.pem`.
    /// Refuses to overwrite any.
    ///
    /// # Errors
    /// If a file cannot be written, or is there.
    pub fn save(&self, directory: &Path) -> Result<(), TransportError> {
        create_directory(directory)?;
        write_new(&directory.join(format!("{}.key", self.stem)), &self.key, 0o600)?;
        write_new(&directory.join(format!("{}.pem", self.stem)), &self.certificate, 0o644)?;
        let ca = directory.join(CA_FILE);
        match fs::read_to_string(&ca) {
            Ok(present) if present == self.ca => Ok(()),
            _ => write_new(&ca, &self.ca, 0o644),
        }
    }
}

impl Authority {
    /// A certificate for a server of Redis clients that is reached under `hosts`: names or addresses.
    ///
    /// # Errors
    /// If there is none, or one that cannot stand in a certificate.
    pub fn issue_redis_server(&self, hosts: &[String]) -> Result<RedisCertificate, TransportError> {
        let refuse = |reason: &str| TransportError::Issue {
            subject: "a server of Redis clients".to_owned(),
            reason: reason.to_owned(),
        };
        if hosts.is_empty() || hosts.len() > HOSTS_MAX {
            return Err(refuse("1 to 64 names or addresses are needed, under which it is reached"));
        }
        let mut names = Vec::new();
        for host in hosts {
            names.push(match host.parse::<IpAddr>() {
                Ok(address) => SanType::IpAddress(address),
                Err(_) if host.eq_ignore_ascii_case(NODE_DNS_NAME) || !is_host(host) => {
                    return Err(refuse(&format!("`{}` is no name of a host", truncate(host))));
                }
                Err(_) => SanType::DnsName(
                    host.as_str().try_into().map_err(|error| issue_error(host, &error))?,
                ),
            });
        }
        self.issue_redis("server", &hosts[0], names, ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// A certificate for the Redis client called `name` (letters, digits, `-`, `_`, `.`; at most 64).
    ///
    /// # Errors
    /// If it is no such name.
    pub fn issue_redis_client(&self, name: &str) -> Result<RedisCertificate, TransportError> {
        if !is_client_name(name) {
            return Err(TransportError::Issue {
                subject: truncate(name),
                reason: "client names are 1 to 64 of letters, digits, '-', '_', '.'".into(),
            });
        }
        self.issue_redis("client", name, Vec::new(), ExtendedKeyUsagePurpose::ClientAuth)
    }

    fn issue_redis(
        &self,
        stem: &'static str,
        subject: &str,
        names: Vec<SanType>,
        purpose: ExtendedKeyUsagePurpose,
    ) -> Result<RedisCertificate, TransportError> {
        let failed = |error: rcgen::Error| issue_error(subject, &error);
        let key = KeyPair::generate().map_err(failed)?;
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, subject);
        params.subject_alt_names = names;
        params.extended_key_usages = vec![purpose];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        set_validity(&mut params, YEAR * YEARS);
        let certificate = params.signed_by(&key, self.issuer()).map_err(failed)?;
        Ok(RedisCertificate {
            stem,
            certificate: certificate.pem(),
            key: key.serialize_pem(),
            ca: self.to_pem()[0].clone(),
        })
    }
}

/// Letters, digits, hyphens and dots, with a `*.` before them at most.
fn is_host(host: &str) -> bool {
    let host = host.strip_prefix("*.").unwrap_or(host);
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    host.len() <= 253 && host.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use panchayat_consensus::{ClusterId, NodeId};

    use super::*;
    use crate::certificate::{CertificateFacts, CertificateRole};
    use crate::identity::Identity;

    #[test]
    fn what_opens_the_port_for_redis_clients_is_no_identity() {
        let authority = Authority::create().unwrap();
        let hosts = ["redis.example.com".to_owned(), "10.0.0.1".to_owned(), "::1".to_owned()];
        for (issued, role) in [
            (authority.issue_redis_server(&hosts).unwrap(), CertificateRole::Server),
            (authority.issue_redis_client("shop").unwrap(), CertificateRole::Client),
        ] {
            let facts = CertificateFacts::of_pem(issued.certificate.as_bytes()).unwrap();
            assert_eq!(facts[0].role, role);
            let identity = Identity::from_pem(&issued.certificate, &issued.key, &issued.ca);
            assert!(matches!(identity, Err(TransportError::NoIdentity { .. })));
            assert!(!format!("{issued:?}").contains("PRIVATE"));
        }
        let server = authority.issue_redis_server(&hosts).unwrap();
        let facts = &CertificateFacts::of_pem(server.certificate.as_bytes()).unwrap()[0];
        assert_eq!(facts.names, ["DNS:redis.example.com", "IP:10.0.0.1", "IP:::1"]);
        let dir = tempfile::tempdir().unwrap();
        server.save(dir.path()).unwrap();
        assert!(server.save(dir.path()).is_err(), "overwrote a key");
    }

    #[test]
    fn facts_tell_roles_and_times() {
        let authority = Authority::create().unwrap();
        let node = authority.issue_node(ClusterId(1), NodeId(2)).unwrap();
        let [certificate, _, ca] = node.to_pem();
        let facts = CertificateFacts::of_pem(format!("{certificate}{ca}").as_bytes()).unwrap();
        assert_eq!(facts[0].role, CertificateRole::Cluster(node.name().clone()));
        assert_eq!(facts[1].role, CertificateRole::Authority);
        assert_eq!(facts[0].issuer, facts[1].subject);
        assert_eq!(facts[0].sha256.len(), 64);
        let left = facts[0].not_after.from(std::time::SystemTime::now());
        assert!(left > YEAR * 2 && left <= YEAR * 3, "{left:?}");
        assert!(facts[0].not_before.from(std::time::SystemTime::now()).is_zero());
        assert!(facts[0].not_after.text.ends_with('Z') && facts[0].not_after.text.len() == 20);
        assert!(CertificateFacts::of_pem(b"").is_err());
        assert!(CertificateFacts::of_pem(b"-----BEGIN CERTIFICATE-----\nAA\n").is_err());
    }

    #[test]
    fn names_that_are_none_are_refused() {
        let authority = Authority::create().unwrap();
        for host in ["", "a b", "-a", "a..b", "a/b", "node.panchayat.internal", &"x".repeat(300)] {
            assert!(authority.issue_redis_server(&[host.to_owned()]).is_err(), "{host}");
        }
        assert!(authority.issue_redis_server(&[]).is_err());
        assert!(authority.issue_redis_server(&["*.example.com".to_owned()]).is_ok());
        assert!(authority.issue_redis_client("a b").is_err());
    }
}
