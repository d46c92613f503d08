//! Known mistakes, to check the checkers: a simulator that does not catch them proves nothing.
//!
//! With the feature `mutations` a replica can be configured to make one. Without it the question
//! is always answered no, and the compiler removes the wrong branch.

use panchayat_consensus::{After, Ballot, InstanceId, Now, ReplicaId, ReplicaSet};

use crate::deps::Deps;
use crate::instance::Phase;
use crate::message::{Message, Report};
use crate::replica::{EPaxos, Fx};

macro_rules! mutations {
    ($($(#[doc = $doc:literal])* $variant:ident $name:literal,)*) => {
        /// A known mistake.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Mutation {
            $($(#[doc = $doc])* $variant,)*
        }

        impl Mutation {
            /// Every mistake.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// What the mistake is called in tables.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

mutations! {
    /// RecoverOK reports the ballot joined as the ballot of the value.
    ReportBallotForAcceptedBallot "report bal for abal in RecoverOK",
    /// A recoverer accepts what enough replicas pre-accepted, without validation.
    SkipValidate "skip Validate",
    /// ValidateOKs of any n−f replicas count, not those of exactly Q.
    ValidateByAnyMajority "ValidateOK from any majority instead of Q",
    /// A wait ends on dependencies that are not committed yet.
    StalePhasesWhileWaiting "stale phases while waiting",
    /// PreAccept leaves before the coordinator's own record is durable.
    PreAcceptBeforeDurable "PreAccept sent before the coordinator's own record is durable",
    /// After a restart the coordinator goes on at ballot zero.
    ContinueAtOldBallot "an instance continued at its old ballot after a restart",
    /// After a restart the ballots of own recoveries are forgotten.
    ReuseBallot "ballot reused after a crash",
    /// A recoverer proposes its own dependencies instead of the validated ones.
    LocalDepsAfterValidate "local dep instead of the validated D",
    /// Own commands execute when they commit.
    ReplyAtCommit "reply at commit",
    /// Commands execute before their commit record is durable.
    ReplyBeforePersist "reply before persist",
    /// Commits of own instances are forgotten by a restart.
    ForgetFastCommit "forget a fast commit on restart",
    /// Own undecided instances are forgotten by a restart, and their slots given out again.
    ReuseSlot "slot reuse after restart",
    /// Watermarks cover what is merely known.
    WatermarkEarly "executed watermark advanced too early",
    /// A collected id is answered as if it had never been heard of, and who asks goes on.
    CollectedAsInitial "GC'd id answered as phase=initial",
    /// An id that others have collected is taken for executed.
    ExecuteBelowWatermark "a replica below the GC watermark goes on executing",
    /// Messages of members that were collected without go on counting.
    NoFence "messages of absent members go on counting",
    /// Who takes over a state keeps endorsing what ignores the commands collected before.
    KeepEndorsements "endorsements kept when a state is taken over",
    /// What another member collected is collected here too, whoever it counts.
    CollectAsAnother "what another member collected is collected too",
    /// Only the last command on a key is a dependency, whatever its lane.
    LastWriterOnly "per-key \"last writer only\" dependencies",
    /// A read goes by what its own replica knows, and asks nobody.
    ReadAlone "a read that asks nobody",
}

impl EPaxos {
    /// Whether this replica makes the mistake.
    #[cfg(feature = "mutations")]
    #[inline]
    pub(crate) fn mutated(&self, mutation: Mutation) -> bool {
        self.config.mutation == Some(mutation)
    }

    /// Whether this replica makes the mistake: never.
    #[cfg(not(feature = "mutations"))]
    #[inline(always)]
    pub(crate) fn mutated(&self, _mutation: Mutation) -> bool {
        false
    }
}

impl EPaxos {
    /// The mistake of knowing nothing of what is collected, and saying so.
    pub(crate) fn answer_as_initial(&mut self, from: ReplicaId, message: &Message, fx: &mut Fx) {
        let reply = match message {
            Message::Recover { ballot, id } => Message::RecoverOk {
                ballot: *ballot,
                id: *id,
                report: Report {
                    accepted_ballot: Ballot::INITIAL,
                    phase: Phase::Initial,
                    value: None,
                    deps: Deps::none(self.config.quorums.n()),
                    init_deps: None,
                },
            },
            Message::Validate { ballot, id, .. } => {
                Message::ValidateOk { ballot: *ballot, id: *id, invalidators: Vec::new() }
            }
            Message::Accept { ballot, id, .. } => Message::AcceptOk { ballot: *ballot, id: *id },
            _ => return,
        };
        fx.send(ReplicaSet::only(from), reply, After::NOTHING);
    }

    /// The mistake of taking what others have forgotten for executed here.
    pub(crate) fn take_for_executed(&mut self, id: InstanceId, now: Now, fx: &mut Fx) {
        if !self.ensure(id, now).is_committed() {
            self.ensure(id, now).nop = true;
            let none = Deps::none(self.config.quorums.n());
            let path = panchayat_consensus::Path::Recovered;
            self.commit(id, Ballot::INITIAL, none, path, now, fx);
        }
    }
}
