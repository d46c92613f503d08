//! The way from an operator to a member.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use panchayat::identity::Identity;
use panchayat::transport::ClientConfig;
use panchayat::{Change, GroupView, NodeId, RemoteClient, Standing, Topology};

use super::cli::Place;
use super::failed;
use crate::description::{Description, read_identity};
use crate::errors::CliError;
use crate::redis::Store;
use crate::serve;

/// A replica that does not answer within this time is not asked.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// A cluster with a member that answers.
pub(super) struct Operator {
    client: RemoteClient<Store>,
    /// By name; one without, for a cluster without names.
    pub(super) workloads: Vec<String>,
    topology: Topology,
    /// The configuration it was reached by, if `serve` runs it.
    config: Option<PathBuf>,
}

/// Where one may be.
type Address = (NodeId, SocketAddr);

impl Operator {
    /// Finds a member that answers.
    pub(super) async fn reach(place: &Place) -> Result<Self, CliError> {
        let (mut addresses, identity, workloads, topology) = match &place.config {
            None => of_up(place)?,
            Some(file) => {
                let config = serve::load(file)?;
                let addresses = (1..).map(NodeId).zip(config.members.iter().copied());
                let names = config.workloads.iter().map(|workload| workload.name.clone());
                let names: Vec<_> = names.collect();
                (addresses.collect(), own_identity(place)?, names, config.topology)
            }
        };
        for at in &place.at {
            addresses.push(address(at)?);
        }
        let workloads = if workloads.is_empty() { vec![String::new()] } else { workloads };
        let mut heard = String::from("there is none");
        for (node, addr) in addresses {
            let config = ClientConfig {
                request_timeout: place.timeout,
                connect_timeout: CONNECT_TIMEOUT,
                ..ClientConfig::default()
            };
            let client = match RemoteClient::connect(addr, node, &identity, config).await {
                Ok(client) => client,
                Err(error) => {
                    heard = format!("{node} at {addr}: {error}");
                    continue;
                }
            };
            let operator = Self {
                client,
                workloads: workloads.clone(),
                topology: topology.clone(),
                config: place.config.clone(),
            };
            match operator.views().await {
                Ok(views) if views.iter().all(|v| matches!(v.standing, Standing::Member(_))) => {
                    return Ok(operator);
                }
                Ok(_) => heard = format!("{node} at {addr} is no member"),
                Err(error) => heard = error.to_string(),
            }
        }
        Err(CliError::Operate(format!("no member answers; the last that was asked: {heard}")))
    }

    /// Goes on with one workload.
    pub(super) fn only(&mut self, name: Option<&str>) -> Result<(), CliError> {
        let known = self.workloads.join(", ");
        match name {
            Some(name) if self.workloads.iter().any(|workload| workload == name) => {
                self.workloads = vec![name.to_owned()];
                Ok(())
            }
            None if self.workloads.len() == 1 => Ok(()),
            Some(name) if self.workloads == [""] => Err(CliError::Operate(format!(
                "there is no workload `{name}`: this cluster has one, without a name"
            ))),
            Some(name) => {
                Err(CliError::Operate(format!("there is no workload `{name}`; there are {known}")))
            }
            None => Err(CliError::Operate(format!("say which workload: there are {known}"))),
        }
    }

    fn client(&self, workload: &str) -> RemoteClient<Store> {
        match workload {
            "" => self.client.clone(),
            name => self.client.workload(name),
        }
    }

    /// How the member sees each workload's group.
    pub(super) async fn views(&self) -> Result<Vec<GroupView>, CliError> {
        let mut views = Vec::new();
        for workload in &self.workloads {
            views.push(self.client(workload).group().await.map_err(failed)?);
        }
        Ok(views)
    }

    /// Makes what `change` says of each workload's group.
    pub(super) async fn change(
        &self,
        place: &Place,
        change: impl Fn(&GroupView) -> Change,
    ) -> Result<(), CliError> {
        for (workload, view) in self.workloads.iter().zip(self.views().await?) {
            if !place.json && !workload.is_empty() {
                eprintln!("{workload}: changing");
            }
            self.client(workload).change(&change(&view)).await.map_err(failed)?;
        }
        Ok(())
    }

    /// How far two are apart, if the topology knows both.
    pub(super) fn round_trip(&self, a: &str, b: &str) -> Option<Duration> {
        let matrix = self.topology.matrix_of(&[a.to_owned(), b.to_owned()]).ok()?;
        Some(Duration::from_micros(matrix.rtt_us(0, 1)))
    }

    /// Says how the newcomer is started.
    pub(super) fn tell_start(&self, place: &Place, views: &[GroupView], name: &str, node: &NodeId) {
        if place.json {
            return;
        }
        let file = match &self.config {
            Some(config) => format!("a copy of {}", config.display()),
            None => "a panchayat.yaml with the members that this cluster began with".to_owned(),
        };
        // Those it does not know by itself, since they came later than the cluster began.
        let members = views.iter().flat_map(|view| &view.members).map(|member| &member.member);
        let via: BTreeMap<_, _> = members
            .filter(|member| member.node != *node)
            .map(|member| (member.node.0, member.addr))
            .collect();
        let via: String =
            via.iter().map(|(node, addr)| format!("\n    \"{node}\": {addr}")).collect();
        eprintln!(
            "{name} is {node}. Start it with a certificate for that number, an empty data_dir, and {file} \
             in which\n  replica: {name}\n  join: {{ node: {number}, address: ITS ADDRESS }}\n  via:{via}",
            number = node.0
        );
    }
}

fn of_up(place: &Place) -> Result<(Vec<Address>, Identity, Vec<String>, Topology), CliError> {
    let description = Description::read(&place.data_dir)?;
    let address =
        |replica: &crate::description::ReplicaAddress| (NodeId(replica.node), replica.addr);
    let addresses = description.replicas.iter().map(address).collect();
    let identity = match &place.identity {
        Some(_) => own_identity(place)?,
        None => read_identity(&place.data_dir)?,
    };
    Ok((addresses, identity, Vec::new(), Topology::builtin()))
}

fn own_identity(place: &Place) -> Result<Identity, CliError> {
    let dir = place.identity.clone().unwrap_or_default();
    Identity::load(&dir).map_err(|error| {
        CliError::Operate(format!("the operator's certificate in {}: {error}", dir.display()))
    })
}

/// `4@10.0.4.10:7001`.
fn address(text: &str) -> Result<Address, CliError> {
    let wrong = || CliError::Operate(format!("`{text}` is no member's address: 4@10.0.4.10:7001"));
    let (node, addr) = text.split_once('@').ok_or_else(wrong)?;
    Ok((NodeId(node.parse().map_err(|_| wrong())?), addr.parse().map_err(|_| wrong())?))
}
