//! A new authority, and what it issues.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use panchayat::identity::{Authority, Identity};
use panchayat::transport::{CertificateFacts, RedisCertificate};
use panchayat::{ClusterId, NodeId, Topology};

use super::{Init, Issue, Place, show};
use crate::errors::CliError;

/// Holds the id of the cluster, in hexadecimal, beside its authority.
const CLUSTER_FILE: &str = "cluster.id";
/// Longer is not ours.
const CLUSTER_BYTES_MAX: u64 = 64;

/// What was issued.
enum Issued {
    Identity(Identity),
    Redis(RedisCertificate),
}

pub(super) fn init(arguments: &Init) -> Result<ExitCode, CliError> {
    let dir = &arguments.dir;
    let path = dir.join(CLUSTER_FILE);
    let failed = |source| CliError::File { path: path.clone(), source };
    fs::create_dir_all(dir).map_err(failed)?;
    let mut bytes = [0; 16];
    if SystemRandom::new().fill(&mut bytes).is_err() {
        return Err(failed(std::io::Error::other("the system gives no random numbers")));
    }
    // The authority first: it refuses to overwrite one, and then nothing has changed.
    let authority = Authority::create().map_err(CliError::Certificate)?;
    authority.save(dir).map_err(CliError::Certificate)?;
    let id = ClusterId(u128::from_le_bytes(bytes)).to_string();
    let mut options = fs::OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(0o644).open(&path).map_err(failed)?;
    file.write_all(format!("{id}\n").as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
    let [ca, _] = authority.to_pem();
    show::written(dir, &facts(&ca)?, arguments.json)?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn issue(issue: Issue) -> Result<ExitCode, CliError> {
    let (place, stem) = match &issue {
        Issue::Node { place, city, .. } => (place, city.clone()),
        Issue::Client { place, name } => (place, format!("client-{name}")),
        Issue::RedisServer { place, .. } => (place, "redis-server".to_owned()),
        Issue::RedisClient { place, name } => (place, format!("redis-client-{name}")),
    };
    let authority = Authority::load(&place.authority).map_err(CliError::Certificate)?;
    let issued = match &issue {
        Issue::Node { city, set, topology, place } => {
            let node = node(city, set, topology.as_deref())?;
            authority.issue_node(cluster(place)?, node).map(Issued::Identity)
        }
        Issue::Client { name, place } => {
            authority.issue_client(cluster(place)?, name).map(Issued::Identity)
        }
        Issue::RedisServer { hosts, .. } => authority.issue_redis_server(hosts).map(Issued::Redis),
        Issue::RedisClient { name, .. } => authority.issue_redis_client(name).map(Issued::Redis),
    };
    // Only now: whatever is in the name has passed for one.
    let issued = issued.map_err(CliError::Certificate)?;
    let out: PathBuf = place.out.clone().unwrap_or_else(|| place.authority.join(stem));
    let (saved, pem) = match &issued {
        Issued::Identity(identity) => (identity.save(&out), &identity.to_pem()[0]),
        Issued::Redis(certificate) => (certificate.save(&out), &certificate.certificate),
    };
    saved.map_err(CliError::Certificate)?;
    show::written(&out, &facts(pem)?, place.json)?;
    Ok(ExitCode::SUCCESS)
}

fn facts(pem: &str) -> Result<Vec<CertificateFacts>, CliError> {
    CertificateFacts::of_pem(pem.as_bytes()).map_err(CliError::Certificate)
}

/// The node that a city is: its place in its set.
fn node(city: &str, set: &str, topology: Option<&Path>) -> Result<NodeId, CliError> {
    let topology = match topology {
        Some(file) => Topology::load(file)?,
        None => Topology::builtin(),
    };
    let sites = &topology.set(set)?.sites;
    match sites.iter().zip(1..).find(|(site, _)| *site == city) {
        Some((_, node)) => Ok(NodeId(node)),
        None => Err(CliError::UnknownSite { name: city.to_owned(), known: sites.join(", ") }),
    }
}

fn cluster(place: &Place) -> Result<ClusterId, CliError> {
    let path = place.authority.join(CLUSTER_FILE);
    let mut text = String::new();
    let read = fs::File::open(&path)
        .and_then(|file| file.take(CLUSTER_BYTES_MAX).read_to_string(&mut text));
    let failed = |source| CliError::File { path: path.clone(), source };
    read.map_err(failed)?;
    let id = u128::from_str_radix(text.trim(), 16)
        .map_err(|_| failed(std::io::Error::other("this is no id of a cluster")))?;
    Ok(ClusterId(id))
}
