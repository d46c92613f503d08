//! What operators do: members come and go, lost ones are replaced, protocols change.

use bytes::Bytes;
use panchayat_consensus::{ReplicaId, ReplicaSet};
use panchayat_epochs::{Epoch, Epochs, Member, Order};

use super::member_at;

/// Fewest and most members that operators leave a group with.
const MEMBERS: std::ops::RangeInclusive<usize> = 3..=7;

/// What an operator wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// One more member.
    Add,
    /// Two more.
    AddTwo,
    /// One fewer.
    Remove,
    /// Two fewer.
    RemoveTwo,
    /// One member for another.
    Replace,
    /// A member loses its disk, and another takes its place.
    LoseDisk,
    /// Another protocol.
    Switch(Order),
    /// The same again: only the number grows.
    Reseal,
}

impl Change {
    /// What it is called in coverage.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Add => "change_add",
            Self::AddTwo => "change_add_two",
            Self::Remove => "change_remove",
            Self::RemoveTwo => "change_remove_two",
            Self::Replace => "change_replace",
            Self::LoseDisk => "change_lost_disk",
            Self::Switch(_) => "change_switch",
            Self::Reseal => "change_reseal",
        }
    }
}

/// A change, and when somebody wants it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedChange {
    /// When.
    pub at_us: u64,
    /// What.
    pub change: Change,
    /// Which of those that could be meant.
    pub choice: u64,
}

/// The epoch that an operator proposes at a replica, as that one knows its group; `choice` picks who it
/// concerns. Whoever is `lost` goes first. Nothing if it cannot be.
pub(super) fn next_epoch(
    replica: &Epochs,
    change: &Change,
    choice: u64,
    lost: ReplicaSet,
    places: usize,
) -> Option<Epoch> {
    let epoch = replica.epoch()?;
    let (mut members, mut order) = (epoch.members.clone(), epoch.order);
    // Numbers grow: whoever joins has a place above all before it.
    let mut free = epoch.highest_node.0;
    let mut join = || -> Option<Member> {
        let place = ReplicaId(free as u8);
        free += 1;
        (place.index() < places).then(|| member_at(place))
    };
    let leaving = |members: &[Member]| {
        let gone = members.iter().position(|member| lost.contains(member.place));
        gone.unwrap_or(choice as usize % members.len())
    };
    match change {
        Change::Add => members.push(join()?),
        Change::AddTwo => {
            members.push(join()?);
            members.push(join()?);
        }
        Change::Remove => _ = members.remove(leaving(&members)),
        Change::RemoveTwo => {
            members.remove(leaving(&members));
            members.remove(leaving(&members));
        }
        Change::Replace | Change::LoseDisk => {
            let seat = leaving(&members);
            members[seat] = join()?;
        }
        Change::Switch(to) => order = *to,
        Change::Reseal => {}
    }
    if choice.is_multiple_of(3) {
        // Seats are not places.
        members.rotate_left(1);
    }
    let next = epoch.next(order, Bytes::new(), members);
    let stays = next.members.iter().filter(|member| !lost.contains(member.place));
    let enough = stays.count() >= next.slow_quorum();
    let fits = MEMBERS.contains(&next.members.len()) && enough;
    (fits && replica.check_next(&next).is_ok()).then_some(next)
}
