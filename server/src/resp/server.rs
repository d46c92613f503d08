//! What clients ask about the server.

use bytes::Bytes;

use super::info;
use super::service::{Service, wall_now};
use super::session::{Session, unknown_subcommand, wrong_arity};
use crate::redis::{Keys, Reply, Spec, find, specs};

/// Most commands that `COMMAND INFO` or `COMMAND DOCS` tells of at once.
const NAMES_MAX: usize = 1_024;

/// The answer to a command about the server.
pub(super) fn answer(session: &Session, spec: &Spec, args: &[Bytes]) -> Reply {
    let service = &session.service;
    match spec.name {
        "INFO" => info::info(session, args),
        "COMMAND" => command(args),
        "CONFIG" => {
            let name = match &args[0].to_ascii_lowercase()[..] {
                b"get" => "config|get",
                b"set" => "config|set",
                b"resetstat" => "config|resetstat",
                _ => "config",
            };
            match session.require_admin(name) {
                Ok(()) => config(service, args),
                Err(error) => error,
            }
        }
        "TIME" => {
            let now = wall_now().0;
            let part = |number: u64| Reply::bulk(number.to_string());
            Reply::Array(vec![part(now / 1_000_000), part(now % 1_000_000)])
        }
        // Everything that was answered is durable, here and at a majority.
        "LASTSAVE" => Reply::Integer((wall_now().0 / 1_000_000) as i64),
        "WAIT" => Reply::Integer(service.cluster().members.len() as i64 - 1),
        "MEMORY" => unknown_subcommand("MEMORY", &args[0]),
        name => Reply::error(format!("ERR {name} is not possible here")),
    }
}

/// The commands that clients can send.
fn public() -> impl Iterator<Item = &'static Spec> {
    specs().iter().filter(|spec| !spec.name.contains('|'))
}

fn command(args: &[Bytes]) -> Reply {
    let Some(subcommand) = args.first() else {
        return Reply::Array(public().map(described).collect());
    };
    let named = |names: &[Bytes]| -> Vec<Option<&'static Spec>> {
        let known = |name: &Bytes| find(name).filter(|spec| !spec.name.contains('|'));
        names.iter().map(known).collect()
    };
    match (&subcommand.to_ascii_lowercase()[..], &args[1..]) {
        (b"count", []) => Reply::Integer(public().count() as i64),
        (b"list", _) => {
            Reply::Array(public().map(|spec| Reply::bulk(spec.name.to_lowercase())).collect())
        }
        (b"info" | b"docs", names) if names.len() > NAMES_MAX => {
            Reply::error(format!("ERR at most {NAMES_MAX} commands at once"))
        }
        (b"info", []) => Reply::Array(public().map(described).collect()),
        (b"info", names) => {
            let one = |spec: Option<&'static Spec>| spec.map_or(Reply::NullArray, described);
            Reply::Array(named(names).into_iter().map(one).collect())
        }
        (b"docs", []) => Reply::Map(public().map(documented).collect()),
        (b"docs", names) => {
            Reply::Map(named(names).into_iter().flatten().map(documented).collect())
        }
        (b"getkeys", [name, rest @ ..]) if !rest.is_empty() => match find(name) {
            Some(spec) if spec.takes(rest.len()) => {
                let keys: Vec<_> = spec.keys(rest).cloned().map(Reply::Bulk).collect();
                match keys.is_empty() {
                    true => Reply::error("ERR The command has no key arguments"),
                    false => Reply::Array(keys),
                }
            }
            _ => Reply::error("ERR Invalid command specified"),
        },
        (b"count" | b"getkeys", _) => {
            wrong_arity(&format!("command|{}", String::from_utf8_lossy(subcommand).to_lowercase()))
        }
        _ => unknown_subcommand("COMMAND", subcommand),
    }
}

/// First key, last key and step, counted from the name; the last counts from the end if negative.
fn positions(keys: Keys) -> (i64, i64, i64) {
    match keys {
        Keys::None | Keys::Everything | Keys::Counted => (0, 0, 0),
        Keys::First(count) => (1, count.into(), 1),
        Keys::All => (1, -1, 1),
        Keys::Alternate => (1, -1, 2),
        Keys::FirstAndCounted => (1, 1, 1),
    }
}

/// What `COMMAND INFO` says of a command.
fn described(spec: &'static Spec) -> Reply {
    let flag = |text: &'static str| Reply::Simple(text.into());
    let mut flags = Vec::new();
    if spec.writes() {
        flags.push(flag("write"));
    } else if spec.is_data() {
        flags.push(flag("readonly"));
    } else {
        flags.push(flag("fast"));
    }
    if matches!(spec.keys, Keys::Counted | Keys::FirstAndCounted) {
        flags.push(flag("movablekeys"));
    }
    let (first, last, step) = positions(spec.keys);
    Reply::Array(vec![
        Reply::bulk(spec.name.to_lowercase()),
        Reply::Integer(spec.arity.into()),
        Reply::Set(flags),
        Reply::Integer(first),
        Reply::Integer(last),
        Reply::Integer(step),
        Reply::Set(Vec::new()),
        Reply::Set(Vec::new()),
        Reply::Array(Vec::new()),
        Reply::Array(Vec::new()),
    ])
}

/// What `COMMAND DOCS` says of a command.
fn documented(spec: &'static Spec) -> (Reply, Reply) {
    let group = match spec.keys {
        Keys::None => "server",
        _ => "generic",
    };
    let about = vec![
        (Reply::bulk("summary"), Reply::bulk("As in Redis.")),
        (Reply::bulk("since"), Reply::bulk("1.0.0")),
        (Reply::bulk("group"), Reply::bulk(group)),
    ];
    (Reply::bulk(spec.name.to_lowercase()), Reply::Map(about))
}

fn config(service: &Service, args: &[Bytes]) -> Reply {
    match (&args[0].to_ascii_lowercase()[..], &args[1..]) {
        (b"get", [_, ..]) => {
            let limits = &service.limits;
            let settings = [
                ("save", String::new()),
                ("appendonly", "yes".into()),
                ("appendfsync", "always".into()),
                ("databases", "1".into()),
                ("maxmemory", "0".into()),
                ("maxmemory-policy", "noeviction".into()),
                ("maxclients", limits.connections_max.to_string()),
                ("proto-max-bulk-len", limits.request_bytes_max.to_string()),
                ("timeout", limits.idle_timeout.as_secs().to_string()),
            ];
            let asked = |name: &str| {
                args[1..].iter().any(|pattern| crate::redis::matches(pattern, name.as_bytes()))
            };
            let found = settings.into_iter().filter(|(name, _)| asked(name));
            Reply::Map(found.map(|(name, value)| (Reply::bulk(name), Reply::bulk(value))).collect())
        }
        (b"resetstat", []) => Reply::OK,
        (b"set", [_, _, ..]) => {
            Reply::error("ERR this server is configured by its configuration file")
        }
        (b"get" | b"set" | b"resetstat", _) => {
            wrong_arity(&format!("config|{}", String::from_utf8_lossy(&args[0]).to_lowercase()))
        }
        _ => unknown_subcommand("CONFIG", &args[0]),
    }
}
