//! `clients:` of the configuration: where Redis clients connect, and how they are kept apart from
//! everybody else.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use panchayat::topology::yaml::{Fields, Node, Position, Read, Source, Value};

use super::config::address;

/// Where and how clients connect.
#[derive(Debug)]
pub(crate) struct ClientsConfig {
    pub(crate) listen: SocketAddr,
    /// In clear if there is none.
    pub(crate) tls: Option<TlsFiles>,
}

/// The files of TLS for clients, all PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TlsFiles {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
    /// Of whose certificates clients have to show one, if they have to.
    pub(crate) client_ca: Option<PathBuf>,
}

/// Reads the section. `has_users` says whether there are any: without, whoever connects may do
/// everything.
pub(super) fn read(
    source: &Source<'_>,
    node: Option<Node>,
    dir: &Path,
    has_users: bool,
) -> Read<ClientsConfig> {
    let loopback = SocketAddr::from(([127, 0, 0, 1], 6379));
    let Some(node) = node else { return Ok(ClientsConfig { listen: loopback, tls: None }) };
    let known = ["listen", "tls", "clear_beyond_loopback"];
    let mut fields = Fields::open(source, "`clients`", node, &known)?;
    let (listen, at) = match fields.optional("listen") {
        None => (loopback, Position::START),
        Some(node) => address(source, "listen", node)?,
    };
    let tls = match fields.optional("tls") {
        None => None,
        Some(node) => Some(tls(source, node, dir)?),
    };
    let clear = flag(source, "clear_beyond_loopback", fields.optional("clear_beyond_loopback"))?;
    if listen.ip().is_loopback() {
        return Ok(ClientsConfig { listen, tls });
    }
    if tls.is_none() && !clear {
        let message = "clients beyond this machine would be served in clear";
        let help = "add `tls` with `certificate` and `key`, listen on 127.0.0.1, or say \
                    `clear_beyond_loopback: true` if the network is safe";
        return Err(source.mistake(at, message, help));
    }
    let certified = tls.as_ref().is_some_and(|tls| tls.client_ca.is_some());
    if !has_users && !certified && !clear {
        let message = "whoever reaches this port could read and write everything";
        let help = "add `users`, or `client_ca` below `tls`; with `clear_beyond_loopback: true` \
                    anyone may connect all the same";
        return Err(source.mistake(at, message, help));
    }
    Ok(ClientsConfig { listen, tls })
}

fn tls(source: &Source<'_>, node: Node, dir: &Path) -> Read<TlsFiles> {
    let mut fields = Fields::open(source, "`tls`", node, &["certificate", "key", "client_ca"])?;
    Ok(TlsFiles {
        certificate: dir.join(fields.text("certificate", "a PEM file, the server's first in it")?),
        key: dir.join(fields.text("key", "a PEM file")?),
        client_ca: fields.optional_text("client_ca")?.map(|file| dir.join(file)),
    })
}

/// A yes or no that is no unless it is there.
pub(super) fn flag(source: &Source<'_>, key: &str, node: Option<Node>) -> Read<bool> {
    match node {
        None => Ok(false),
        Some(Node { value: Value::Bool(flag), .. }) => Ok(flag),
        Some(Node { value, at }) => {
            let found = value.describe();
            let message = format!("`{key}` must be true or false, found {found}");
            Err(source.mistake(at, message, ""))
        }
    }
}
