//! Running a transaction until it is applied, or certainly not, or bounds are reached.

use std::time::Duration;

use panchayat_core::kv::{KvCommand, KvOutput, OPS_MAX};
use parking_lot::Mutex;
use rand_xoshiro::SplitMix64;
use rand_xoshiro::rand_core::SeedableRng;

use super::error::{Stop, TransactError};
use super::retry::Retry;
use super::store::{Store, Unanswered};
use super::txn::Txn;
use crate::session::Requests;

/// Runs transactions against a store. See the [module](super).
#[derive(Debug)]
pub struct Transactions<C> {
    store: C,
    retry: Retry,
    requests: Requests,
    rng: Mutex<SplitMix64>,
}

/// What became of the command of a transaction.
enum Verdict {
    Holds,
    Changed,
}

impl<C: Store + Clone> Transactions<C> {
    /// Against `store`: a [`Replica`](crate::Replica) or a [`RemoteClient`](crate::RemoteClient).
    pub fn new(store: C) -> Self {
        let requests = Requests::new();
        let rng = Mutex::new(SplitMix64::seed_from_u64(requests.client().0 as u64));
        Self { store, retry: Retry::default(), requests, rng }
    }

    /// With other bounds.
    pub fn with_retry(mut self, retry: Retry) -> Self {
        self.retry = retry;
        self
    }

    /// Runs `body`, and applies what it wants to write if what it read still holds; runs it again
    /// if not. Gives what the run returned that was applied.
    ///
    /// # Errors
    /// [`TransactError`]; ask it whether that is certain. If the returned future is dropped, the
    /// outcome is unknown.
    pub async fn run<T, E, F>(
        &self,
        mut body: impl FnMut(Txn<C>) -> F,
    ) -> Result<T, TransactError<E>>
    where
        F: Future<Output = Result<T, Stop<E>>>,
    {
        let mut last = String::new();
        let mut changed = false;
        for attempt in 0..self.retry.attempts_max {
            if attempt > 0 {
                self.pause(attempt - 1).await;
            }
            let txn = Txn::new(self.store.clone(), attempt > 0);
            let result = match body(txn.clone()).await {
                Ok(value) => Ok(value),
                Err(Stop::Abort(why)) => Err(why),
                Err(Stop::Interrupted(interrupted)) if interrupted.0.is_passing => {
                    (last, changed) = (interrupted.0.reason, false);
                    continue;
                }
                Err(Stop::Interrupted(interrupted)) => {
                    return Err(TransactError::NotApplied(interrupted.0.reason));
                }
            };
            if txn.keys() > OPS_MAX {
                let (keys, keys_max) = (txn.keys(), OPS_MAX);
                return Err(TransactError::TooManyKeys { keys, keys_max });
            }
            match self.settle(txn.into_command(result.is_ok())).await {
                Ok(Verdict::Holds) => return result.map_err(TransactError::Aborted),
                Ok(Verdict::Changed) => changed = true,
                Err(unanswered) if unanswered.is_unknown => {
                    return Err(TransactError::InDoubt(unanswered.reason));
                }
                Err(unanswered) if unanswered.is_passing => {
                    (last, changed) = (unanswered.reason, false);
                }
                Err(unanswered) => return Err(TransactError::NotApplied(unanswered.reason)),
            }
        }
        let attempts = self.retry.attempts_max;
        Err(if changed {
            TransactError::Contended { attempts }
        } else {
            TransactError::NotApplied(last)
        })
    }

    /// Proposes `command` as one request, again and again while its outcome is unknown.
    async fn settle(&self, command: KvCommand) -> Result<Verdict, Unanswered> {
        if let KvCommand::Transaction { conditions, ops } = &command
            && conditions.is_empty()
            && ops.is_empty()
        {
            return Ok(Verdict::Holds);
        }
        let request = self.requests.next();
        let mut unknown: Option<Unanswered> = None;
        for attempt in 0..self.retry.attempts_max {
            if attempt > 0 {
                self.pause(attempt - 1).await;
            }
            match self.store.attempt(request, &command).await {
                Ok(KvOutput::Committed(_)) => return Ok(Verdict::Holds),
                Ok(KvOutput::ConditionFailed { .. }) => return Ok(Verdict::Changed),
                Ok(other) => return Err(Unanswered::unexpected(&other)),
                Err(error) if error.is_unknown && error.is_passing => unknown = Some(error),
                // That this attempt had no effect says nothing of an earlier one.
                Err(error) if unknown.is_some() && error.is_passing => {}
                Err(error) => {
                    let is_unknown = error.is_unknown || unknown.is_some();
                    return Err(Unanswered { is_unknown, ..error });
                }
            }
        }
        Err(unknown.unwrap_or_else(|| Unanswered {
            is_unknown: false,
            is_passing: false,
            reason: "no attempt is allowed".to_owned(),
        }))
    }

    async fn pause(&self, failures: u32) {
        let pause: Duration = self.retry.drawn(failures, &mut self.rng.lock());
        tokio::time::sleep(pause).await;
    }
}
