//! What `up` leaves in its data directory for clients: who the replicas are and where, and a
//! certificate to connect with.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use panchayat::identity::Identity;
use panchayat::transport::TransportError;
use panchayat::{LocalCluster, NodeId, ProtocolChoice};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::redis::Store;

const FILE: &str = "cluster.json";
const CLIENT_DIR: &str = "client";
const CLIENT_NAME: &str = "admin-cli";
const FORMAT: u32 = 1;
/// Longer is not ours.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// A cluster, as its clients need to know it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Description {
    /// Of this file's layout.
    pub(crate) format: u32,
    /// The cluster's id, in hexadecimal.
    pub(crate) cluster: String,
    /// The set of cities it was started with.
    pub(crate) set: String,
    /// The protocol that orders its commands, as it is written on the command line.
    #[serde(default = "before_it_was_said")]
    pub(crate) protocol: String,
    /// Its replicas, in seat order.
    pub(crate) replicas: Vec<ReplicaAddress>,
}

/// Descriptions did not name the protocol while there was one.
fn before_it_was_said() -> String {
    ProtocolChoice::EPaxos.name().to_owned()
}

/// One replica.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ReplicaAddress {
    /// Its city.
    pub(crate) site: String,
    /// The node its certificate must name.
    pub(crate) node: u64,
    /// Where it receives.
    pub(crate) addr: SocketAddr,
    /// Its admin port. Descriptions did not name it once.
    #[serde(default)]
    pub(crate) admin: Option<SocketAddr>,
    /// Its port for Redis clients. As above.
    #[serde(default)]
    pub(crate) redis: Option<SocketAddr>,
}

/// Why a description cannot be read or written.
#[derive(Debug, Error)]
pub(crate) enum DescriptionError {
    #[error("there is no cluster in {}", dir.display())]
    None { dir: PathBuf },
    #[error("cannot {what} {}: {source}", path.display())]
    Io { what: &'static str, path: PathBuf, source: io::Error },
    #[error("{} is not a cluster description: {reason}", path.display())]
    Invalid { path: PathBuf, reason: String },
    #[error("the client certificate in {}: {source}", dir.display())]
    Identity { dir: PathBuf, source: TransportError },
}

impl Description {
    /// The description of a running cluster.
    pub(crate) fn of(cluster: &LocalCluster<Store>, set: &str, protocol: &ProtocolChoice) -> Self {
        let members = cluster.cluster().members.iter();
        Self {
            format: FORMAT,
            cluster: cluster.cluster().id.to_string(),
            set: set.to_owned(),
            protocol: protocol.name().to_owned(),
            replicas: members
                .map(|member| ReplicaAddress {
                    site: member.name.clone(),
                    node: member.node.0,
                    addr: member.addr,
                    admin: None,
                    redis: None,
                })
                .collect(),
        }
    }

    /// Reads what is in `dir`.
    pub(crate) fn read(dir: &Path) -> Result<Self, DescriptionError> {
        let path = dir.join(FILE);
        let mut text = String::new();
        let read = fs::File::open(&path)
            .and_then(|file| file.take(FILE_BYTES_MAX).read_to_string(&mut text));
        if let Err(source) = read {
            return Err(match source.kind() {
                io::ErrorKind::NotFound => DescriptionError::None { dir: dir.to_owned() },
                _ => DescriptionError::Io { what: "read", path, source },
            });
        }
        let invalid = |reason: String| DescriptionError::Invalid { path: path.clone(), reason };
        let description: Self =
            serde_json::from_str(&text).map_err(|error| invalid(error.to_string()))?;
        if description.format != FORMAT {
            let found = description.format;
            return Err(invalid(format!("format {found}; this version knows format {FORMAT}")));
        }
        if description.replicas.is_empty() {
            return Err(invalid("it names no replica".to_owned()));
        }
        Ok(description)
    }

    /// Writes it to `dir`, whole or not at all.
    pub(crate) fn write(&self, dir: &Path) -> Result<(), DescriptionError> {
        let (path, new) = (dir.join(FILE), dir.join(format!("{FILE}.new")));
        let failed = |source| DescriptionError::Io { what: "write", path: path.clone(), source };
        let text = serde_json::to_string_pretty(self).map_err(|error| failed(error.into()))?;
        let mut file = fs::File::create(&new).map_err(failed)?;
        file.write_all(text.as_bytes()).and_then(|()| file.write_all(b"\n")).map_err(failed)?;
        file.sync_all().map_err(failed)?;
        fs::rename(&new, &path).map_err(failed)
    }

    /// Where in the description a city is; the first if none is named.
    pub(crate) fn replica(&self, site: Option<&str>) -> Option<&ReplicaAddress> {
        match site {
            Some(site) => self.replicas.iter().find(|replica| replica.site == site),
            None => self.replicas.first(),
        }
    }
}

impl ReplicaAddress {
    pub(crate) fn node(&self) -> NodeId {
        NodeId(self.node)
    }
}

/// Leaves a client certificate in `dir`, unless one of the same authority is there.
pub(crate) fn write_identity(
    cluster: &LocalCluster<Store>,
    dir: &Path,
) -> Result<(), DescriptionError> {
    let dir = dir.join(CLIENT_DIR);
    let failed = |source| DescriptionError::Identity { dir: dir.clone(), source };
    let identity = cluster.client_identity(CLIENT_NAME).map_err(failed)?;
    if let Ok(present) = Identity::load(&dir) {
        let authority = |identity: &Identity| identity.to_pem()[2].clone();
        if present.cluster() == identity.cluster() && authority(&present) == authority(&identity) {
            return Ok(());
        }
    }
    match fs::remove_dir_all(&dir) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            return Err(DescriptionError::Io { what: "replace", path: dir, source });
        }
        _ => {}
    }
    identity.save(&dir).map_err(failed)
}

/// The client certificate in `dir`.
pub(crate) fn read_identity(dir: &Path) -> Result<Identity, DescriptionError> {
    let dir = dir.join(CLIENT_DIR);
    Identity::load(&dir).map_err(|source| DescriptionError::Identity { dir, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn description() -> Description {
        let replica = |site: &str, node, port| ReplicaAddress {
            site: site.to_owned(),
            node,
            addr: SocketAddr::from(([127, 0, 0, 1], port)),
            admin: None,
            redis: Some(SocketAddr::from(([127, 0, 0, 1], port))),
        };
        Description {
            format: FORMAT,
            cluster: "0a".to_owned(),
            set: "india3".to_owned(),
            protocol: "epaxos".to_owned(),
            replicas: vec![replica("mumbai", 1, 7001), replica("delhi", 2, 7002)],
        }
    }

    #[test]
    fn a_description_comes_back_and_finds_its_cities() {
        let dir = tempfile::tempdir().unwrap();
        let missing = Description::read(dir.path()).unwrap_err();
        assert!(matches!(missing, DescriptionError::None { .. }), "{missing}");
        description().write(dir.path()).unwrap();
        description().write(dir.path()).unwrap();
        let read = Description::read(dir.path()).unwrap();
        assert_eq!(read, description());
        assert_eq!(read.replica(None).unwrap().site, "mumbai");
        assert_eq!(read.replica(Some("delhi")).unwrap().node(), NodeId(2));
        assert_eq!(read.replica(Some("chennai")), None);
    }

    #[test]
    fn what_is_no_description_is_refused_with_the_reason() {
        let dir = tempfile::tempdir().unwrap();
        let newer = serde_json::to_string(&Description { format: 2, ..description() }).unwrap();
        let empty = serde_json::to_string(&Description { replicas: vec![], ..description() });
        for (text, reason) in [
            ("{", "EOF while parsing"),
            (newer.as_str(), "format 2; this version knows format 1"),
            (empty.unwrap().as_str(), "it names no replica"),
        ] {
            fs::write(dir.path().join(FILE), text).unwrap();
            let error = Description::read(dir.path()).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
    }
}
