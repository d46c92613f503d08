//! The command line of `put`, `get` and `txn`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::cli::{DATA_DIR, seconds};
use crate::txn::{Assignment, Op};

/// Set a key of a running cluster
#[derive(Debug, Args)]
#[command(after_help = CLIENT_EXIT_CODES)]
pub(crate) struct Put {
    /// The key
    pub(crate) key: String,

    /// Its new value
    pub(crate) value: String,

    #[command(flatten)]
    pub(crate) target: Target,
}

/// Read a key of a running cluster
///
/// The read is ordered with all writes: it sees everything that was answered, in any city, before
/// it was sent. Prints the value and a newline.
#[derive(Debug, Args)]
#[command(after_help = GET_EXIT_CODES)]
pub(crate) struct Get {
    /// The key
    pub(crate) key: String,

    #[command(flatten)]
    pub(crate) target: Target,
}

/// Check conditions and change keys of a running cluster, all or nothing
///
/// If every condition holds, all operations are applied, in order; otherwise none is. Conditions
/// are checked when the transaction is executed, in the same order in every city.
#[derive(Debug, Args)]
#[command(after_help = TXN_HELP)]
pub(crate) struct Txn {
    /// The key must have this value
    #[arg(long = "if", value_name = "KEY=VALUE")]
    pub(crate) if_equal: Vec<Assignment>,

    /// The key must not exist
    #[arg(long, value_name = "KEY")]
    pub(crate) if_absent: Vec<String>,

    /// put:KEY=VALUE, get:KEY, del:KEY, append:KEY=SUFFIX, add:KEY=NUMBER or cas:KEY:OLD:NEW
    #[arg(value_name = "OP", required_unless_present_any = ["if_equal", "if_absent"])]
    pub(crate) ops: Vec<Op>,

    #[command(flatten)]
    pub(crate) target: Target,
}

/// The cluster to talk to, and how.
#[derive(Debug, Args)]
pub(crate) struct Target {
    /// City to talk to [default: the first of the set]
    #[arg(long)]
    pub(crate) site: Option<String>,

    /// Data directory of the running cluster
    #[arg(long, value_name = "DIR", default_value = DATA_DIR)]
    pub(crate) data_dir: PathBuf,

    /// How long to wait for an answer; without one the outcome is unknown
    #[arg(long, value_name = "S", default_value = "10", value_parser = seconds)]
    pub(crate) timeout: Duration,

    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

const CLIENT_EXIT_CODES: &str = "\
Exit codes:
  0  applied
  1  failed, and definitely not applied
  2  wrong usage
  3  outcome unknown: it may or may not have been applied, or may still be";

const GET_EXIT_CODES: &str = "\
Exit codes:
  0  the key has a value
  1  there is no such key, or the read failed
  2  wrong usage
  3  no answer";

const TXN_HELP: &str = "\
Operations:
  put:KEY=VALUE      set the key
  get:KEY            read it
  del:KEY            remove it
  append:KEY=SUFFIX  append to its value
  add:KEY=NUMBER     add to its number; additions never wait for each other
  cas:KEY:OLD:NEW    set it to NEW if it is OLD; if it is not, the others are applied all the same
                     (for all or nothing use --if). KEY and OLD cannot contain a colon here.

A key ends at the first `=`; everything after it is the value.

Exit codes:
  0  all conditions held and all operations were applied
  1  a condition did not hold, or the transaction failed: definitely nothing was applied
  2  wrong usage
  3  outcome unknown: all of it may or may not have been applied, or may still be

Examples:
  panchayat txn --if-absent seat:12A put:seat:12A=asha --site delhi
  panchayat txn --if from=10 --if to=2 put:from=7 put:to=5 get:from";
