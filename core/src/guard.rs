//! In debug builds: what a command touches is compared with its footprint.
//!
//! A footprint that forgets a key makes replicas differ, and only sometimes. Here it fails at the
//! first command. Release builds pay nothing for it. For state machines whose keys are byte strings.

use panchayat_consensus::Mode;
#[cfg(debug_assertions)]
use panchayat_consensus::{Footprint, KeyHash};

use crate::state_machine::StateMachine;

/// The footprint of the command that is being applied; a field of the state machine.
#[derive(Clone, Debug, Default)]
pub struct FootprintGuard {
    #[cfg(debug_assertions)]
    footprint: Option<Footprint>,
}

#[cfg(debug_assertions)]
impl FootprintGuard {
    /// `command` is about to be applied.
    pub fn begin<S: StateMachine>(&mut self, command: &S::Command) {
        self.footprint = Some(S::footprint(command));
    }

    /// The command touches `key`.
    ///
    /// # Panics
    /// In debug builds, if its footprint does not name the key in that mode.
    pub fn check(&self, key: &[u8], mode: Mode) {
        let Some(footprint) = &self.footprint else { return };
        let hash = KeyHash::of(key);
        let found = footprint.keys().binary_search_by_key(&hash, |(key, _)| *key);
        let covers = |named: Mode| named == mode || named == Mode::Write;
        let named = footprint.is_barrier() || found.is_ok_and(|at| covers(footprint.keys()[at].1));
        assert!(
            named,
            "a command touches {:?} in mode {mode:?}, which its footprint does not name",
            String::from_utf8_lossy(key)
        );
    }

    /// It has been applied.
    pub fn end(&mut self) {
        self.footprint = None;
    }
}

#[cfg(not(debug_assertions))]
impl FootprintGuard {
    /// `command` is about to be applied.
    pub fn begin<S: StateMachine>(&mut self, _command: &S::Command) {}

    /// The command touches `key`.
    pub fn check(&self, _key: &[u8], _mode: Mode) {}

    /// It has been applied.
    pub fn end(&mut self) {}
}
