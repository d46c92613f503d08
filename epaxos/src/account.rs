//! What waits for what, told to operators: instances that are not executed, and who holds them up.

use panchayat_consensus::account::{
    ACCOUNT_ENTRIES_MAX, ACCOUNT_LOOKS_MAX, ACCOUNT_WAITS_ON_MAX, Account, Stage as Told, Subject,
    Waiting,
};
use panchayat_consensus::{InstanceId, KeyHash, Now, ReplicaId};

use crate::attempt::{Attempt, Stage};
use crate::instance::{Instance, Phase};
use crate::replica::EPaxos;

impl EPaxos {
    /// What waits here, as far as `subject` asks.
    pub(crate) fn give_account(&self, subject: Subject, now: Now) -> Account {
        let ahead = |lane| self.lanes.highest(lane).saturating_sub(self.graph.executed_upto(lane));
        let unexecuted = self.lane_ids().map(ahead).sum();
        let mut account = Account { unexecuted, lanes: true, waiting: Vec::new() };
        match subject {
            Subject::Oldest => {
                let ids = self.unexecuted_ids(ACCOUNT_ENTRIES_MAX);
                account.waiting = ids.map(|id| self.waiting(id, now)).collect();
                account.keep_oldest();
            }
            Subject::Key(key) => {
                let ids = self.unexecuted_ids(ACCOUNT_LOOKS_MAX);
                let touching = ids.filter(|id| self.touches(*id, key));
                account.waiting = touching.map(|id| self.waiting(id, now)).collect();
                account.keep_oldest();
            }
            Subject::Instance(id) if id.replica.index() < self.config.quorums.n() => {
                account.waiting = self.chain(id).map(|id| self.waiting(id, now)).collect();
            }
            Subject::Instance(_) => {}
        }
        account
    }

    /// The first so many of each lane that are not executed.
    fn unexecuted_ids(&self, of_lane_max: usize) -> impl Iterator<Item = InstanceId> {
        self.lane_ids().flat_map(move |lane| {
            let slots = self.graph.executed_upto(lane) + 1..=self.lanes.highest(lane);
            let ids = slots.take(of_lane_max).map(move |slot| InstanceId::new(lane, slot));
            ids.filter(|id| !self.graph.is_executed(*id))
        })
    }

    fn touches(&self, id: InstanceId, key: KeyHash) -> bool {
        let command = self.lanes.get(id).and_then(|instance| instance.payload.as_ref());
        command.is_some_and(|command| {
            let footprint = &command.footprint;
            footprint.is_barrier() || footprint.keys().iter().any(|(touched, _)| *touched == key)
        })
    }

    /// `id`, what it waits for, what that waits for, and so on.
    fn chain(&self, id: InstanceId) -> impl Iterator<Item = InstanceId> {
        // Nobody waits in a cycle, but a wait may change hands while it is walked.
        let links = std::iter::successors(Some(id), |id| self.graph.waits_for(*id));
        links.take(ACCOUNT_ENTRIES_MAX)
    }

    fn waiting(&self, id: InstanceId, now: Now) -> Waiting {
        let instance = self.lanes.get(id);
        let since = instance.map(|instance| now.monotonic - instance.learned_at);
        if self.graph.is_executed(id) {
            let why = "it is executed here".to_owned();
            let (stage, waits_on) = (Told::Executed, Vec::new());
            return Waiting { id: Some(id), stage, since, waits_on, held_by: None, why };
        }
        let Some(instance) = instance else {
            let why = "nothing is known here of it, nor of anything behind it in its lane";
            let (held_by, stage) = (Some(id.replica), Told::Unknown);
            let (waits_on, why) = (Vec::new(), why.to_owned());
            return Waiting { id: Some(id), stage, since, waits_on, held_by, why };
        };
        let stage = match instance.phase {
            Phase::Initial if instance.payload.is_none() => Told::Unknown,
            Phase::Initial => Told::Known,
            Phase::PreAccepted => Told::Proposed,
            Phase::Accepted => Told::Accepted,
            Phase::Committed => Told::Committed,
        };
        let (held_by, why) = if instance.is_committed() {
            let last = self.chain(id).last().unwrap_or(id);
            let open = self.lanes.get(last).is_none_or(|instance| !instance.is_committed());
            let holder = (last != id && open).then(|| self.holder(last));
            (holder, "it is decided, and executes after what it depends on".to_owned())
        } else {
            (Some(self.holder(id)), self.why_undecided(id, instance))
        };
        let waits_on = self.open_dependencies(id, instance);
        Waiting { id: Some(id), stage, since, waits_on, held_by, why }
    }

    /// Who has to act for an undecided instance: whoever recovers it, or whose it is.
    fn holder(&self, id: InstanceId) -> ReplicaId {
        let recoverer = self.lanes.get(id).and_then(|instance| instance.ballot.owner());
        recoverer.unwrap_or(id.replica)
    }

    fn why_undecided(&self, id: InstanceId, instance: &Instance) -> String {
        match instance.attempt.as_deref() {
            Some(attempt) => self.why_attempted(attempt),
            None if self.suspected.contains(self.holder(id)) => {
                "whoever has to decide it is suspected: somebody will recover it".to_owned()
            }
            None if instance.payload.is_none() => {
                "its command has not arrived, and it is not known to be decided".to_owned()
            }
            None => "whoever has to decide it has not said that it is decided".to_owned(),
        }
    }

    fn why_attempted(&self, attempt: &Attempt) -> String {
        let quorums = self.config.quorums;
        match &attempt.stage {
            Stage::PreAccepting(replies) => format!(
                "it is being pre-accepted: {} votes, {} of them the same; {} decide at once, {} with another round",
                replies.replies.len(),
                replies.agreeing.len(),
                quorums.fast(),
                quorums.slow(),
            ),
            Stage::Accepting { votes, .. } => {
                format!(
                    "its second round is under way: {} of {} votes",
                    votes.len(),
                    quorums.slow()
                )
            }
            Stage::Recovering { reports } => {
                format!(
                    "it is being recovered here: {} of {} reports",
                    reports.len(),
                    quorums.slow()
                )
            }
            Stage::Validating(_) => {
                "it is being recovered here: whether it was decided at once is asked".to_owned()
            }
            Stage::Waiting(_) => "its recovery here waits for instances that may speak against \
                                  its having been decided at once"
                .to_owned(),
        }
    }

    /// What it depends on and is not executed, the one that its execution is parked on first; of an
    /// instance whose recovery waits, what that waits for.
    fn open_dependencies(&self, id: InstanceId, instance: &Instance) -> Vec<InstanceId> {
        let mut open: Vec<_> = self.graph.waits_for(id).into_iter().collect();
        if let Some(invalidators) = self.invalidators_of(id) {
            open.extend(invalidators.map(|invalidator| invalidator.id));
        }
        let mut looks = ACCOUNT_LOOKS_MAX;
        for (lane, upto) in instance.deps.lanes() {
            for slot in self.graph.executed_upto(lane) + 1..=upto {
                let other = InstanceId::new(lane, slot);
                looks -= 1;
                if looks == 0 || open.len() >= ACCOUNT_WAITS_ON_MAX {
                    return open;
                }
                if other != id && !self.graph.is_executed(other) && !open.contains(&other) {
                    let conflicts = self.may_conflict(instance, other);
                    open.extend(conflicts.then_some(other));
                }
            }
        }
        open.truncate(ACCOUNT_WAITS_ON_MAX);
        open
    }

    fn may_conflict(&self, instance: &Instance, other: InstanceId) -> bool {
        let command = self.lanes.get(other).and_then(|other| other.payload.as_ref());
        match (&instance.payload, command) {
            (Some(own), Some(other)) => own.footprint.conflicts(&other.footprint),
            // What is not known may be anything.
            _ => true,
        }
    }
}
