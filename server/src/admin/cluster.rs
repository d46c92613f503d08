//! All members as one replica gets to see them: each says how it stands at its own admin port.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::client::{AskError, get};
use super::measure;
use super::observed::Observed;
use super::status::Status;

/// Where a member's admin port is, if that is known.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    pub(crate) city: String,
    pub(crate) admin: Option<SocketAddr>,
}

/// What `/cluster` answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Cluster {
    /// Who asked the others, if one of them did.
    pub(crate) asked_by: Option<String>,
    /// In seat order.
    pub(crate) replicas: Vec<Replica>,
}

/// What one member says of itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Replica {
    pub(crate) city: String,
    /// Where it was asked.
    pub(crate) admin: Option<SocketAddr>,
    pub(crate) status: Option<Status>,
    /// Why there is no status.
    pub(crate) error: Option<String>,
}

impl Cluster {
    /// What each of `peers` says, all asked at once.
    pub(crate) async fn ask(peers: &[Peer]) -> Self {
        let mut asked = tokio::task::JoinSet::new();
        for (seat, peer) in peers.iter().enumerate() {
            let admin = peer.admin;
            asked.spawn(async move { (seat, said(admin).await) });
        }
        let mut replicas: Vec<_> = peers
            .iter()
            .map(|Peer { city, admin }| Replica {
                city: city.clone(),
                admin: *admin,
                status: None,
                error: None,
            })
            .collect();
        while let Some(Ok((seat, said))) = asked.join_next().await {
            match said {
                Ok(status) => replicas[seat].status = Some(status),
                Err(why) => replicas[seat].error = Some(why),
            }
        }
        Self { asked_by: None, replicas }
    }

    /// The cluster as `observed` gets to see it.
    pub(super) async fn around(observed: &Observed) -> Self {
        let own = &observed.service.name;
        let others: Vec<_> =
            observed.peers.iter().filter(|peer| peer.city != *own).cloned().collect();
        let (mut cluster, status) = tokio::join!(Self::ask(&others), measure::status(observed));
        let at = observed.peers.iter().position(|peer| peer.city == *own);
        let at = at.unwrap_or(0).min(cluster.replicas.len());
        let admin = observed.peers.iter().find(|peer| peer.city == *own).and_then(|p| p.admin);
        let this = Replica { city: own.clone(), admin, status: Some(status), error: None };
        cluster.replicas.insert(at, this);
        cluster.asked_by = Some(own.clone());
        cluster
    }
}

async fn said(admin: Option<SocketAddr>) -> Result<Status, String> {
    let Some(addr) = admin else {
        return Err("its admin port is not known here: see `admin.peers`".to_owned());
    };
    let answer = get(addr, "/status").await.map_err(|error| error.to_string())?;
    let foreign = |source| AskError::Foreign { addr, source };
    serde_json::from_slice(&answer).map_err(|error| foreign(error).to_string())
}
