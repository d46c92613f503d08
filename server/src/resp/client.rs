//! What a client says of itself, and asks about connections.

use std::sync::Arc;

use bytes::Bytes;

use super::registry::Peer;
use super::session::{Session, shown, unknown_subcommand, wrong_arity};
use crate::redis::{Reply, parse_integer};

/// The version of Redis whose behaviour this server follows.
pub(super) const REDIS_VERSION: &str = "7.2.0";

const SYNTAX: &str = "ERR syntax error";

/// Longest name of a client, or text that it says of its library.
const NAME_BYTES_MAX: usize = 256;

fn set_name(session: &Session, name: &[u8]) -> Reply {
    if let Err(error) = check_name("Client names", name) {
        return error;
    }
    session.peer.about.lock().name = String::from_utf8_lossy(name).into_owned();
    Reply::OK
}

/// Whether a client may say so of itself; `what` it says.
pub(super) fn check_name(what: &str, text: &[u8]) -> Result<(), Reply> {
    if text.len() > NAME_BYTES_MAX {
        return Err(Reply::error(format!(
            "ERR {what} cannot be longer than {NAME_BYTES_MAX} bytes."
        )));
    }
    if !text.iter().all(|byte| (b'!'..=b'~').contains(byte)) {
        let rule = "cannot contain spaces, newlines or special characters.";
        return Err(Reply::error(format!("ERR {what} {rule}")));
    }
    Ok(())
}

fn set_info(session: &Session, attribute: &[u8], value: &[u8]) -> Reply {
    let attribute = shown(attribute);
    if let Err(error) = check_name(&attribute.to_lowercase(), value) {
        return error;
    }
    let value = String::from_utf8_lossy(value).into_owned();
    let mut about = session.peer.about.lock();
    if attribute.eq_ignore_ascii_case("lib-name") {
        about.library = value;
    } else if attribute.eq_ignore_ascii_case("lib-ver") {
        about.library_version = value;
    } else {
        return Reply::error(format!("ERR Unrecognized option '{attribute}'"));
    }
    Reply::OK
}

/// `CLIENT`.
pub(super) fn client(session: &mut Session, args: &[Bytes]) -> Reply {
    let subcommand = args[0].to_ascii_lowercase();
    let rest = &args[1..];
    let arity = |fits: bool, reply: Reply| match fits {
        true => reply,
        false => wrong_arity(&format!("client|{}", String::from_utf8_lossy(&subcommand))),
    };
    match (&subcommand[..], rest) {
        (b"id", _) => arity(rest.is_empty(), Reply::Integer(session.peer.id as i64)),
        (b"getname", []) => {
            let name = session.peer.about.lock().name.clone();
            if name.is_empty() { Reply::Null } else { Reply::bulk(name) }
        }
        (b"setname", [name]) => set_name(session, name),
        (b"setinfo", [attribute, value]) => set_info(session, attribute, value),
        (b"info", []) => Reply::Text(format!("{}\n", session.peer.line()).into()),
        (b"list", _) => match session.require_admin("client|list") {
            Ok(()) => list(session, rest),
            Err(error) => error,
        },
        (b"kill", [_, ..]) => match session.require_admin("client|kill") {
            Ok(()) => kill(session, rest),
            Err(error) => error,
        },
        // Nothing is ever evicted, and nothing keeps count of what is looked at.
        (b"no-evict" | b"no-touch", [_]) => on_or_off(&rest[0]),
        (b"reply", [mode]) if mode.eq_ignore_ascii_case(b"on") => Reply::OK,
        (b"reply", [_]) => Reply::error("ERR this server always replies"),
        (b"tracking", [mode, ..]) if mode.eq_ignore_ascii_case(b"off") => Reply::OK,
        (b"tracking", _) => Reply::error("ERR client tracking is not supported"),
        (b"unpause", []) => Reply::OK,
        (
            b"getname" | b"setname" | b"setinfo" | b"info" | b"kill" | b"no-evict" | b"no-touch"
            | b"reply" | b"unpause",
            _,
        ) => arity(false, Reply::OK),
        _ => unknown_subcommand("CLIENT", &args[0]),
    }
}

fn on_or_off(mode: &[u8]) -> Reply {
    match mode.eq_ignore_ascii_case(b"on") || mode.eq_ignore_ascii_case(b"off") {
        true => Reply::OK,
        false => Reply::error(SYNTAX),
    }
}

fn list(session: &Session, args: &[Bytes]) -> Reply {
    let lines = |peers: Vec<Arc<Peer>>| {
        let lines: String = peers.iter().map(|peer| peer.line() + "\n").collect();
        Reply::Text(lines.into())
    };
    let all = session.service.registry.peers();
    match args {
        [] => lines(all),
        [option, kind] if option.eq_ignore_ascii_case(b"type") => {
            let normal = kind.eq_ignore_ascii_case(b"normal");
            lines(if normal { all } else { Vec::new() })
        }
        [option, ids @ ..] if option.eq_ignore_ascii_case(b"id") && !ids.is_empty() => {
            let ids: Option<Vec<i64>> = ids.iter().map(|id| parse_integer(id)).collect();
            let Some(ids) = ids else { return Reply::error("ERR Invalid client ID") };
            lines(all.into_iter().filter(|peer| ids.contains(&(peer.id as i64))).collect())
        }
        _ => Reply::error(SYNTAX),
    }
}

fn kill(session: &Session, args: &[Bytes]) -> Reply {
    let peers = session.service.registry.peers();
    let own = session.peer.id;
    if let [addr] = args {
        let addr = String::from_utf8_lossy(addr);
        let Some(peer) = peers.iter().find(|peer| peer.addr.to_string() == addr) else {
            return Reply::error("ERR No such client");
        };
        peer.kill();
        return Reply::OK;
    }
    let (mut id, mut addr, mut skip_me) = (None, None, true);
    let mut pairs = args.chunks_exact(2);
    for pair in &mut pairs {
        let is = |name: &[u8]| pair[0].eq_ignore_ascii_case(name);
        if is(b"id") {
            let Some(value) = parse_integer(&pair[1]).filter(|id| *id > 0) else {
                return Reply::error("ERR client-id should be greater than 0");
            };
            id = Some(value as u64);
        } else if is(b"addr") {
            addr = Some(String::from_utf8_lossy(&pair[1]).into_owned());
        } else if is(b"skipme") {
            skip_me = pair[1].eq_ignore_ascii_case(b"yes");
        } else if !is(b"type") {
            return Reply::error(SYNTAX);
        }
    }
    if !pairs.remainder().is_empty() {
        return Reply::error(SYNTAX);
    }
    let meant = |peer: &&Arc<Peer>| {
        id.is_none_or(|id| peer.id == id)
            && addr.as_ref().is_none_or(|addr| peer.addr.to_string() == *addr)
            && (!skip_me || peer.id != own)
    };
    let killed: Vec<_> = peers.iter().filter(meant).collect();
    killed.iter().for_each(|peer| peer.kill());
    Reply::Integer(killed.len() as i64)
}
