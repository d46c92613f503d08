//! Whom clients send their commands to: a replica in this process, or a port of a running one.

use std::time::Instant;

use panchayat::kv::{KvCommand, KvStore};
use panchayat::{Path, ProposeError, Replica};

/// When a command was answered, and what is known of its way.
#[derive(Clone, Copy, Debug)]
pub struct Answered {
    /// When it was decided; `None` if only the answer was seen.
    pub committed_at: Option<Instant>,
    /// When it was executed, or its answer came.
    pub executed_at: Instant,
    /// Whether it was decided in one round trip; false if that is not known.
    pub fast: bool,
}

/// Takes commands and answers them.
pub trait Target: Clone + Send + Sync + 'static {
    /// Sends `command` and waits for its answer.
    ///
    /// # Errors
    /// [`ProposeError`], by what is known of its outcome.
    fn propose(
        &self,
        command: &KvCommand,
    ) -> impl Future<Output = Result<Answered, ProposeError>> + Send;

    /// Whether a client in a closed loop goes on after it was told this.
    fn goes_on(&self, error: &ProposeError) -> bool {
        matches!(error, ProposeError::Overloaded)
    }
}

impl Target for Replica<KvStore> {
    async fn propose(&self, command: &KvCommand) -> Result<Answered, ProposeError> {
        let applied = self.propose_traced(command).await?;
        Ok(Answered {
            committed_at: Some(applied.committed_at),
            executed_at: applied.executed_at,
            fast: applied.path == Path::Fast,
        })
    }
}
