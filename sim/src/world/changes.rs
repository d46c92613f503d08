//! Operators: members come and go, disks are lost for good, protocols change.

use panchayat_consensus::{ReplicaId, ReplicaSet, Token};

use super::{Job, OPERATOR_TOKENS, Phase, Power, World};
use crate::epochs::Change;
use crate::flaw::Flaw;
use crate::subject::{Checks, Part, Subject};

impl<P: Subject> World<P> {
    /// Somebody wants a change, and asks a member for it.
    pub(super) fn operate(&mut self, index: usize) -> Result<(), Flaw> {
        if self.phase != Phase::Safety {
            return Ok(());
        }
        let planned = self.setup.changes[index].clone();
        if planned.change == Change::LoseDisk {
            self.lose_disk(planned.choice)?;
        }
        let members: Vec<usize> = (0..self.nodes.len())
            .filter(|replica| self.part_of(*replica) > Some(Part::Outside))
            .collect();
        let Some(replica) = members.get(planned.choice as usize % members.len().max(1)) else {
            return Ok(());
        };
        let (replica, places, lost) = (*replica, self.setup.replicas(), self.lost);
        let node = &self.nodes[replica];
        let Some(group) = &node.group else { return Ok(()) };
        let next = group.protocol().next_epoch(&planned.change, planned.choice, lost, places);
        let Some(next) = next else { return Ok(()) };
        *self.stats.named.entry(planned.change.name()).or_default() += 1;
        let joining = next.places();
        self.proposed_epochs.push((next.number.0, joining));
        let seal = next.seal(node.clock.now(self.now_us).wall);
        self.checks.proposed(node.place(), &seal);
        self.trace.line(Some(node.id), None, || format!("operator: {:?}", planned.change));
        self.give(replica, Job::Seal { token: Token(OPERATOR_TOKENS + index as u64), seal })?;
        for place in joining.iter().map(ReplicaId::index) {
            let node = &self.nodes[place];
            if self.invited.insert(node.id) {
                *self.stats.named.entry("members_started").or_default() += 1;
                self.restart(place)?;
            }
        }
        Ok(())
    }

    /// Notes what a replica proposes of its own accord, before anybody hears of it.
    pub(super) fn note_own_seal(&mut self, replica: usize) {
        let node = &mut self.nodes[replica];
        let Some(group) = &node.group else { return };
        let Some((number, members, seal)) = group.protocol().own_seal() else { return };
        if node.own_seal.as_ref() == Some(seal) {
            return;
        }
        let seal = seal.clone();
        node.own_seal = Some(seal.clone());
        let place = node.place();
        self.proposed_epochs.push((number, members));
        self.checks.proposed(place, &seal);
        self.trace.line(Some(place.replica), None, || format!("of its own accord: {number}"));
    }

    /// What a replica is to its group, if it is up.
    fn part_of(&self, replica: usize) -> Option<Part> {
        let node = &self.nodes[replica];
        node.group.as_ref().filter(|_| node.is_up()).map(|group| group.protocol().part())
    }

    /// A member is gone for good with its disk, if the group can bear it.
    fn lose_disk(&mut self, choice: u64) -> Result<(), Flaw> {
        let Some((_, roster)) = self.newest_roster() else { return Ok(()) };
        let rosters = self.possible_rosters();
        let bearable = |lost: ReplicaSet| {
            rosters.iter().all(|roster| {
                let gone = roster.iter().filter(|place| lost.contains(*place)).count();
                gone <= (roster.len() - 1) / 2
            })
        };
        let candidates: Vec<ReplicaId> =
            roster.iter().filter(|place| !self.lost.contains(*place)).collect();
        let Some(victim) = candidates.get(choice as usize % candidates.len().max(1)) else {
            return Ok(());
        };
        let mut lost = self.lost;
        lost.insert(*victim);
        if !bearable(lost) {
            return Ok(());
        }
        self.lost = lost;
        *self.stats.named.entry("disks_lost").or_default() += 1;
        self.crash(victim.index())?;
        self.nodes[victim.index()].power = Power::Out;
        Ok(())
    }

    /// The members of the newest epoch that any replica which runs has come to, and its number.
    pub(super) fn newest_roster(&self) -> Option<(u64, ReplicaSet)> {
        let up = self.nodes.iter().filter(|node| node.is_up());
        let groups = up.filter_map(|node| node.group.as_ref().map(|group| group.protocol()));
        let newest = groups.filter_map(|protocol| match protocol.part() {
            Part::Member(epoch) => {
                let all = ReplicaSet::all(self.setup.replicas());
                Some((epoch, protocol.roster().unwrap_or(all)))
            }
            Part::Outside => None,
        });
        newest.max_by_key(|(epoch, _)| *epoch)
    }

    /// The members of every epoch that may still be needed, or come: those since the last one that a slow
    /// quorum of its members has reached durably.
    pub(super) fn possible_rosters(&self) -> Vec<ReplicaSet> {
        let epochs = self.proposed_epochs.iter();
        epochs.filter(|(number, _)| *number >= self.established).map(|(_, all)| *all).collect()
    }

    /// Notes what a replica knows by now of who has reached its epoch.
    pub(super) fn note_established(&mut self, replica: usize) {
        let group = self.nodes[replica].group.as_ref();
        if let Some(number) = group.and_then(|group| group.protocol().established()) {
            self.established = self.established.max(number);
        }
    }
}
