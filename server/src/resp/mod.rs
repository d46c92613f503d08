//! Redis clients: a listener per replica, a task per connection.
//!
//! A connection's requests are answered in order, and are under way together as far as they do not
//! conflict (see [`groups`]). What a client may make this process hold is bounded (see [`limits`]).
//!
//! | file | what |
//! |---|---|
//! | [`listener`], [`tls`] | accepts connections, up to a limit; in clear or not |
//! | [`connection`] | bytes in, bytes out, timeouts |
//! | [`request`], [`inline`], [`encode`] | the protocol itself |
//! | [`session`] | what a connection remembers; which request goes where |
//! | [`groups`], [`pending`] | requests under way |
//! | [`transaction`] | `WATCH`, `MULTI`, `EXEC` |
//! | [`keyspace`] | what looks at all keys, in all workloads |
//! | [`authentication`] | `AUTH`, `HELLO` |
//! | [`client`], [`server`], [`info`] | about the connection, and about the server |
//! | [`service`], [`health`], [`sweep`] | what all connections of a replica share |

mod authentication;
#[cfg(test)]
mod bounds;
mod client;
mod connection;
mod encode;
mod failure;
mod groups;
mod health;
mod info;
mod inline;
mod keyspace;
mod limits;
mod listener;
#[cfg(test)]
mod partition;
mod pending;
mod registry;
mod request;
mod server;
mod service;
mod session;
mod sweep;
mod tls;
mod transaction;

pub(crate) use limits::{COMMAND_BYTES_MAX, Limits};
pub(crate) use listener::{ListenError, Listener};
pub(crate) use service::{Route, Service, WorkloadHandle};
pub(crate) use tls::{Tls, TlsError};
