//! The part of a configuration about the admin port.

use std::net::{Ipv4Addr, SocketAddr};

use panchayat::topology::yaml::{Fields, Node, Read, Source, named_entries};

use super::clients::flag;
use super::config::{MEMBERS_MAX, address, among};
use crate::admin::Peer;

/// Where the replica tells how it stands, and where the others do.
#[derive(Debug)]
pub(crate) struct AdminConfig {
    /// Any free port of this machine unless it is said.
    pub(crate) listen: SocketAddr,
    /// All members, in the order of the set; without addresses where none is said.
    pub(crate) peers: Vec<Peer>,
}

/// Reads `admin`, for members that are `sites`.
pub(super) fn admin(
    source: &Source<'_>,
    node: Option<Node>,
    sites: &[String],
) -> Read<AdminConfig> {
    let peers = sites.iter().map(|city| Peer { city: city.clone(), admin: None }).collect();
    let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let mut admin = AdminConfig { listen, peers };
    let Some(node) = node else { return Ok(admin) };
    let known = ["listen", "clear_beyond_loopback", "peers"];
    let mut fields = Fields::open(source, "`admin`", node, &known)?;
    let listen = fields.optional("listen");
    let clear = flag(source, "clear_beyond_loopback", fields.optional("clear_beyond_loopback"))?;
    if let Some(node) = listen {
        let at = node.at;
        (admin.listen, _) = address(source, "listen", node)?;
        if !admin.listen.ip().is_loopback() && !clear {
            let message = "anyone beyond this machine could read the admin pages, in clear";
            let help =
                "listen on 127.0.0.1, or say `clear_beyond_loopback: true` if the network is safe";
            return Err(source.mistake(at, message, help));
        }
    }
    if let Some(node) = fields.optional("peers") {
        for (key, node) in named_entries(source, "peers", node, MEMBERS_MAX)? {
            let Some(peer) = admin.peers.iter_mut().find(|peer| peer.city == key.text) else {
                let message = format!("`{}` is no city of the set", key.text);
                return Err(source.mistake(key.at, message, among(sites)));
            };
            let (addr, _) = address(source, &key.text, node)?;
            peer.admin = Some(addr);
        }
    }
    Ok(admin)
}
