//! A change, tried until it is made or cannot be.

use std::time::Duration;

use tokio::sync::oneshot;

use super::{Change, ChangeError};
use crate::inbox::{Event, Inbox};

/// How often a change is tried that others overtake.
const TRIES: usize = 50;
/// How long before it is tried again.
const AGAIN: Duration = Duration::from_millis(200);

/// Makes `change` at the replica behind `inbox`.
pub(crate) async fn make<O>(inbox: &Inbox<O>, change: &Change) -> Result<(), ChangeError> {
    for _ in 1..TRIES {
        match attempt(inbox, change).await {
            Err(ChangeError::Overtaken) => tokio::time::sleep(AGAIN).await,
            result => return result,
        }
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
