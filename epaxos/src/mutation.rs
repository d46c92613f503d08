//! Known mistakes, to check the checkers: a simulator that does not catch them proves nothing.
//!
//! With the feature `mutations` a replica can be configured to make one. Without it the question
//! is always answered no, and the compiler removes the wrong branch.

use crate::replica::EPaxos;

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
    /// Only the last command on a key is a dependency, whatever its lane.
    LastWriterOnly "per-key \"last writer only\" dependencies",
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
