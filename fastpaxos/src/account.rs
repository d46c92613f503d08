//! What waits for what, told to operators: the first slot that is not decided, what stands behind
//! it, and commands that have no slot.

use panchayat_consensus::account::{
    ACCOUNT_ENTRIES_MAX, ACCOUNT_LOOKS_MAX, Account, Stage, Subject, Waiting,
};
use panchayat_consensus::{Command, InstanceId, KeyHash, Now, Slot};

use crate::entry::{Key, Name};
use crate::learn::LANE;
use crate::log::State;
use crate::replica::FastPaxos;

impl FastPaxos {
    /// What waits here, as far as `subject` asks.
    pub(crate) fn give_account(&self, subject: Subject, now: Now) -> Account {
        let unexecuted = self.highest_voted() - self.chosen;
        let mut account = Account { unexecuted, lanes: false, waiting: Vec::new() };
        let open = || self.log.above(self.chosen).take(ACCOUNT_LOOKS_MAX);
        let waiting = |(slot, state): (Slot, &State)| self.waiting(slot, Some(state), now);
        match subject {
            Subject::Instance(id) => {
                let slot = id.slot;
                account.waiting.push(self.waiting(slot, self.log.get(slot), now));
                let first = self.chosen + 1;
                if slot > first {
                    account.waiting.push(self.waiting(first, self.log.get(first), now));
                }
            }
            Subject::Oldest => {
                account.waiting.extend(open().take(ACCOUNT_ENTRIES_MAX).map(waiting));
                account.waiting.extend(self.unplaced(|_| true));
            }
            Subject::Key(key) => {
                let on_key = |(_, state): &(Slot, &State)| {
                    let mut names = named(state).filter_map(Name::key);
                    names.any(|name| self.command(name).is_some_and(|c| touches(c, key)))
                };
                let on_key = open().filter(on_key).take(ACCOUNT_ENTRIES_MAX);
                account.waiting.extend(on_key.map(waiting));
                account.waiting.extend(self.unplaced(|command| touches(command, key)));
            }
        }
        account.waiting.truncate(ACCOUNT_ENTRIES_MAX);
        account
    }

    fn waiting(&self, slot: Slot, state: Option<&State>, now: Now) -> Waiting {
        let first = self.chosen + 1;
        let stage = match state {
            _ if slot <= self.chosen => Stage::Executed,
            None => Stage::Unknown,
            Some(state) if state.decided.is_some() => Stage::Committed,
            Some(state) => match state.votes.iter().map(|(_, round, _)| round.classic).max() {
                None => Stage::Unknown,
                Some(true) => Stage::Accepted,
                Some(false) => Stage::Proposed,
            },
        };
        let why = match (stage, state) {
            (Stage::Executed, _) => "it is executed here".to_owned(),
            (Stage::Committed, Some(state)) if state.chosen.is_none() => {
                "it is decided, and its command has not arrived here".to_owned()
            }
            (Stage::Committed, _) => {
                format!("it is decided, and executes after slot {first}, which is not")
            }
            (Stage::Proposed | Stage::Accepted, Some(state)) => {
                let mut values: Vec<_> = state.votes.iter().map(|(_, _, name)| *name).collect();
                let votes = values.len();
                values.sort_unstable();
                values.dedup();
                match values.len() {
                    1 => format!("{votes} votes are known here, too few to decide it"),
                    values => format!(
                        "{votes} votes for {values} commands are known here: the coordinator has to settle it"
                    ),
                }
            }
            _ => "nothing is known here of what is in it".to_owned(),
        };
        let waits_on = match slot > first && stage != Stage::Executed {
            true => vec![InstanceId::new(LANE, first)],
            false => Vec::new(),
        };
        let since = (slot == first).then(|| now.monotonic - self.stalled.1);
        let held_by = self.coordinator().filter(|_| stage != Stage::Executed);
        Waiting { id: Some(InstanceId::new(LANE, slot)), stage, since, waits_on, held_by, why }
    }

    /// A command that is known here under its name.
    fn command(&self, key: Key) -> Option<&Command> {
        self.known.get(key).map(|held| &*held.submission.command)
    }

    /// Own commands of which no slot is known here.
    fn unplaced(&self, wanted: impl Fn(&Command) -> bool) -> impl Iterator<Item = Waiting> {
        let voted = |number: u64| {
            let key = (self.me(), number);
            self.taken.contains_key(&key)
                || self.known.get(key).is_some_and(|held| held.placed.is_some())
        };
        let unplaced = self.pending.iter().filter(move |(number, _)| !voted(**number));
        let wanted = unplaced.filter(move |(_, proposal)| wanted(&proposal.command));
        wanted.take(ACCOUNT_ENTRIES_MAX).map(|(_, proposal)| Waiting {
            id: None,
            stage: Stage::Known,
            since: None,
            waits_on: Vec::new(),
            held_by: self.coordinator(),
            why: format!(
                "a command of this replica without a slot here, proposed {} times",
                proposal.tries.max(1)
            ),
        })
    }
}

/// What a slot may come to hold.
fn named(state: &State) -> impl Iterator<Item = Name> {
    state.votes.iter().map(|(_, _, name)| *name).chain(state.decided)
}

fn touches(command: &Command, key: KeyHash) -> bool {
    let footprint = &command.footprint;
    footprint.is_barrier() || footprint.keys().iter().any(|(touched, _)| *touched == key)
}
