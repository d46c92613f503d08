//! Who is at which place: members of the current epoch first, then whoever may still need to hear of it.

use std::time::Duration;

use panchayat_consensus::{EpochNumber, NodeId, REPLICAS_MAX, ReplicaId, ReplicaSet};
use panchayat_epochs::{Epoch, Epochs};

use super::contact::roster;
use super::home_place;
use crate::cluster::{Cluster, Member};

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) place: ReplicaId,
    pub(crate) member: Member,
    /// The expected round trip from here.
    pub(crate) round_trip: Option<Duration>,
}

/// Whom a node may ask before it knows better.
#[derive(Debug)]
struct First {
    entry: Entry,
    /// It was named besides those that the group began with.
    via: bool,
}

/// The epochs that a directory was made from.
type Seen = [Option<EpochNumber>; 3];

/// Places and nodes, as one replica sees them.
#[derive(Debug)]
pub(crate) struct Directory {
    began: Cluster,
    own: NodeId,
    /// Whom a node may ask that is in no epoch yet.
    first: Vec<First>,
    seen: Option<Seen>,
    entries: Vec<Entry>,
    longest: Duration,
}

impl Directory {
    /// Of a node that begins with the members of `cluster`, and has also heard of `via`.
    pub(crate) fn new(cluster: &Cluster, own: NodeId, via: &[Member]) -> Self {
        let seats = (0u8..).map(ReplicaId).zip(&cluster.members);
        let entry =
            |place, member: &Member| Entry { place, member: member.clone(), round_trip: None };
        let began = seats.map(|(place, member)| First { entry: entry(place, member), via: false });
        let mut first: Vec<First> = began.collect();
        for member in via {
            let place = cluster.seat_of(member.node).unwrap_or(home_place(member.node));
            let known = |other: &First| {
                other.entry.place != place && other.entry.member.node != member.node
            };
            first.retain(known);
            first.push(First { entry: entry(place, member), via: true });
        }
        first.retain(|first| first.entry.member.node != own);
        let longest = Duration::from_micros(cluster.longest_round_trip().0);
        let began = cluster.clone();
        Self { began, own, first, seen: None, entries: Vec::new(), longest }
    }

    /// Looks whether epochs have changed; says whether the directory has.
    pub(crate) fn refresh(&mut self, epochs: &Epochs) -> bool {
        let known = [epochs.epoch(), epochs.epoch_before(), epochs.newest()];
        let seen = known.map(|epoch| epoch.map(|epoch| epoch.number));
        if self.seen == Some(seen) {
            return false;
        }
        self.seen = Some(seen);
        let mut entries: Vec<Entry> = Vec::new();
        for epoch in known.into_iter().flatten() {
            self.take(epoch, &mut entries);
        }
        let joined = epochs.epoch().is_some();
        // Of an epoch that came and went unheard, they may know more.
        let first = self.first.iter().filter(|first| !joined || first.via);
        add(first.map(|first| first.entry.clone()), &mut entries);
        let current = epochs.epoch().or(epochs.newest());
        if let Some(epoch) = current {
            let longest = roster(&self.began, epoch).longest_round_trip();
            self.longest = Duration::from_micros(longest.0);
        }
        self.entries = entries;
        true
    }

    fn take(&self, epoch: &Epoch, entries: &mut Vec<Entry>) {
        let cluster = roster(&self.began, epoch);
        let own = cluster.seat_of(self.own);
        let far = |seat: usize| own.map(|own| cluster.round_trips[own.index()][seat]);
        let members = cluster.members.iter().zip(&epoch.members).enumerate();
        let found = members.map(|(seat, (member, agreed))| Entry {
            place: agreed.place,
            member: member.clone(),
            round_trip: far(seat),
        });
        add(found.filter(|entry| entry.member.node != self.own), entries);
    }

    /// Who the group began with.
    pub(crate) fn began(&self) -> &Cluster {
        &self.began
    }

    /// Everybody but this node.
    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The place of a node.
    pub(crate) fn place_of(&self, node: NodeId) -> Option<ReplicaId> {
        let found = self.entries.iter().find(|entry| entry.member.node == node);
        found.map(|entry| entry.place)
    }

    /// The node at each place.
    pub(crate) fn by_place(&self) -> [Option<NodeId>; REPLICAS_MAX] {
        let mut nodes = [None; REPLICAS_MAX];
        for entry in &self.entries {
            nodes[entry.place.index()] = Some(entry.member.node);
        }
        nodes
    }

    /// All places with somebody.
    pub(crate) fn places(&self) -> ReplicaSet {
        self.entries.iter().map(|entry| entry.place).collect()
    }

    /// The longest round trip between members.
    pub(crate) fn longest_round_trip(&self) -> Duration {
        self.longest
    }
}

/// Whoever comes later has a place only if nobody has it, nor the node another.
fn add(found: impl Iterator<Item = Entry>, entries: &mut Vec<Entry>) {
    for entry in found {
        let taken =
            |other: &Entry| other.place == entry.place || other.member.node == entry.member.node;
        if !entries.iter().any(taken) {
            entries.push(entry);
        }
    }
}
