//! Which workload a key of the key-value store belongs to, by its prefix.

use bytes::Bytes;
use panchayat_consensus::ReadLevel;
use panchayat_core::Reading;
use panchayat_core::kv::{KvAnswer, KvCommand, KvOp, KvOutput, KvQuery, KvStore};
use thiserror::Error;

use crate::error::ProposeError;
use crate::read::ReadError;
use crate::replica::Replica;

/// Several key-value workloads behind one face: each key is in the workload whose prefix it begins
/// with, the longest if several do.
///
/// A command or a query stays within one workload. What touches several is refused, since nothing
/// orders the commands of one group among those of another: half of it could be seen.
///
/// All programs that use a cluster must route alike, always: a key that was written through another
/// route is in another store.
#[derive(Clone, Debug)]
pub struct KvRouter {
    /// The longest prefix first.
    routes: Vec<(Bytes, Replica<KvStore>)>,
    rest: Replica<KvStore>,
}

/// Why a command was not routed, or what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RouteError<E> {
    /// It was not applied: its keys are in several workloads.
    #[error(
        "not applied: the prefixes of keys {first:?} and {other:?} put them into different \
         workloads, and a command is in one"
    )]
    CrossWorkload {
        /// One of its keys.
        first: Bytes,
        /// A key of another workload.
        other: Bytes,
    },
    /// The workload's word.
    #[error(transparent)]
    Workload(#[from] E),
}

impl KvRouter {
    /// Every key is in `rest`, unless a [`route`](Self::route) says otherwise.
    pub fn new(rest: Replica<KvStore>) -> Self {
        Self { routes: Vec::new(), rest }
    }

    /// Keys that begin with `prefix` are in `workload`.
    ///
    /// # Panics
    /// If the prefix is empty, or has a route.
    pub fn route(mut self, prefix: impl Into<Bytes>, workload: Replica<KvStore>) -> Self {
        let prefix = prefix.into();
        assert!(!prefix.is_empty(), "the workload of all other keys is given to `new`");
        assert!(self.routes.iter().all(|(other, _)| *other != prefix), "{prefix:?} has a route");
        self.routes.push((prefix, workload));
        self.routes.sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.len()));
        self
    }

    /// The workload of `key`.
    pub fn of(&self, key: &[u8]) -> &Replica<KvStore> {
        let route = self.routes.iter().find(|(prefix, _)| key.starts_with(prefix));
        route.map_or(&self.rest, |(_, workload)| workload)
    }

    /// Proposes `command` in the workload of its keys.
    ///
    /// # Errors
    /// [`RouteError::CrossWorkload`], or as [`Replica::propose`].
    pub async fn propose(&self, command: &KvCommand) -> Result<KvOutput, RouteError<ProposeError>> {
        let workload = match command {
            KvCommand::One(op) => self.of(op.key()),
            KvCommand::Transaction { conditions, ops } => {
                let conditions = conditions.iter().map(|condition| condition.key());
                self.of_all(conditions.chain(ops.iter().map(KvOp::key)))?
            }
        };
        Ok(workload.propose(command).await?)
    }

    /// Answers `query` from the workload of its keys.
    ///
    /// # Errors
    /// [`RouteError::CrossWorkload`], or as [`Replica::read`].
    pub async fn read(
        &self,
        query: KvQuery,
        level: ReadLevel,
    ) -> Result<Reading<KvAnswer>, RouteError<ReadError>> {
        let workload = self.of_all(query.keys())?;
        Ok(workload.read(query, level).await?)
    }

    fn of_all<'a, E>(
        &self,
        keys: impl IntoIterator<Item = &'a Bytes>,
    ) -> Result<&Replica<KvStore>, RouteError<E>> {
        let mut first: Option<(&Bytes, &Replica<KvStore>)> = None;
        for key in keys {
            let workload = self.of(key);
            match first {
                None => first = Some((key, workload)),
                Some((other, there)) if !there.is_same(workload) => {
                    return Err(RouteError::CrossWorkload {
                        first: other.clone(),
                        other: key.clone(),
                    });
                }
                Some(_) => {}
            }
        }
        Ok(first.map_or(&self.rest, |(_, workload)| workload))
    }
}
