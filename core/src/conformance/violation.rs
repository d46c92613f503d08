//! What a state machine does wrong, said so that its author can find it.

use std::fmt;

/// A rule that every state machine must keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Rule {
    /// Commands, outputs and queries read back as what was written, and no command is empty.
    Encoding,
    /// The same commands in the same order give the same outputs and the same state.
    Determinism,
    /// The fingerprint sees what commands change.
    Fingerprint,
    /// A state written at any moment is read back as the state of that moment.
    Snapshot,
    /// Commands whose footprints do not conflict may come in any order.
    Footprint,
    /// What is only read is not changed.
    ReadOnly,
    /// A command that only commutes answers nothing of the state.
    Commute,
    /// A query looks at nothing but its footprint, and only reads.
    Query,
}

/// A rule that was broken, where, and by what. Shown in full by `{}` and by `{:?}`, so that a test
/// may simply unwrap.
#[derive(Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which rule.
    pub rule: Rule,
    /// The seed of the suite.
    pub seed: u64,
    /// In which round.
    pub round: u32,
    /// What happened.
    pub text: String,
}

/// A violation before it is known where.
pub(super) type Fault = (Rule, String);

impl Rule {
    /// The rule in a sentence.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::Encoding => "what is encoded must decode to the same, and never be empty",
            Self::Determinism => "equal commands in equal order must give equal results",
            Self::Fingerprint => "the state hash must see what commands change",
            Self::Snapshot => "a state must be read back as it was when it was viewed",
            Self::Footprint => "commands that do not conflict must give equal results in any order",
            Self::ReadOnly => "a command that only reads must not change the state",
            Self::Commute => "the output of a command that only commutes must not depend on state",
            Self::Query => "a query must look at nothing but its footprint, and only read",
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rule, seed, round, text } = self;
        write!(f, "{}\n{text}\n(seed {seed}, round {round})", rule.sentence())
    }
}

impl fmt::Debug for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {self}", self.rule)
    }
}

impl std::error::Error for Violation {}
