//! The phases of a run: faults, then heal and settle, then the durability scan.

use panchayat_consensus::{ReplicaId, ReplicaSet};

use super::{Event, Node, Phase, Power, World, state_of};
use crate::disk::Keep;
use crate::flaw::{Flaw, Invariant};
use crate::network::Weather;
use crate::subject::{Part, Subject};

/// How often a healed world is asked whether it has settled.
const CHECK_EVERY_US: u64 = 100_000;
/// Stuck instances that a report describes.
const STUCK_SHOWN: usize = 4;

impl<P: Subject> World<P> {
    /// The regular look at the whole.
    pub(super) fn check(&mut self) -> Result<(), Flaw> {
        match self.phase {
            Phase::Safety => self.heal()?,
            Phase::Liveness if self.has_settled() => {
                if !self.setup.durability_scan {
                    self.phase = Phase::Done;
                    return Ok(());
                }
                self.restart_everyone()?;
            }
            Phase::Durability if self.has_settled() => {
                self.look_for_acknowledged()?;
                self.phase = Phase::Done;
                return Ok(());
            }
            Phase::Liveness | Phase::Durability => {
                if self.now_us > self.phase_since_us + self.setup.liveness_us {
                    return Err(self.stuck());
                }
                self.clients_of_outsiders();
            }
            Phase::Done => return Ok(()),
        }
        self.queue.push(self.now_us + CHECK_EVERY_US, Event::Check);
        Ok(())
    }

    fn enter(&mut self, phase: Phase) {
        self.trace.line(None, None, || format!("===== {phase:?} phase"));
        self.phase = phase;
        self.phase_since_us = self.now_us;
    }

    /// Ends every fault; all start again except those that stay down.
    fn heal(&mut self) -> Result<(), Flaw> {
        self.enter(Phase::Liveness);
        let jitter_percent = self.setup.weather.jitter_percent.min(10);
        self.network.heal(Weather { jitter_percent, ..Weather::default() });
        for node in &mut self.nodes {
            node.slow_turn_us = 0;
            node.slow_disk = None;
            node.sync_fails = None;
            node.paused_until_us = node.paused_until_us.min(self.now_us);
            node.armed = None;
            node.mutes = None;
            node.partial = None;
            node.muted_until_us = 0;
        }
        for replica in 0..self.nodes.len() {
            self.disk_space(replica, false)?;
        }
        // A pause that is lifted: its replica's turn is due now.
        for replica in 0..self.nodes.len() {
            let node = &self.nodes[replica];
            if node.is_up() && node.scheduled {
                let incarnation = node.incarnation;
                self.queue.push(self.now_us, Event::Turn { replica, incarnation });
            }
        }
        // Those whose journal was damaged find out now, so that they count among the f.
        for replica in 0..self.nodes.len() {
            self.restart(replica)?;
        }
        let mut out = self.nodes.iter().filter(|node| node.power == Power::Out).count();
        for replica in self.setup.down.iter() {
            let index = replica.index();
            if self.nodes[index].is_up()
                && out < self.setup.down_max
                && self.can_do_without(replica)
            {
                self.crash(index)?;
                self.nodes[index].power = Power::Out;
                out += 1;
            }
        }
        Ok(())
    }

    /// Whether a quorum is left of whoever may be members, without this one and those that are gone.
    fn can_do_without(&self, replica: ReplicaId) -> bool {
        self.possible_rosters().into_iter().all(|roster| {
            let gone = |place: &ReplicaId| {
                *place == replica || self.nodes[place.index()].power == Power::Out
            };
            !roster.contains(replica)
                || roster.iter().filter(gone).count() <= (roster.len() - 1) / 2
        })
    }

    /// Whether nothing is left to do: clients done, all instances decided and executed, and the
    /// replicas that run agree on what was executed.
    fn has_settled(&self) -> bool {
        if !self.clients_done() {
            return false;
        }
        if self.script.iter().any(|scripted| scripted.executed_us.is_none()) {
            return false;
        }
        let Some((epoch, roster)) = self.newest_roster() else { return false };
        let mut prints = self.members_up(roster).map(|node| node.executed_print);
        let first = prints.next();
        prints.all(|print| Some(print) == first)
            && self.nodes.iter().filter(|node| node.is_up()).all(|node| {
                let Some(group) = &node.group else { return false };
                let protocol = group.protocol();
                if !roster.contains(node.id) {
                    // Whoever knows none of today's members can hear from none that it is not one.
                    let known = protocol.roster().unwrap_or_default();
                    return protocol.part() == Part::Outside
                        || !self.members_up(roster).any(|member| known.contains(member.id));
                }
                let settled = group.held() == 0 && protocol.unsettled(1).is_empty();
                protocol.part() == Part::Member(epoch) && settled
            })
    }

    fn members_up(&self, roster: ReplicaSet) -> impl Iterator<Item = &Node<P>> {
        self.nodes.iter().filter(move |node| node.is_up() && roster.contains(node.id))
    }

    fn stuck(&self) -> Flaw {
        let mut text = format!(
            "not settled {} ms after healing; {} clients wait, {} commands are left",
            (self.now_us - self.phase_since_us) / 1_000,
            self.clients_waiting(),
            self.commands_left
        );
        let mut shown = Vec::new();
        for node in &self.nodes {
            let Some(group) = &node.group else {
                text.push_str(&format!("\n  {} is down", node.id));
                continue;
            };
            let unsettled = group.protocol().unsettled(usize::MAX);
            text.push_str(&format!(
                "\n  {} ({:?}) executed {} commands, holds {} outputs, {} unsettled: {:?}",
                node.id,
                group.protocol().part(),
                node.executed.len(),
                group.held(),
                unsettled.len(),
                &unsettled[..unsettled.len().min(8)]
            ));
            for id in unsettled.into_iter().take(STUCK_SHOWN) {
                if !shown.contains(&id) {
                    shown.push(id);
                }
            }
        }
        for id in shown.iter().take(STUCK_SHOWN) {
            for other in self.nodes.iter().filter_map(|n| Some((n.id, n.group.as_ref()?))) {
                let state = other.1.protocol().describe(*id);
                text.push_str(&format!("\n    {id} at {}: {state}", other.0));
            }
        }
        let mut instance = shown.first().copied();
        if instance.is_none() {
            // Executed sets differ though nothing is unsettled: name what differs.
            let up: Vec<_> = self.nodes.iter().filter(|node| node.is_up()).collect();
            for (a, b) in up.iter().zip(up.iter().skip(1)) {
                let mut missing: Vec<_> = a.executed.symmetric_difference(&b.executed).collect();
                missing.sort_unstable();
                instance = instance.or(missing.first().map(|id| **id));
                missing.truncate(8);
                text.push_str(&format!(
                    "\n  executed only by one of {}, {}: {missing:?}",
                    a.id, b.id
                ));
            }
        }
        Flaw { invariant: Invariant::Liveness, instance, text }
    }

    /// Power fails everywhere at once; only synced bytes are left.
    fn restart_everyone(&mut self) -> Result<(), Flaw> {
        self.enter(Phase::Durability);
        let keeps = std::mem::replace(&mut self.setup.keeps, vec![Keep::Nothing]);
        for replica in 0..self.nodes.len() {
            self.crash(replica)?;
        }
        self.setup.keeps = keeps;
        for replica in 0..self.nodes.len() {
            // A journal that was refused stays refused.
            if self.nodes[replica].power == Power::Out {
                self.nodes[replica].power = Power::Down;
            }
            self.restart(replica)?;
        }
        Ok(())
    }

    fn look_for_acknowledged(&self) -> Result<(), Flaw> {
        let all = ReplicaSet::all(self.setup.replicas());
        let roster = self.newest_roster().map_or(all, |(_, roster)| roster);
        for node in self.members_up(roster) {
            for acknowledged in &self.acknowledged {
                if !node.executed.contains(&acknowledged.id) {
                    let text = format!(
                        "operation {} was answered, and after a restart from synced bytes {} has \
                         not executed it",
                        acknowledged.op, node.id
                    );
                    return Err(Flaw::of(Invariant::Durability, acknowledged.id, text));
                }
            }
        }
        let mut states = self.members_up(roster).map(|n| (n.id, state_of(n)));
        let first: Option<(ReplicaId, _)> = states.next();
        match first.and_then(|(a, state)| Some((a, states.find(|(_, other)| *other != state)?.0))) {
            None => Ok(()),
            Some((a, b)) => {
                let text = format!("{a} and {b} settled in different states");
                Err(Flaw::general(Invariant::StateHash, text))
            }
        }
    }
}
