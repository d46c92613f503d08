//! Spans of a command's phases, for those who trace: `propose` (waits for its replica), `commit` (until
//! it is decided), `execute` (until it is applied), `answer` (until its caller is told), all within one
//! `command`.
//!
//! They have a target of their own, [`TARGET`], at level debug. While nobody listens to it a command costs
//! the look at one flag, and holds nothing.

use std::sync::atomic::{AtomicU64, Ordering};

use panchayat_consensus::{InstanceId, Path};
use tracing::field::{Empty, debug, display};
use tracing::{Level, Span, debug_span};

/// What to listen to: `RUST_LOG=panchayat::command=debug`.
const TARGET: &str = "panchayat::command";

/// Tells the commands of this process apart.
static NUMBERS: AtomicU64 = AtomicU64::new(0);

/// The span of a command and that of its phase, if somebody listens.
#[derive(Debug)]
pub(crate) struct Phases(Option<Box<Open>>);

#[derive(Debug)]
struct Open {
    command: Span,
    phase: Option<Span>,
}

impl Phases {
    /// A command is proposed.
    pub(crate) fn proposed() -> Self {
        if !tracing::span_enabled!(target: TARGET, Level::DEBUG) {
            return Self(None);
        }
        let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
        let command = debug_span!(
            target: TARGET, parent: None, "command", number, thread = Empty, id = Empty,
            path = Empty
        );
        let phase = debug_span!(target: TARGET, parent: &command, "propose");
        Self(Some(Box::new(Open { command, phase: Some(phase) })))
    }

    /// The replica's thread, which this is, has taken it up.
    pub(crate) fn taken(&mut self) {
        let Some(open) = &mut self.0 else { return };
        open.command.record("thread", std::thread::current().name());
        open.begin(debug_span!(target: TARGET, parent: &open.command, "commit"));
    }

    /// It is decided.
    pub(crate) fn committed(&mut self, path: Path) {
        let Some(open) = &mut self.0 else { return };
        open.command.record("path", debug(path));
        open.begin(debug_span!(target: TARGET, parent: &open.command, "execute"));
    }

    /// It is executed, as instance `id`. Its caller will be told before this is dropped.
    pub(crate) fn executed(&mut self, id: InstanceId) {
        let Some(open) = &mut self.0 else { return };
        open.command.record("id", display(id));
        open.begin(debug_span!(target: TARGET, parent: &open.command, "answer"));
    }
}

impl Open {
    /// Ends the phase before, within the command: a line about its end then names that.
    fn begin(&mut self, phase: Span) {
        let ended = self.phase.replace(phase);
        self.command.in_scope(|| drop(ended));
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let ended = self.phase.take();
        self.command.in_scope(|| drop(ended));
    }
}
