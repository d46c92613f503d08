//! How the protocol of an epoch is configured at a replica.

use panchayat_consensus::wire::{from_bytes, to_bytes};
use panchayat_consensus::{Quorums, ReplicaId};
use panchayat_epochs::{Advice, Epoch, Openings, Order, OrderConfig, Seen, Watch};

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
        // Whoever proposed it has tried (`check`). To go on with other quorums than the others would be unsafe.
        configured.unwrap_or_else(|error| {
            panic!("this program is too old for epoch {}: {error}", epoch.number.0)
        })
    }

    fn watch(&self, epoch: &Epoch) -> Option<Watch> {
        let ProtocolChoice::Adaptive(adaptive) = chosen(epoch)? else { return None };
        Some(adaptive.watch(roster(&self.began, epoch).longest_round_trip()))
    }

    fn advise(&self, epoch: &Epoch, seen: &[Seen]) -> Option<Advice> {
        let ProtocolChoice::Adaptive(adaptive) = chosen(epoch)? else { return None };
        adaptive.advise(&roster(&self.began, epoch), &self.limits, seen)
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
            Self::Adaptive(choice) => choice.now().order(),
        }
    }

    /// As an epoch has it.
    pub(crate) fn parameters(&self) -> bytes::Bytes {
        to_bytes(self)
    }

    /// Whether the members of `cluster` can run it, now and, of an adaptive one, whenever they come to
    /// Multi-Paxos.
    pub(crate) fn check(&self, cluster: &Cluster, limits: &Limits) -> Result<(), ProtocolError> {
        if let Self::Adaptive(adaptive) = self {
            adaptive.led().check(cluster, limits)?;
        }
        for seat in 0..cluster.members.len() as u8 {
            self.config(ReplicaId(seat), cluster, limits)?;
        }
        Ok(())
    }

    /// How many of `n` members it takes to go on whoever is lost, once this orders their commands.
    pub(crate) fn quorum(&self, n: usize) -> Result<usize, ProtocolError> {
        let slow = Quorums::for_replicas(n)?.slow();
        Ok(match self {
            Self::EPaxos => slow,
            Self::MultiPaxos(choice) => {
                let led = choice.prospect(n)?;
                slow.max(led.promise).max(led.accept)
            }
            Self::FastPaxos(choice) => slow.max(choice.classic(n)?),
            Self::Adaptive(choice) => choice.now().quorum(n)?,
        })
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
            Self::Adaptive(choice) => choice.now().config(seat, cluster, limits)?,
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
