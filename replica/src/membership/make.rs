//! A change, tried until it is made or cannot be.

use std::time::Duration;

use tokio::sync::oneshot;

use super::{Change, ChangeError};
use crate::inbox::{Event, Inbox};

/// How often a change is tried that others overtake.
const TRIES: usize = 50;
/// How often one is tried for which too few members seem to have the state.
const TRIES_OF_NEW: usize = 5;
/// How long before it is tried again.
const AGAIN: Duration = Duration::from_millis(200);

/// Makes `change` at the replica behind `inbox`.
pub(crate) async fn make<O>(inbox: &Inbox<O>, change: &Change) -> Result<(), ChangeError> {
    let mut too_few = 0;
    for _ in 1..TRIES {
        match attempt(inbox, change).await {
            Err(ChangeError::Overtaken) => too_few = 0,
            // An epoch that has just begun: others have yet to say that they have come to it.
            Err(ChangeError::TooFewAlive { .. }) if too_few < TRIES_OF_NEW => too_few += 1,
            result => return result,
        }
        tokio::time::sleep(AGAIN).await;
    }
    attempt(inbox, change).await
}

async fn attempt<O>(inbox: &Inbox<O>, change: &Change) -> Result<(), ChangeError> {
    let (reply, answer) = oneshot::channel();
    if !inbox.tell(Event::Change(Box::new(change.clone()), reply)) {
        return Err(ChangeError::NotMade("the replica has stopped"));
    }
    let in_doubt = ChangeError::InDoubt("the replica stopped before it heard");
    answer.await.unwrap_or(Err(in_doubt))
}
