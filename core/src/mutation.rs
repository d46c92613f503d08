//! Known mistakes, to check the checkers: a simulator that does not catch them proves nothing.
//!
//! With the feature `mutations` a group can be told to make one
//! (`Group::make_mistake`). Without it nobody can ask, and the compiler removes the wrong branch.

/// A known mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mutation {
    /// Snapshots are taken without the session table.
    DropSessionsAtSnapshot,
    /// Requests are forgotten as soon as nothing older than they is proposed any more.
    PruneSessionsEarly,
    /// A duplicate is applied again.
    ApplyDuplicates,
    /// A snapshot's state is taken before what its image counts as executed has been applied.
    ViewBeforeExecutions,
}

impl Mutation {
    /// Every mistake.
    pub const ALL: &[Self] = &[
        Self::DropSessionsAtSnapshot,
        Self::PruneSessionsEarly,
        Self::ApplyDuplicates,
        Self::ViewBeforeExecutions,
    ];

    /// What the mistake is called in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::DropSessionsAtSnapshot => "dedup table dropped at snapshot",
            Self::PruneSessionsEarly => "requests forgotten before they are too old",
            Self::ApplyDuplicates => "a duplicate applied again",
            Self::ViewBeforeExecutions => "a snapshot's state frozen before what its image counts",
        }
    }
}
