//! What a replica keeps for peers that take over its state.
//!
//! A state is of use only if everything after it is still to be had. So from the first word of a
//! peer until some time after its last one the group *holds*, and only a snapshot begun while it
//! did is given away. Peers that ask at about the same time get the same file, which stays open
//! although newer snapshots take its name.
//!
//! A peer says that it still needs what is kept while it receives, and on until what it has taken
//! over is durable. It is believed without being asked: one that is silent is forgotten.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use panchayat_consensus::NodeId;
use panchayat_storage::StoredSnapshot;
use tokio::sync::oneshot;

pub(crate) use super::request::Ask;
use super::writer::Written;

/// After so long without a word nobody needs anything any more. Protocols keep it for longer.
const FORGET_AFTER: Duration = Duration::from_secs(20);

/// A peer's question on its way to the replica's thread.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) from: NodeId,
    pub(crate) ask: Ask,
    pub(crate) reply: oneshot::Sender<Word>,
}

/// What the replica's thread answers.
#[derive(Clone, Debug)]
pub(crate) enum Word {
    /// Not now, and why.
    Refused(&'static str),
    /// A snapshot is being written.
    Later,
    /// What is needed will be kept.
    Kept,
    /// This one.
    Ready(StoredSnapshot),
}

/// For whom something is kept.
#[derive(Debug, Default)]
pub(crate) struct Serving {
    kept: Option<Kept>,
    /// States given away from their beginning.
    pub(crate) served: u64,
}

#[derive(Debug)]
struct Kept {
    last_word: Instant,
    /// The first snapshot that was begun while the group held.
    good_from: Option<u64>,
    ready: Option<StoredSnapshot>,
    /// Who has got it: whoever asks once more needs a newer one.
    given_to: BTreeSet<NodeId>,
}

impl Kept {
    fn new(now: Instant) -> Self {
        Self { last_word: now, good_from: None, ready: None, given_to: BTreeSet::new() }
    }
}

impl Serving {
    /// Answers a peer. The group must hold from now on.
    pub(crate) fn answer(&mut self, from: NodeId, ask: Ask, now: Instant) -> Word {
        self.forget_the_silent(now);
        if ask == Ask::Keep && self.kept.is_none() {
            // What it needs may be gone; if so it will ask for a state.
            return Word::Kept;
        }
        let kept = self.kept.get_or_insert_with(|| Kept::new(now));
        kept.last_word = now;
        if ask == Ask::Keep {
            return Word::Kept;
        }
        let goes_on =
            |stored: &StoredSnapshot| matches!(ask, Ask::Rest(id, _) if id == stored.transfer());
        match kept.ready.clone() {
            Some(stored) if goes_on(&stored) => Word::Ready(stored),
            Some(_) if kept.given_to.contains(&from) => {
                *kept = Kept::new(now);
                Word::Later
            }
            Some(stored) => {
                kept.given_to.insert(from);
                self.served += 1;
                Word::Ready(stored)
            }
            None => Word::Later,
        }
    }

    /// Whether somebody waits for a snapshot that has not been begun.
    pub(crate) fn wants_snapshot(&self) -> bool {
        self.kept.as_ref().is_some_and(|kept| kept.good_from.is_none())
    }

    /// A snapshot was begun, for whatever reason.
    pub(crate) fn begun(&mut self, number: u64) {
        if let Some(kept) = &mut self.kept {
            kept.good_from.get_or_insert(number);
        }
    }

    /// A snapshot is durable.
    pub(crate) fn written(&mut self, written: &Written) {
        if let Some(kept) = &mut self.kept
            && kept.good_from.is_some_and(|from| from <= written.number)
        {
            kept.ready.get_or_insert_with(|| written.stored.clone());
        }
    }

    /// Forgets everybody: this replica's own state was replaced.
    pub(crate) fn forget(&mut self) {
        self.kept = None;
    }

    /// Lets go of what nobody has asked about for long.
    pub(crate) fn forget_the_silent(&mut self, now: Instant) {
        let is_silent =
            |kept: &mut Kept| now.saturating_duration_since(kept.last_word) > FORGET_AFTER;
        self.kept.take_if(is_silent);
    }
}
