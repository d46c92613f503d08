//! Messages of the next epoch that come before it has begun here.
//!
//! Without them every change would cost the patience with which protocols send again. What does not fit is
//! lost, as on any network.

use std::collections::VecDeque;

use panchayat_consensus::wire::{Encode, Writer};
use panchayat_consensus::{EpochNumber, ReplicaId};

use crate::message::{Body, Message};

/// Most messages kept...
const MESSAGES_MAX: usize = 1 << 12;
/// ...and most bytes in them.
const BYTES_MAX: usize = 16 << 20;

/// What came too early, in the order in which it came.
#[derive(Clone, Debug, Default, Hash)]
pub(crate) struct Early {
    messages: VecDeque<(ReplicaId, EpochNumber, Body)>,
    bytes: usize,
}

impl Early {
    /// Keeps a message, if there is room.
    pub(crate) fn push(&mut self, from: ReplicaId, epoch: EpochNumber, body: Body) {
        if self.messages.len() >= MESSAGES_MAX {
            return;
        }
        let message = Message::Of { epoch, body };
        let mut encoded = Writer::default();
        message.encode(&mut encoded);
        if self.bytes + encoded.len() > BYTES_MAX {
            return;
        }
        self.bytes += encoded.len();
        if let Message::Of { epoch, body } = message {
            self.messages.push_back((from, epoch, body));
        }
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    pub(crate) fn into_messages(self) -> impl Iterator<Item = (ReplicaId, EpochNumber, Body)> {
        self.messages.into_iter()
    }
}
