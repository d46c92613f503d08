//! Invariant 12, of members that stay away. Who is counted as absent is kept at a distance, and who
//! takes over a state endorses nothing that ignores what was collected in it.
//!
//! - Once a replica has said that it counts a member as absent, it sends that member no vote and no
//!   report, until it takes it back. (What left for it before may still arrive.)
//! - What a member says to a replica that counts it as absent is never used, not even if it arrives
//!   after it was taken back: whether it may be used is asked here by the checks that count replies.
//! - After taking over a state a replica holds no undecided endorsement of a proposal whose
//!   dependencies leave out something that was collected there, in another lane than the
//!   proposal's own: nobody can tell any more what of that it conflicts with.

use panchayat_consensus::{InstanceId, ReplicaId, ReplicaSet};
use panchayat_epaxos::{Deps, Message, Record, Status};
use rustc_hash::FxHashMap;

use crate::flaw::{Flaw, Invariant};
use crate::subject::Place;

/// What one replica holds of others that stay away, and of states that it took over.
#[derive(Clone, Debug, Default)]
struct Member {
    /// Whom it counts as absent, and what it had seen when it settled on that.
    absent: ReplicaSet,
    seen_then: Option<Deps>,
    /// Of these, whom it has said so of.
    announced: ReplicaSet,
    /// What was collected in states that it took over: for good, and since its last snapshot.
    collected: Vec<Deps>,
    taking_over: Vec<Deps>,
}

/// Who is counted as absent where.
#[derive(Clone, Debug, Default)]
pub struct Absence {
    members: FxHashMap<ReplicaId, Member>,
}

impl Absence {
    /// `replica` writes a record, or goes on from one.
    pub fn written(&mut self, replica: ReplicaId, record: &Record) {
        if let Record::Absent { absent, seen_then, .. } = record {
            let member = self.members.entry(replica).or_default();
            member.absent = *absent;
            member.seen_then = Some(seen_then.clone());
            member.announced = common(member.announced, *absent);
        }
    }

    /// `replica` starts from these records. What it took over and had not stored yet is gone.
    pub fn restart<'a>(
        &mut self,
        replica: ReplicaId,
        records: impl IntoIterator<Item = &'a Record>,
    ) {
        let member = self.members.entry(replica).or_default();
        (member.absent, member.seen_then) = (ReplicaSet::EMPTY, None);
        member.taking_over.clear();
        records.into_iter().for_each(|record| self.written(replica, record));
        let member = self.members.entry(replica).or_default();
        member.announced = common(member.announced, member.absent);
    }

    /// `replica` has taken over a state; what it says of absent members it says anew.
    pub fn taken_over(&mut self, replica: ReplicaId, handover: &[Record]) {
        for record in handover {
            self.written(replica, record);
            if let Record::Collected { collected, .. } = record {
                let member = self.members.entry(replica).or_default();
                member.taking_over.push(collected.clone());
            }
        }
        let member = self.members.entry(replica).or_default();
        member.absent = member.absent.without(replica);
        member.announced = ReplicaSet::EMPTY;
    }

    /// A snapshot of `replica` is durable: a state it took over will not be lost any more.
    pub fn stored(&mut self, replica: ReplicaId) {
        let member = self.members.entry(replica).or_default();
        member.collected.append(&mut member.taking_over);
    }

    /// Whether `replica` counts `other` as absent now.
    pub fn counts(&self, replica: ReplicaId, other: ReplicaId) -> bool {
        self.members.get(&replica).is_some_and(|member| member.absent.contains(other))
    }

    /// A message left `at` for `to`.
    ///
    /// # Errors
    /// It votes for one that `at` has called absent.
    pub fn sent(&mut self, at: Place, to: ReplicaSet, message: &Message) -> Result<(), Flaw> {
        let Some(member) = self.members.get_mut(&at.replica) else { return Ok(()) };
        match message {
            Message::Status(status) => {
                let Status { absent, seen_then, .. } = &**status;
                // One from before it settled on this may leave late.
                if member.seen_then.as_ref() == Some(seen_then) {
                    member.announced = common(*absent, member.absent);
                }
                Ok(())
            }
            Message::PreAcceptOk { id, .. }
            | Message::AcceptOk { id, .. }
            | Message::RecoverOk { id, .. }
            | Message::ValidateOk { id, .. } => {
                match to.iter().find(|to| member.announced.contains(*to)) {
                    None => Ok(()),
                    Some(to) => {
                        let text =
                            format!("{} counts {to} as absent and sends {message:?}", at.replica);
                        Err(Flaw::of(Invariant::Absence, *id, text))
                    }
                }
            }
            _ => Ok(()),
        }
    }

    /// `replica` endorses the proposal `id`, undecided and with these dependencies.
    ///
    /// # Errors
    /// They ignore something that was collected in a state that it took over.
    pub fn endorses(&self, replica: ReplicaId, id: InstanceId, init: &Deps) -> Result<(), Flaw> {
        let Some(member) = self.members.get(&replica) else { return Ok(()) };
        let ignored = |collected: &&Deps| {
            collected.lanes().any(|(lane, upto)| lane != id.replica && upto > init.last(lane))
        };
        match member.collected.iter().chain(&member.taking_over).find(ignored) {
            None => Ok(()),
            Some(collected) => {
                let text = format!(
                    "{replica} endorses it with {init:?}, after it took over a state in which \
                     {collected:?} was collected"
                );
                Err(Flaw::of(Invariant::Absence, id, text))
            }
        }
    }
}

fn common(one: ReplicaSet, other: ReplicaSet) -> ReplicaSet {
    one.minus(one.minus(other))
}

#[cfg(test)]
mod tests {
    use super::*;
    use panchayat_consensus::{Ballot, WallTime};

    const ME: ReplicaId = ReplicaId(0);
    const AWAY: ReplicaId = ReplicaId(2);
    const AT: Place = Place { replica: ME, incarnation: 1 };

    fn deps(lanes: [u64; 3]) -> Deps {
        lanes.into_iter().collect()
    }

    fn settled(absent: ReplicaSet, seen: u64) -> Record {
        Record::Absent { absent, seen_then: deps([seen, 0, 0]), stale: deps([0; 3]) }
    }

    fn status(absent: ReplicaSet, seen: u64) -> Message {
        let none = || deps([0; 3]);
        Message::Status(Box::new(Status {
            seen: none(),
            reached: none(),
            executed: none(),
            collected: none(),
            shared: none(),
            absent,
            seen_then: deps([seen, 0, 0]),
            proposed_after: WallTime(0),
        }))
    }

    fn votes(check: &Absence, to: ReplicaId) -> bool {
        let vote = Message::AcceptOk { ballot: Ballot::INITIAL, id: InstanceId::new(to, 1) };
        check.clone().sent(AT, ReplicaSet::only(to), &vote).is_ok()
    }

    #[test]
    fn no_vote_leaves_for_one_that_was_called_absent() {
        let (away, nobody) = (ReplicaSet::only(AWAY), ReplicaSet::EMPTY);
        let mut check = Absence::default();
        check.written(ME, &settled(away, 7));
        assert!(check.counts(ME, AWAY) && !check.counts(AWAY, ME));
        assert!(votes(&check, AWAY), "it may have been on its way");
        check.sent(AT, away, &status(nobody, 6)).unwrap();
        assert!(votes(&check, AWAY), "that was from before");
        check.sent(AT, away, &status(away, 7)).unwrap();
        assert!(!votes(&check, AWAY) && votes(&check, ReplicaId(1)));
        check.restart(ME, [&settled(away, 7)]);
        assert!(!votes(&check, AWAY), "a restart changes nothing");
        check.written(ME, &settled(nobody, 8));
        assert!(votes(&check, AWAY) && !check.counts(ME, AWAY));
    }

    #[test]
    fn what_ignores_something_collected_in_a_state_taken_over_is_not_endorsed() {
        let image = [
            Record::Collected { collected: deps([5, 4, 9]), fence: deps([0; 3]) },
            settled(ReplicaSet::only(ME), 3),
        ];
        let id = InstanceId::new(AWAY, 6);
        let mut check = Absence::default();
        check.taken_over(ME, &image);
        assert!(!check.counts(ME, ME), "who takes over a state is back");
        check.endorses(ME, id, &deps([5, 4, 0])).unwrap();
        check.endorses(ReplicaId(1), id, &deps([5, 3, 0])).unwrap();
        assert!(check.endorses(ME, id, &deps([5, 3, 9])).is_err());
        let mut lost = check.clone();
        lost.restart(ME, []);
        lost.endorses(ME, id, &deps([5, 3, 9])).unwrap();
        check.stored(ME);
        check.restart(ME, []);
        assert!(check.endorses(ME, id, &deps([5, 3, 9])).is_err());
    }
}
