//! Known mistakes, to check the checkers: tests that do not catch them prove nothing.
//!
//! With the feature `mutations` a replica can be configured to make one. Without it the question
//! is always answered no, and the compiler removes the wrong branch.

use crate::replica::MultiPaxos;

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
    /// Accept leaves before the leader's own vote is durable.
    AcceptBeforeDurable "leader's Accept before its own vote is durable",
    /// A read waits for what the leader knows to be chosen, not for all it proposed.
    ReadIndexFromCommitIndex "read index = commit index with origin learning",
    /// A new leader starts behind what is chosen, whatever was accepted there.
    IgnoreAcceptedValues "new leader ignores accepted values",
    /// A grantor helps another leader while its grant lasts.
    LeaseNotWaitedOut "lease not waited out",
    /// A grantor helps another leader right after a restart.
    LeaseForgottenOnRestart "lease forgotten on restart",
    /// Votes for what is not known to be chosen are forgotten by a restart.
    VoteForgottenOnRestart "vote forgotten on restart",
    /// Promises are forgotten by a restart.
    PromiseForgottenOnRestart "promise forgotten on restart",
    /// The leader's word of what is chosen replaces one's own knowledge.
    CommitIndexBackwards "commit index moved backwards",
    /// An image claims the last slot voted for as executed.
    TruncateAboveSnapshot "truncation above the snapshot",
    /// Votes of different ballots for a slot count together.
    BallotsMixed "votes of different ballots counted together",
    /// A command that won two slots is applied twice.
    NoDeduplication "command applied in both slots it won",
}

impl MultiPaxos {
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
