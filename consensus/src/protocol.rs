//! What a consensus protocol is: a value that turns inputs into effects.

use std::fmt::Debug;
use std::hash::Hash;

use crate::account::{Account, Subject};
use crate::command::Command;
use crate::effects::{Durable, Effects, Token};
use crate::footprint::Footprint;
use crate::ids::{ReplicaId, ReplicaSet};
use crate::read::Assurance;
use crate::time::{Now, WallTime};
use crate::wire::{Decode, Encode};

/// Something that happened, told to a protocol.
#[derive(Clone, Debug)]
pub enum Input<M> {
    /// A client of this replica proposes `command`.
    Propose {
        /// Names the proposal in the effects that answer it.
        token: Token,
        /// The command.
        command: Command,
    },
    /// A client of this replica wants to read. The protocol answers with
    /// [`read_ready`](Effects::read_ready), [`query_ready`](Effects::query_ready) or
    /// [`refuse_read`](Effects::refuse_read); or it orders
    /// [`Command::read`] and executes it with the token, and rejects it like a proposal.
    Read {
        /// Names the read in the effects that answer it.
        token: Token,
        /// Who is to vouch for it.
        assurance: Assurance,
        /// What it reads.
        footprint: Footprint,
    },
    /// A message arrived from another member of the epoch.
    Receive {
        /// Its sender, as the transport authenticated it.
        from: ReplicaId,
        /// The message.
        message: M,
    },
    /// The journal says that records are durable.
    Durable(Durable),
    /// The failure detector hears from `0` again.
    PeerUp(ReplicaId),
    /// The failure detector has not heard from `0` for too long. It may be wrong.
    PeerSuspected(ReplicaId),
    /// A wake-up that was asked for, or one too many.
    Wake,
}

/// The effects of protocol `P`.
pub type EffectsOf<P> = Effects<<P as Protocol>::Message, <P as Protocol>::Record>;

/// A consensus protocol without IO.
///
/// It is deterministic: the same configuration, records and inputs give the same effects. It reads
/// no clock and draws no entropy; `Now` and a seed in its configuration are all it knows. `Clone`
/// and `Hash` let a model checker hold it as a state.
pub trait Protocol: Clone + Debug + Hash + Sized {
    /// What must be known to start: members, own seat, quorums, timeouts.
    type Config: Clone + Debug;
    /// What replicas say to each other.
    type Message: Encode + Decode + Clone + Debug + PartialEq + Hash;
    /// What the journal keeps.
    type Record: Encode + Decode + Clone + Debug;

    /// The protocol as it was when the last of `records` was written; with no records, at its
    /// birth. Effects that follow from them (executions, recoveries) are appended to `effects`.
    fn restore(
        config: Self::Config,
        records: impl IntoIterator<Item = Self::Record>,
        now: Now,
        effects: &mut EffectsOf<Self>,
    ) -> Self;

    /// Handles one input. `now` must not be earlier than the moment the input came into being: by
    /// an older one a read would be confirmed by what was heard before it began.
    fn step(&mut self, now: Now, input: Input<Self::Message>, effects: &mut EffectsOf<Self>);

    /// Everything this replica must still know, as records: [`restore`](Self::restore) from them
    /// alone gives a replica that keeps every promise this one has made and counts as executed
    /// what this one has handed out for execution. Taken between steps, it stands for every record
    /// written before, so a journal may be cut below it.
    fn image(&self) -> Vec<Self::Record>;

    /// The part of an image that another member may take over: what is decided, never what its
    /// owner promised or voted for.
    fn handover(image: Vec<Self::Record>) -> Vec<Self::Record>;

    /// Whether the place of `handover` may still be taken. Not if this replica has come as far by now,
    /// or members no longer have what follows: a state can become too old on its way.
    fn can_install(&self, handover: &[Self::Record]) -> bool;

    /// Takes the place where another member stood: `handover` is of the same moment as the state
    /// that replaces this replica's. Own promises stay. Nothing may leave this replica before its
    /// [`image`](Self::image) taken after this is durable together with that state.
    ///
    /// # Panics
    /// If [`can_install`](Self::can_install) says no.
    fn install(&mut self, now: Now, handover: Vec<Self::Record>, effects: &mut EffectsOf<Self>);

    /// Members to ask for a state, while this replica is too far behind to catch up otherwise.
    /// Until one is installed it neither votes nor executes.
    fn needs_state(&self) -> ReplicaSet;

    /// Whether a state on its way here is still of use. It may be while there is nobody to ask: a
    /// member that seems dead for a moment has not taken back what it sent.
    fn wants_state(&self) -> bool {
        !self.needs_state().is_empty()
    }

    /// Keeps for a while what a member will need that takes over a state taken here after this
    /// call. To be repeated while the transfer goes on.
    fn hold(&mut self, now: Now);

    /// Writes what the journal lacks for [`restore`](Self::restore) to hand out everything again that was
    /// handed out for execution so far.
    fn persist_executed(&mut self, effects: &mut EffectsOf<Self>);

    /// Takes back what was proposed here in this run and was neither handed out for execution nor
    /// rejected, in the order in which it was proposed. The protocol says nothing more of these tokens.
    /// Whether the commands are decided all the same is for the caller to know.
    fn withdraw(&mut self) -> Vec<(Token, Command)>;

    /// Hands leadership to `to`, if there is such a thing and this replica has it; says whether it
    /// begins to.
    fn hand_over(&mut self, to: ReplicaId, now: Now, effects: &mut EffectsOf<Self>) -> bool {
        let _ = (to, now, effects);
        false
    }

    /// A client wants an answer that is linearizable; [`Input::Read`] comes if it takes the protocol to give
    /// one. For whoever measures what is asked: answers that may be old take the protocol or not by how
    /// old the state is, and that is up to the protocol.
    fn note_read(&mut self, footprint: &Footprint) {
        let _ = footprint;
    }

    /// No command that executes here from now on was proposed at this time or before.
    fn proposed_after(&self) -> WallTime;

    /// What happened so far, by name. For metrics; empty unless a protocol counts.
    fn counters(&self) -> Vec<(&'static str, u64)> {
        Vec::new()
    }

    /// The member that leads or coordinates, as far as this replica knows: itself, if it does. `None` if
    /// it knows of none, or a protocol has none.
    fn leader(&self) -> Option<ReplicaId> {
        None
    }

    /// How this replica stands, for people: what the protocol does just now, and why it is slow if
    /// it is. `None` if a protocol has nothing to say.
    fn status(&self) -> Option<String> {
        None
    }

    /// What waits for what, for operators. It changes nothing. Empty unless a protocol keeps account.
    fn account(&self, subject: Subject, now: Now) -> Account {
        let _ = (subject, now);
        Account::default()
    }

    /// Asserts what must hold between steps. The simulator calls it after every one.
    ///
    /// # Panics
    /// If an invariant is broken.
    fn check_invariants(&self);
}
