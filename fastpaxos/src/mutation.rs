//! Known mistakes, to check the checkers: tests that do not catch them prove nothing.
//!
//! With the feature `mutations` a replica can be configured to make one. Without it the question
//! is always answered no, and the compiler removes the wrong branch.

use crate::replica::FastPaxos;

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
    /// A value needs the whole fast quorum among those heard, however few they are; failing that,
    /// any value does.
    FixedThreshold "fixed collision threshold",
    /// An acceptor gives a slot it voted in to another command too.
    VoteTwice "acceptor votes twice in a fast round",
    /// Recovery takes slots with fast votes for free.
    IgnoreFastVotes "recovery ignores fast votes",
    /// A new coordinator takes slots with classic votes for free.
    IgnoreClassicVotes "new coordinator ignores classic votes",
    /// A collision is settled with a single fast vote.
    SettleTooEarly "collision settled without a quorum of votes",
    /// Fast rounds cover slots in which phase 1 found votes.
    AnyOverVotes "any value allowed where phase 1 found votes",
    /// A fast quorum counts as reached with the votes of a classic one.
    FastQuorumTooSmall "classic quorum decides a fast round",
    /// Votes of fast and classic rounds count together, whatever they are for.
    RoundsMixed "votes of different rounds counted together",
    /// Votes leave before they are durable.
    VoteBeforeDurable "vote sent before it is durable",
    /// Votes for what is not known to be chosen are forgotten by a restart.
    VoteForgottenOnRestart "vote forgotten on restart",
    /// Promises are forgotten by a restart.
    PromiseForgottenOnRestart "promise forgotten on restart",
    /// An acceptor votes in slots it has closed.
    CloseIgnored "vote in a fast round after closing it",
    /// An image claims the last slot voted in as executed.
    TruncateAboveSnapshot "truncation above the snapshot",
    /// A command that won two slots is applied twice.
    NoDeduplication "command applied in both slots it won",
    /// What the coordinator says is chosen is taken to be what was voted for, in whatever round.
    WordOnOtherVotes "coordinator's word taken for votes of other rounds",
    /// Numbers of commands start again after a restart.
    NumbersReused "command numbers reused after a restart",
}

impl FastPaxos {
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
