//! What every model shares: messages under way, in no order, and names for states.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::hash::{DefaultHasher, Hash, Hasher};

use panchayat_consensus::{ReplicaId, ReplicaSet};

/// A message and its way.
#[derive(Clone, Debug, Hash)]
pub(crate) struct Envelope<M> {
    pub(crate) from: ReplicaId,
    pub(crate) to: ReplicaId,
    pub(crate) message: M,
}

/// The messages under way, by fingerprint: one that is sent twice is there once.
#[derive(Clone, Debug, Hash)]
pub(crate) struct Network<M>(BTreeMap<u64, Envelope<M>>);

impl<M: Clone + Debug + Hash> Network<M> {
    pub(crate) fn new() -> Self {
        Self(BTreeMap::new())
    }

    pub(crate) fn send(&mut self, from: ReplicaId, to: ReplicaSet, message: &M) {
        for to in to.iter() {
            let envelope = Envelope { from, to, message: message.clone() };
            self.0.insert(fingerprint(&envelope), envelope);
        }
    }

    pub(crate) fn take(&mut self, name: u64) -> Option<Envelope<M>> {
        self.0.remove(&name)
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = u64> {
        self.0.keys().copied()
    }

    /// The message from, to, of this kind, for directed starts.
    pub(crate) fn find(&self, from: ReplicaId, to: ReplicaId, kind: &str) -> u64 {
        let name = self.0.iter().find(|(_, envelope)| {
            envelope.from == from
                && envelope.to == to
                && format!("{:?}", envelope.message).split(' ').next() == Some(kind)
        });
        *name.unwrap_or_else(|| panic!("no {kind} from {from} to {to}")).0
    }

    /// Loses everything on its way to one of `down`: nobody hears a dead replica out.
    pub(crate) fn lose(&mut self, down: ReplicaSet) {
        self.0.retain(|_, envelope| !down.contains(envelope.to));
    }
}

pub(crate) fn fingerprint(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}
