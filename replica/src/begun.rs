//! Proposals and queries that were handed in, and whose results are to come.
//!
//! An `async fn` does nothing until it is awaited. Who proposes several commands at once, and cares
//! in which order, hands them in first and awaits them afterwards.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use panchayat_consensus::ReadRefusal;
use panchayat_core::Reading;
use tokio::sync::oneshot;

use crate::applied::Applied;
use crate::error::ProposeError;
use crate::read::ReadError;

/// A command that was proposed: see [`Replica::begin`](crate::Replica::begin). Dropped before its
/// end, its outcome is unknown.
#[must_use = "the outcome is here"]
pub struct Begun<O>(pub(crate) oneshot::Receiver<Result<Applied<O>, ProposeError>>);

/// A query that was asked: see [`Replica::ask`](crate::Replica::ask).
#[must_use = "the answer is here"]
pub struct Asked<A>(pub(crate) oneshot::Receiver<Result<Reading<A>, ReadRefusal>>);

impl<O> Future for Begun<O> {
    type Output = Result<Applied<O>, ProposeError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // Without a word the thread has gone.
        Pin::new(&mut self.0).poll(cx).map(|word| word.unwrap_or(Err(ProposeError::Unknown)))
    }
}

impl<A> Future for Asked<A> {
    type Output = Result<Reading<A>, ReadError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map(|word| match word {
            Ok(result) => result.map_err(ReadError::Refused),
            Err(_) => Err(ReadError::Shutdown),
        })
    }
}

impl<O> fmt::Debug for Begun<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Begun").finish_non_exhaustive()
    }
}

impl<A> fmt::Debug for Asked<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Asked").finish_non_exhaustive()
    }
}
