//! `panchayat user`: what stands in the configuration about users.

use std::io::{self, BufRead as _, IsTerminal as _, Read as _, Write as _};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};

use crate::access::{PASSWORD_BYTES_MAX, PasswordError, hash};
use crate::errors::CliError;

/// Hash passwords for the users of a configuration
#[derive(Debug, Args)]
pub(crate) struct User {
    #[command(subcommand)]
    action: UserAction,
}

#[derive(Debug, Subcommand)]
enum UserAction {
    /// Read a password from standard input and print the line for the configuration
    ///
    /// The first line counts, without its end. A terminal does not show what is typed.
    Hash {
        /// Print one JSON object instead
        #[arg(long)]
        json: bool,
    },
}

pub(crate) fn run(arguments: &User) -> Result<ExitCode, CliError> {
    let UserAction::Hash { json } = arguments.action;
    let hash = hash(password()?.as_bytes()).map_err(CliError::Password)?;
    let line = match json {
        true => serde_json::json!({ "password": hash }).to_string(),
        false => format!("password: \"{hash}\""),
    };
    writeln!(io::stdout(), "{line}").map_err(CliError::Print)?;
    Ok(ExitCode::SUCCESS)
}

fn password() -> Result<String, CliError> {
    let failed = |source| CliError::File { path: "standard input".into(), source };
    let stdin = io::stdin();
    let hidden = if stdin.is_terminal() { Some(Hidden::begin().map_err(failed)?) } else { None };
    let mut line = String::new();
    // A byte too many tells that it is too long.
    let most = PASSWORD_BYTES_MAX as u64 + 3;
    let read = stdin.lock().take(most).read_line(&mut line);
    drop(hidden);
    read.map_err(failed)?;
    let password = line.strip_suffix('\n').unwrap_or(&line);
    let password = password.strip_suffix('\r').unwrap_or(password);
    if password.len() > PASSWORD_BYTES_MAX {
        return Err(CliError::Password(PasswordError::Length));
    }
    Ok(password.to_owned())
}

/// A terminal that shows nothing of what is typed, until this is dropped.
struct Hidden {
    before: rustix::termios::Termios,
}

impl Hidden {
    fn begin() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        tcsetattr(io::stdin(), OptionalActions::Flush, &silent)?;
        let _ = write!(io::stderr(), "password: ");
        Ok(Self { before })
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), OptionalActions::Flush, &self.before);
        let _ = writeln!(io::stderr());
    }
}
