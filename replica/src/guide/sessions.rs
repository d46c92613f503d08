//! Trying again without applying twice.
//!
//! An attempt can end with nobody knowing what became of it: its replica stopped, or the answer was
//! lost. A [`Request`](crate::Request) names a command, so that all attempts at it, at whatever replicas
//! and in whatever order they arrive, have one effect and one output.
//!
//! ```
//! # use std::time::Duration;
//! # use panchayat::{Replica, Requests, kv::{KvCommand, KvOutput, KvStore}};
//! # async fn f(cities: Vec<Replica<KvStore>>, command: KvCommand) -> Option<KvOutput> {
//! let requests = Requests::new();
//! let request = requests.next();
//! for city in cities.iter().cycle().take(12) {
//!     let attempt = city.propose_request(request, &command);
//!     match tokio::time::timeout(Duration::from_secs(3), attempt).await {
//!         Ok(Ok(output)) => return Some(output),
//!         // Refused, unknown or late: whatever it was, the same request may be tried again.
//!         Ok(Err(_)) | Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
//!     }
//! }
//! None
//! # }
//! ```
//!
//! * An error of one attempt says nothing of the others: after an unknown one, go on until there is an
//!   output, or [`ProposeError::OutputNotKept`](crate::ProposeError::OutputNotKept), which says that one
//!   was applied.
//! * A request is remembered for [`SessionConfig::retention`](crate::SessionConfig::retention) after it was
//!   issued, ten minutes unless changed. What is proposed later has no effect, and what became of earlier
//!   attempts is in doubt for ever.
//! * Clients' clocks may differ from the replicas' by [`SessionConfig::skew`](crate::SessionConfig::skew);
//!   further off they are told so at once.
//! * To recognize a request after the *client* has restarted, keep the `Request` with the command.
//! * What is remembered is part of the replicated state, in snapshots and backups too.
