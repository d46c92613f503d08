//! Being told to stop.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::errors::CliError;

/// Ctrl-C or SIGTERM.
pub(crate) struct Stop {
    interrupt: Signal,
    terminate: Signal,
}

impl Stop {
    /// Listens from now on.
    pub(crate) fn listen() -> Result<Self, CliError> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt()).map_err(CliError::Signals)?,
            terminate: signal(SignalKind::terminate()).map_err(CliError::Signals)?,
        })
    }

    /// Waits for one; the next call waits for the next.
    pub(crate) async fn asked(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// SIGHUP from here on, which ends the process otherwise.
pub(crate) fn hangup() -> Result<Signal, CliError> {
    signal(SignalKind::hangup()).map_err(CliError::Signals)
}
