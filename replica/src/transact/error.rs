//! Why a transaction came to nothing.

use thiserror::Error;

use super::store::Unanswered;

/// A read inside a transaction failed; pass it on with `?`.
#[derive(Clone, Debug, Error)]
#[error("a read of the transaction failed: {0}")]
pub struct Interrupted(pub(super) Unanswered);

/// Why the body of a transaction ends early.
#[derive(Clone, Debug)]
pub enum Stop<E> {
    /// The body decided so: nothing is written, and [`TransactError::Aborted`] says it, once what
    /// was read has been validated.
    Abort(E),
    /// It could not go on.
    Interrupted(Interrupted),
}

impl<E> From<Interrupted> for Stop<E> {
    fn from(interrupted: Interrupted) -> Self {
        Self::Interrupted(interrupted)
    }
}

/// Why a transaction was not applied, or that nobody knows.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TransactError<E> {
    /// The body aborted, having read what was true at one moment. Nothing was written.
    #[error("aborted: {0}")]
    Aborted(E),
    /// Something that was read was changed each time before the transaction came through. Nothing
    /// was written.
    #[error("what the transaction read was changed meanwhile, {attempts} times in a row")]
    Contended {
        /// How often it was tried.
        attempts: u32,
    },
    /// It names too many keys for one command. Nothing was written.
    #[error("the transaction reads or writes {keys} keys, {keys_max} is the most")]
    TooManyKeys {
        /// How many.
        keys: usize,
        /// The most.
        keys_max: usize,
    },
    /// The replica did not take it, or did not answer a read. Nothing was written.
    #[error("nothing was written: {0}")]
    NotApplied(String),
    /// Nobody knows whether it was applied, or will be.
    #[error("it is unknown whether the transaction was or will be applied: {0}")]
    InDoubt(String),
}

impl<E> TransactError<E> {
    /// Whether nothing was written, and nothing will be.
    pub fn is_certain(&self) -> bool {
        !matches!(self, Self::InDoubt(_))
    }
}
