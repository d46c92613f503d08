//! Payloads: a command crosses each link once, with its coordinator's `PreAccept`; every later
//! message refers to it. Here is what happens when it did not arrive, or not yet.
//!
//! Who misses something asks with `Fetch` and says whether the payload is missing too, so nobody is
//! sent one that is there. A *large* one may just be slow: its coordinator then answers with the
//! very `PreAccept` it has sent before, which a transport that is still busy with it need not send
//! twice. When it arrives it is agreed to like any other, however late; that tells the coordinator
//! who can now be told what has become of it.

use panchayat_consensus::{After, InstanceId, ReplicaId, ReplicaSet};

use crate::accept::in_full;
use crate::instance::Instance;
use crate::message::{Message, Proposal};
use crate::replica::{EPaxos, Fx};

impl EPaxos {
    /// Whether a message with the payload of this instance would take long.
    pub(crate) fn is_large(&self, instance: &Instance) -> bool {
        let large = self.config.limits.large_bytes;
        instance.payload.as_ref().is_some_and(|command| command.payload.len() >= large)
    }

    /// Asks `to` for `id`.
    pub(crate) fn fetch(&mut self, id: InstanceId, to: ReplicaSet, fx: &mut Fx) {
        let payload = self.lanes.get(id).is_none_or(|instance| instance.payload.is_none());
        self.counters.fetches += 1;
        fx.send(to, Message::Fetch { id, payload }, After::NOTHING);
    }

    /// Someone asks what is known of `id`, and for its payload if it `lacks` that.
    pub(crate) fn on_fetch(&mut self, from: ReplicaId, id: InstanceId, lacks: bool, fx: &mut Fx) {
        let Some(instance) = self.lanes.get(id) else { return };
        let to = ReplicaSet::only(from);
        if lacks && self.is_large(instance) && self.send_pre_accept(id, to, fx) {
            return;
        }
        if instance.is_committed() {
            self.send_commit(id, to, lacks, fx);
        } else {
            let payload = instance.payload.clone().filter(|_| lacks);
            // An accept in full brings the payload along.
            if !self.repeat_accept(id, from, lacks, fx)
                && let Some(command) = payload
            {
                fx.send(to, Message::Payload { id, command }, After::NOTHING);
            }
        }
    }

    /// Sends an own proposal of this run as it was sent before. (One of an earlier run is not
    /// continued at the ballot that run used.)
    fn send_pre_accept(&self, id: InstanceId, to: ReplicaSet, fx: &mut Fx) -> bool {
        let Some(instance) = self.lanes.get(id) else { return false };
        if id.replica != self.me() || id.slot <= self.proposed_before {
            return false;
        }
        let (Some(command), Some(deps)) = (&instance.payload, &instance.init_deps) else {
            return false;
        };
        let (command, deps) = (command.clone(), deps.clone());
        fx.send(to, Message::PreAccept { id, command, deps }, instance.recorded);
        true
    }

    /// `from` has agreed to an own proposal when that made no difference any more. If it was long in
    /// coming, what has become of it may have been said to no avail meanwhile.
    pub(crate) fn tell_latecomer(&mut self, from: ReplicaId, id: InstanceId, fx: &mut Fx) {
        let Some(instance) = self.lanes.get(id).filter(|instance| self.is_large(instance)) else {
            return;
        };
        if from == self.me() || id.replica != self.me() {
            return;
        }
        if instance.is_committed() {
            self.send_commit(id, ReplicaSet::only(from), false, fx);
        } else {
            self.repeat_accept(id, from, false, fx);
        }
    }

    /// Tells `to` what `id` was decided as; in full to those who may lack the payload.
    pub(crate) fn send_commit(&mut self, id: InstanceId, to: ReplicaSet, full: bool, fx: &mut Fx) {
        let Some(instance) = self.lanes.get(id) else { return };
        let Some(value) = instance.value() else { return };
        let value = match in_full(value) {
            Proposal::Full(_) if !full => Proposal::Original,
            value => value,
        };
        let (ballot, deps) = (instance.accepted_ballot, instance.deps.clone());
        fx.send(to, Message::Commit { ballot, id, value, deps }, instance.recorded);
    }
}
