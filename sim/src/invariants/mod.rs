//! What is checked, one invariant a file.
//!
//! The checks share no code with what they check: they rebuild what they need from the records and
//! messages that go by.

mod absence;
mod agreement;
mod ballot_reuse;
mod ballots;
mod closed_dependencies;
mod collection;
mod commit_evidence;
mod durable_promise;
mod execution_order;
mod fast_closings;
mod fast_picks;
mod lease_holders;
mod log_collection;
mod log_names;
mod log_order;
mod log_picks;
mod log_progress;
mod log_promises;
mod log_values;
mod one_command;
mod one_value;
mod recovery_evidence;
mod validity;
mod visibility;

pub use absence::Absence;
pub use agreement::{Agreement, Decision};
pub use ballot_reuse::BallotReuse;
pub use ballots::{Ballots, Standing};
pub use closed_dependencies::ClosedDependencies;
pub use collection::Collection;
pub use commit_evidence::CommitEvidence;
pub use durable_promise::{DurablePromise, Held};
pub use execution_order::{ExecutionOrder, Progress};
pub use fast_closings::FastClosings;
pub use fast_picks::{FastPickCounts, FastPicks, FastSizes};
pub use lease_holders::LeaseHolders;
pub use log_collection::LogCollection;
pub use log_names::{LogNames, Name, body};
pub use log_order::LogOrder;
pub use log_picks::LogPicks;
pub use log_progress::LogProgress;
pub use log_promises::{HeldLog, LogPromises};
pub use log_values::{LogValues, Value};
pub use one_command::OneCommand;
pub use one_value::OneValue;
pub use recovery_evidence::{RecoveryEvidence, Reported};
pub use validity::Validity;
pub use visibility::Visibility;
