//! The admin port of a replica: what operators and their tools ask over HTTP. It only tells; nothing
//! can be changed here.
//!
//! | path | answer |
//! |---|---|
//! | `/` | a live page of the whole cluster |
//! | `/status` | how this replica stands, as JSON: [`status::Status`] |
//! | `/cluster` | the same of all members, as this one gets it from their admin ports |
//! | `/explain` | what a key or an instance waits for, and who holds it up |
//! | `/metrics` | for Prometheus, in the OpenMetrics text format |
//! | `/healthz` | 200 if a quorum can be reached, or 503 and why not |
//! | `/readyz` | 200 if it has caught up and serves, or 503 and why not |
//!
//! There are no passwords here: it listens on loopback unless the configuration says otherwise.
//!
//! | file | what |
//! |---|---|
//! | [`listener`] | HTTP: connections, limits, who answers what |
//! | [`observed`] | what is known of a replica, now and some seconds ago |
//! | [`status`] | the answer to `/status`, whose names are stable |
//! | [`measure`], [`slow`] | make it from what was observed |
//! | [`explain`] | the answer to `/explain` |
//! | [`prometheus`] | the answer to `/metrics` |
//! | [`client`], [`cluster`] | asks other admin ports |

mod client;
mod cluster;
mod explain;
mod listener;
mod measure;
mod observed;
mod prometheus;
mod slow;
pub(crate) mod status;

pub(crate) use client::{AskError, get};
pub(crate) use cluster::{Cluster, Peer};
pub(crate) use explain::encoded;
pub(crate) use listener::{Admin, BindError};
pub(crate) use observed::Observed;
pub(crate) use status::Member;
