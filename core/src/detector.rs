//! The failure detector: who has been silent for too long.
//!
//! It is fed with the times at which a peer was last heard *by the transport*, not with the times
//! at which a busy group loop got round to its messages, so a replica under load does not look
//! dead to its peers, nor they to it. Its word is a hint: it may be wrong, and protocols stay safe.

use panchayat_consensus::{REPLICAS_MAX, ReplicaId, ReplicaSet, Span, Time};

/// Watches others by their places.
#[derive(Clone, Debug)]
pub struct Detector {
    timeout: Span,
    watched: ReplicaSet,
    last_heard: [Time; REPLICAS_MAX],
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
    /// Watches the first `n` places but `own`; everyone counts as heard at `now`.
    pub fn new(own: ReplicaId, n: usize, timeout: Span, now: Time) -> Self {
        let watched = ReplicaSet::all(n).without(own);
        let suspected = ReplicaSet::EMPTY;
        Self { timeout, watched, last_heard: [now; REPLICAS_MAX], suspected }
    }

    /// Watches `places` from now on, and no others; whoever was not watched before counts as heard at
    /// `now`. One that is not watched any more is not suspected: another may come to its place.
    pub fn watch(&mut self, places: ReplicaSet, timeout: Span, now: Time) -> Vec<Verdict> {
        for new in places.minus(self.watched).iter() {
            self.last_heard[new.index()] = now;
        }
        let gone = self.suspected.minus(places);
        self.suspected = self.suspected.minus(gone);
        (self.watched, self.timeout) = (places, timeout);
        gone.iter().map(Verdict::Up).collect()
    }

    /// Notes that `peer` was heard at `at`.
    pub fn heard(&mut self, peer: ReplicaId, at: Time) {
        let last = &mut self.last_heard[peer.index()];
        *last = (*last).max(at);
    }

    /// Which verdicts changed by `now`.
    pub fn poll(&mut self, now: Time) -> Vec<Verdict> {
        let mut changes = Vec::new();
        for peer in self.watched.iter() {
            let silent = now - self.last_heard[peer.index()] >= self.timeout;
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
        let other = ReplicaSet::only(ReplicaId(2));
        assert_eq!(detector.watch(other, Span(50), Time(300)), [Verdict::Up(peer)]);
        assert_eq!(detector.poll(Time(349)), []);
        assert_eq!(detector.poll(Time(350)), [Verdict::Suspected(ReplicaId(2))]);
    }
}
