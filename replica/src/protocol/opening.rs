//! How the protocol of an epoch is configured at a replica.

use panchayat_consensus::ReplicaId;
use panchayat_consensus::wire::{from_bytes, to_bytes};
use panchayat_epochs::{Epoch, Openings, Order, OrderConfig};

use super::{ProtocolChoice, ProtocolError, epaxos, fastpaxos, multipaxos, round_trips};
use crate::cluster::Cluster;
use crate::limits::Limits;
use crate::membership::roster;

/// Configures what the members have agreed on, with the limits of this replica.
#[derive(Debug)]
pub(crate) struct Hosting {
    pub(crate) began: Cluster,
    pub(crate) limits: Limits,
}

impl Openings for Hosting {
    fn open(&self, epoch: &Epoch, seat: ReplicaId) -> OrderConfig {
        let cluster = roster(&self.began, epoch);
        let configured = match chosen(epoch) {
            Some(choice) => choice.config(seat, &cluster, &self.limits).map_err(|e| e.to_string()),
            None => Err("it is described in a way that is unknown here".to_owned()),
        };
        // Whoever proposed it has tried. To go on with other quorums than the others would be unsafe.
        configured.unwrap_or_else(|error| {
            panic!("this program is too old for epoch {}: {error}", epoch.number.0)
        })
    }
}

/// What the members of an epoch have chosen, as far as it can be read here.
pub(crate) fn choice_of(epoch: &Epoch) -> ProtocolChoice {
    chosen(epoch).unwrap_or_else(|| plain(epoch.order))
}

fn chosen(epoch: &Epoch) -> Option<ProtocolChoice> {
    let chosen = from_bytes::<ProtocolChoice>(epoch.parameters.clone()).ok();
    chosen.filter(|choice| choice.order() == epoch.order)
}

fn plain(order: Order) -> ProtocolChoice {
    match order {
        Order::EPaxos => ProtocolChoice::EPaxos,
        Order::MultiPaxos => ProtocolChoice::MultiPaxos(Default::default()),
        Order::FastPaxos => ProtocolChoice::FastPaxos(Default::default()),
    }
}

impl ProtocolChoice {
    pub(crate) fn order(&self) -> Order {
        match self {
            Self::EPaxos => Order::EPaxos,
            Self::MultiPaxos(_) => Order::MultiPaxos,
            Self::FastPaxos(_) => Order::FastPaxos,
        }
    }

    /// As an epoch has it.
    pub(crate) fn parameters(&self) -> bytes::Bytes {
        to_bytes(self)
    }

    /// The configuration of one replica.
    pub(crate) fn config(
        &self,
        seat: ReplicaId,
        cluster: &Cluster,
        limits: &Limits,
    ) -> Result<OrderConfig, ProtocolError> {
        let rtt_max = cluster.longest_round_trip();
        Ok(match self {
            Self::EPaxos => {
                OrderConfig::EPaxos(epaxos::config(seat, cluster.members.len(), rtt_max, limits)?)
            }
            Self::MultiPaxos(choice) => OrderConfig::MultiPaxos(choice.config(
                seat,
                &round_trips(cluster)?,
                rtt_max,
                limits,
            )?),
            Self::FastPaxos(choice) => OrderConfig::FastPaxos(choice.config(
                seat,
                &round_trips(cluster)?,
                rtt_max,
                limits,
            )?),
        })
    }
}

/// What all members must agree on besides who they are, in words: the protocol, and those of its parameters
/// that its safety rests on.
pub(crate) fn terms(config: &OrderConfig) -> String {
    match config {
        OrderConfig::EPaxos(config) => epaxos::terms(config),
        OrderConfig::MultiPaxos(config) => multipaxos::terms(config),
        OrderConfig::FastPaxos(config) => fastpaxos::terms(config),
    }
}
