//! What stands in a certificate, for people and for warnings.

use std::time::{Duration, SystemTime};

use aws_lc_rs::digest::{SHA256, digest};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::time::ASN1Time;

use crate::error::TransportError;
use crate::identity::Name;

/// Most certificates of one file.
const COUNT_MAX: usize = 64;

/// What stands in one certificate. Nothing of it is verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFacts {
    /// Its subject, as a distinguished name.
    pub subject: String,
    /// Who issued it.
    pub issuer: String,
    /// The names it is valid for: `DNS:`, `IP:` or `URI:` and the name.
    pub names: Vec<String>,
    /// What it is for.
    pub role: CertificateRole,
    /// Its serial number in hexadecimal.
    pub serial: String,
    /// When it becomes valid.
    pub not_before: Moment,
    /// When it ends.
    pub not_after: Moment,
    /// SHA-256 of it, in hexadecimal.
    pub sha256: String,
}

/// What a certificate is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CertificateRole {
    /// It issues others.
    Authority,
    /// A node or a client of a cluster.
    Cluster(Name),
    /// A server of Redis clients.
    Server,
    /// A Redis client.
    Client,
    /// Something else.
    Other,
}

/// A moment in a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Seconds since 1970, which may be negative.
    pub unix_s: i64,
    /// As `2026-11-21T19:00:00Z`.
    pub text: String,
}

impl Moment {
    fn of(time: &ASN1Time) -> Self {
        let at = time.to_datetime();
        let text = format!(
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z",
            at.year(),
            u8::from(at.month()),
            at.day(),
            at.hour(),
            at.minute(),
            at.second()
        );
        Self { unix_s: time.timestamp(), text }
    }

    /// How far ahead of `now` it is; zero if it has passed.
    pub fn from(&self, now: SystemTime) -> Duration {
        let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let ahead = i128::from(self.unix_s) - i128::from(now);
        Duration::from_secs(u64::try_from(ahead).unwrap_or(0))
    }
}

impl CertificateFacts {
    /// Reads all certificates of a PEM text; what else is in it does not matter.
    ///
    /// # Errors
    /// If there is none, or one that is none.
    pub fn of_pem(text: &[u8]) -> Result<Vec<Self>, TransportError> {
        let bad = |reason: String| TransportError::Pem { what: "certificate", reason };
        let mut all = Vec::new();
        for certificate in CertificateDer::pem_slice_iter(text).take(COUNT_MAX) {
            let certificate = certificate.map_err(|error| bad(error.to_string()))?;
            all.push(Self::of(&certificate)?);
        }
        if all.is_empty() { Err(bad("there is none".to_owned())) } else { Ok(all) }
    }

    /// Reads one certificate.
    ///
    /// # Errors
    /// If it is none.
    pub fn of(certificate: &CertificateDer<'_>) -> Result<Self, TransportError> {
        let bad = |error: &dyn std::fmt::Display| TransportError::Pem {
            what: "certificate",
            reason: error.to_string(),
        };
        let (_, parsed) =
            x509_parser::parse_x509_certificate(certificate).map_err(|error| bad(&error))?;
        let names = parsed.subject_alternative_name().map_err(|error| bad(&error))?;
        let names = names.map_or_else(Vec::new, |names| {
            names.value.general_names.iter().filter_map(shown).collect()
        });
        let validity = parsed.validity();
        Ok(Self {
            subject: parsed.subject().to_string(),
            issuer: parsed.issuer().to_string(),
            names,
            role: role(&parsed, certificate),
            serial: hex(parsed.raw_serial()),
            not_before: Moment::of(&validity.not_before),
            not_after: Moment::of(&validity.not_after),
            sha256: hex(digest(&SHA256, certificate).as_ref()),
        })
    }
}

fn role(parsed: &X509Certificate<'_>, certificate: &CertificateDer<'_>) -> CertificateRole {
    if parsed.is_ca() {
        return CertificateRole::Authority;
    }
    if let Ok(name) = Name::of_certificate(certificate) {
        return CertificateRole::Cluster(name);
    }
    match parsed.extended_key_usage() {
        Ok(Some(usage)) if usage.value.server_auth => CertificateRole::Server,
        Ok(Some(usage)) if usage.value.client_auth => CertificateRole::Client,
        _ => CertificateRole::Other,
    }
}

fn shown(name: &GeneralName<'_>) -> Option<String> {
    Some(match name {
        GeneralName::DNSName(name) => format!("DNS:{name}"),
        GeneralName::URI(name) => format!("URI:{name}"),
        GeneralName::IPAddress(bytes) => match **bytes {
            [a, b, c, d] => format!("IP:{}", std::net::Ipv4Addr::new(a, b, c, d)),
            ref long => {
                let octets: [u8; 16] = long.try_into().ok()?;
                format!("IP:{}", std::net::Ipv6Addr::from(octets))
            }
        },
        _ => return None,
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
