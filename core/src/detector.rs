//! The failure detector: who has been silent for too long.
//!
//! It is fed with the times at which a peer was last heard *by the transport*, not with the times
//! at which a busy group loop got round to its messages, so a replica under load does not look
//! dead to its peers, nor they to it. Its word is a hint: it may be wrong, and protocols stay safe.

use panchayat_consensus::{ReplicaId, ReplicaSet, Span, Time};

/// Watches the other members of one epoch.
#[derive(Clone, Debug)]
pub struct Detector {
    own: ReplicaId,
    timeout: Span,
    last_heard: Vec<Time>,
    suspected: ReplicaSet,
}

/// A change of mind about a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is heard again.
    Up(ReplicaId),
    /// It has been silent for the timeout.
    Suspected(ReplicaId),
}

impl Detector {
    /// Watches `n` members but not `own`; everyone counts as heard at `now`.
    pub fn new(own: ReplicaId, n: usize, timeout: Span, now: Time) -> Self {
        Self { own, timeout, last_heard: vec![now; n], suspected: ReplicaSet::EMPTY }
    }

    /// Notes that `peer` was heard at `at`.
    pub fn heard(&mut self, peer: ReplicaId, at: Time) {
        if let Some(last) = self.last_heard.get_mut(peer.index()) {
            *last = (*last).max(at);
        }
    }

    /// Which verdicts changed by `now`.
    pub fn poll(&mut self, now: Time) -> Vec<Verdict> {
        let mut changes = Vec::new();
        for (index, last) in self.last_heard.iter().enumerate() {
            let peer = ReplicaId(index as u8);
            if peer == self.own {
                continue;
            }
            let silent = now - *last >= self.timeout;
            if silent && self.suspected.insert(peer) {
                changes.push(Verdict::Suspected(peer));
            } else if !silent && self.suspected.remove(peer) {
                changes.push(Verdict::Up(peer));
            }
        }
        changes
    }

    /// Who is suspected now.
    pub fn suspected(&self) -> ReplicaSet {
        self.suspected
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_is_suspected_once_and_taken_back_once() {
        let peer = ReplicaId(1);
        let mut detector = Detector::new(ReplicaId(0), 2, Span(100), Time(0));
        assert_eq!(detector.poll(Time(99)), []);
        assert_eq!(detector.poll(Time(100)), [Verdict::Suspected(peer)]);
        assert_eq!(detector.poll(Time(150)), []);
        detector.heard(peer, Time(160));
        assert_eq!(detector.poll(Time(170)), [Verdict::Up(peer)]);
        assert_eq!(detector.poll(Time(259)), []);
        assert_eq!(detector.poll(Time(260)), [Verdict::Suspected(peer)]);
    }
}
