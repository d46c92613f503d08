//! What transactions run against: a replica in this process, or one at the other end of a link.

use std::future::Future;

use bytes::Bytes;
use panchayat_consensus::{ReadLevel, Request, Span};
use panchayat_core::kv::{KvAnswer, KvCommand, KvOp, KvOutput, KvQuery, KvStore, KvValue};
use thiserror::Error;

use crate::error::ProposeError;
use crate::remote::RemoteClient;
use crate::replica::Replica;

/// Why a store did not answer.
#[derive(Clone, Debug, Error)]
#[error("{reason}")]
pub struct Unanswered {
    /// Whether the command may have been applied, or may still be.
    pub is_unknown: bool,
    /// Whether it is worth trying again.
    pub is_passing: bool,
    /// In words.
    pub reason: String,
}

/// A key-value store that is reached through one replica.
pub trait Store: Send + Sync {
    /// One attempt at `request`, which is `command`.
    fn attempt(
        &self,
        request: Request,
        command: &KvCommand,
    ) -> impl Future<Output = Result<KvOutput, Unanswered>> + Send;

    /// The values of `keys` at one moment: those of the last moment if `fresh`, else of any.
    fn values(
        &self,
        keys: Vec<Bytes>,
        fresh: bool,
    ) -> impl Future<Output = Result<Vec<KvValue>, Unanswered>> + Send;
}

impl Unanswered {
    fn of(error: &ProposeError) -> Self {
        // What was forgotten stays so.
        let is_final = matches!(
            error,
            ProposeError::TooLarge { .. } | ProposeError::OutputNotKept | ProposeError::Shutdown
        );
        Self { is_unknown: !error.is_certain(), is_passing: !is_final, reason: error.to_string() }
    }

    pub(super) fn unexpected(output: &impl std::fmt::Debug) -> Self {
        let reason = format!("the store answered {output:?}, which is no answer to that");
        Self { is_unknown: true, is_passing: false, reason }
    }
}

impl Store for Replica<KvStore> {
    async fn attempt(&self, request: Request, command: &KvCommand) -> Result<KvOutput, Unanswered> {
        let result = self.propose_request(request, command).await;
        result.map_err(|error| Unanswered::of(&error))
    }

    async fn values(&self, keys: Vec<Bytes>, fresh: bool) -> Result<Vec<KvValue>, Unanswered> {
        let level = match fresh {
            true => ReadLevel::Linearizable,
            false => ReadLevel::Stale { max: Span::MAX },
        };
        match self.read(KvQuery::GetMany { keys }, level).await {
            Ok(reading) => match reading.answer {
                KvAnswer::Values(values) => Ok(values),
                other => Err(Unanswered::unexpected(&other)),
            },
            Err(error) => {
                let is_passing = error != crate::read::ReadError::Shutdown;
                Err(Unanswered { is_unknown: false, is_passing, reason: error.to_string() })
            }
        }
    }
}

impl Store for RemoteClient<KvStore> {
    async fn attempt(&self, request: Request, command: &KvCommand) -> Result<KvOutput, Unanswered> {
        self.propose_request(request, command).await.map_err(|error| match &error {
            crate::remote::RemoteError::Propose(error) => Unanswered::of(error),
            other => Unanswered {
                is_unknown: other.is_unknown(),
                is_passing: true,
                reason: other.to_string(),
            },
        })
    }

    /// Reads are ordered like commands: clients outside have no other way.
    async fn values(&self, keys: Vec<Bytes>, _fresh: bool) -> Result<Vec<KvValue>, Unanswered> {
        let ops = keys.into_iter().map(|key| KvOp::Get { key }).collect();
        let command = KvCommand::Transaction { conditions: Vec::new(), ops };
        let output = self.propose(&command).await.map_err(|error| Unanswered {
            // A read that may have been applied changes nothing.
            is_unknown: false,
            is_passing: true,
            reason: error.to_string(),
        })?;
        let KvOutput::Committed(outputs) = output else {
            return Err(Unanswered::unexpected(&output));
        };
        let value = |output| match output {
            KvOutput::Value(value) => Ok(value),
            other => Err(Unanswered::unexpected(&other)),
        };
        outputs.into_iter().map(value).collect()
    }
}
