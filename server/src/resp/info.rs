//! `INFO`.

use std::fmt::Write as _;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::client::REDIS_VERSION;
use super::health::{majority, reached};
use super::service::Service;
use super::session::Session;
use crate::redis::Reply;

/// The sections there are.
const SECTIONS: [&str; 7] =
    ["server", "clients", "memory", "stats", "replication", "panchayat", "keyspace"];

/// `INFO`, of everything or of some sections.
pub(super) fn info(session: &Session, args: &[Bytes]) -> Reply {
    let service = &session.service;
    // How many keys there are is for those who may see all of them.
    let sees_all = session.account.as_ref().is_some_and(|account| account.rights.reads_all());
    let asked = |section: &str| {
        args.is_empty()
            || args.iter().any(|arg| {
                let arg = arg.to_ascii_lowercase();
                arg == section.as_bytes()
                    || [&b"all"[..], b"default", b"everything"].contains(&&arg[..])
            })
    };
    let mut text = String::new();
    for section in SECTIONS.into_iter().filter(|section| asked(section)) {
        if !text.is_empty() {
            text += "\r\n";
        }
        let title = section[..1].to_uppercase() + &section[1..];
        let _ = write!(text, "# {title}\r\n");
        if section == "keyspace" && !sees_all {
            continue;
        }
        for (name, value) in lines(service, section) {
            let _ = write!(text, "{name}:{value}\r\n");
        }
    }
    Reply::Text(text.into())
}

fn lines(service: &Service, section: &str) -> Vec<(String, String)> {
    let count =
        |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed).to_string();
    let line = |name: &str, value: String| (name.to_owned(), value);
    let counters = &service.counters;
    match section {
        "server" => vec![
            line("redis_version", REDIS_VERSION.into()),
            line("redis_mode", "standalone".into()),
            line("panchayat_version", env!("CARGO_PKG_VERSION").into()),
            line("process_id", std::process::id().to_string()),
            line("tcp_port", service.port().to_string()),
            line("uptime_in_seconds", service.began.elapsed().as_secs().to_string()),
            line("uptime_in_days", (service.began.elapsed().as_secs() / 86_400).to_string()),
        ],
        "clients" => vec![
            line("connected_clients", service.held.connections().to_string()),
            line("maxclients", service.limits.connections_max.to_string()),
            line("blocked_clients", "0".into()),
        ],
        "memory" => vec![
            line("client_bytes", service.held.bytes().to_string()),
            line("client_bytes_max", service.limits.total_bytes_max.to_string()),
            line("maxmemory", "0".into()),
            line("maxmemory_policy", "noeviction".into()),
        ],
        "stats" => vec![
            line("total_connections_received", count(&counters.connections)),
            line("rejected_connections", count(&counters.refused)),
            line("acl_access_denied_auth", service.access.failures().to_string()),
            line("tls_handshakes_failed", count(&counters.handshakes_failed)),
            line("total_commands_processed", count(&counters.commands)),
            line("command_timeouts", count(&counters.timeouts)),
        ],
        // Every replica takes writes: what clients call a master.
        "replication" => vec![
            line("role", "master".into()),
            line("connected_slaves", (reached(service) - 1).to_string()),
        ],
        "panchayat" => {
            let mut lines = about(service);
            lines.extend(peers(service));
            lines
        }
        _ => {
            let [keys, expires] = service.keyspace();
            match keys {
                0 => Vec::new(),
                _ => vec![line("db0", format!("keys={keys},expires={expires},avg_ttl=0"))],
            }
        }
    }
}

/// How this replica stands.
fn about(service: &Service) -> Vec<(String, String)> {
    let line = |name: &str, value: String| (name.to_owned(), value);
    vec![
        line("replica", service.name.clone()),
        line("loading", "0".into()),
        line("members", service.cluster().members.len().to_string()),
        line("members_reached", reached(service).to_string()),
        line("majority", majority(service).to_string()),
        line("cut_off", u8::from(service.health.is_cut_off()).to_string()),
        line("workloads", service.workloads.len().to_string()),
    ]
}

/// The other members: whether they are reached, and until when their certificates are good.
fn peers(service: &Service) -> Vec<(String, String)> {
    let mesh = service.mesh();
    let (cluster, own) = (service.cluster(), service.node());
    let others = cluster.members.iter().filter(|member| member.node != own);
    let described = others.map(|member| {
        let state = if mesh.is_up(member.node) { "up" } else { "down" };
        let certificate = mesh.peer_certificate(member.node).map_or_else(String::new, |facts| {
            format!(",certificate={},until={}", facts.serial, facts.not_after.text)
        });
        (format!("member_{}", member.name), format!("state={state}{certificate}"))
    });
    described.collect()
}
