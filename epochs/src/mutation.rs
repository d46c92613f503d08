//! Known mistakes, to check the checkers: tests that do not catch them prove nothing.
//!
//! With the feature `mutations` a replica can be configured to make one. Without it the question
//! is always answered no, and the compiler removes the wrong branch.

use crate::replica::Epochs;

macro_rules! mutations {
    ($($(#[doc = $doc:literal])* $variant:ident $name:literal,)*) => {
        /// A known mistake.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[cfg_attr(not(feature = "mutations"), allow(unreachable_pub))]
        pub enum Mutation {
            $($(#[doc = $doc])* $variant,)*
        }

        #[cfg(feature = "mutations")]
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
    /// What an epoch orders after its seal is executed all the same.
    ExecuteAfterSeal "commands after the seal are executed",
    /// A command that is void is forgotten.
    ForgetVoid "void commands are not proposed again",
    /// A member without the sealed state votes in the new epoch.
    VoteWithoutState "a member votes without the sealed state",
    /// The new epoch begins before the seal is durable.
    OpenBeforeDurable "the next epoch speaks before the seal is durable",
    /// A read that the old epoch vouches for is answered after the seal.
    ReadAcrossSeal "a read of the sealed epoch is answered",
    /// Proposal times begin anew.
    TimesBeginAnew "proposal times may go back in a new epoch",
    /// A seal is noted, but not everything that was executed before it.
    ExecutedNotRecorded "what was executed before the seal is not written down",
    /// One that was removed without having executed the seal serves its state as the sealed one.
    StaleStateServed "a removed replica hands over an old state",
    /// A restart forgets that the epoch was sealed, and goes on in it.
    SealForgottenOnRestart "the seal is forgotten on restart",
}

impl Epochs {
    /// Whether this replica makes `mutation`.
    #[cfg(feature = "mutations")]
    pub(crate) fn mutated(&self, mutation: Mutation) -> bool {
        self.config.mutation == Some(mutation)
    }

    /// Whether this replica makes `mutation`: never.
    #[cfg(not(feature = "mutations"))]
    pub(crate) fn mutated(&self, _: Mutation) -> bool {
        false
    }
}
