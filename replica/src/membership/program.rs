//! Whether all members run programs that know what is asked for.

use panchayat_consensus::ReplicaSet;
use panchayat_epochs::Epochs;
use panchayat_transport::Mesh;

use super::{Change, ChangeError};

/// The wire version from which on programs know adaptive groups.
const ADAPTIVE_SINCE: u8 = 3;

/// Whether the members' programs know what `change` asks for. Of one that is suspected nobody knows: if it is older,
/// it will say so and end.
///
/// # Errors
/// [`ChangeError::TooOld`], or [`ChangeError::UnknownProgram`] while there is no link to ask.
pub(crate) fn check_programs(
    epochs: &Epochs,
    mesh: &Mesh,
    change: &Change,
    suspected: ReplicaSet,
) -> Result<(), ChangeError> {
    let Some(epoch) = epochs.epoch().filter(|_| change.makes_adaptive()) else { return Ok(()) };
    for member in epoch.members.iter().filter(|member| member.place != epochs.place()) {
        let node = member.node;
        match mesh.wire_version(node) {
            Some(version) if version < ADAPTIVE_SINCE => return Err(ChangeError::TooOld { node }),
            None if !suspected.contains(member.place) => {
                return Err(ChangeError::UnknownProgram { node });
            }
            _ => {}
        }
    }
    Ok(())
}
