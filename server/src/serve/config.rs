//! `panchayat.yaml`: what one replica is to be.
//!
//! ```yaml
//! replica: mumbai                 # which of the members this is
//! set: india3                     # its set of the topology
//! topology: geo-topology.yaml     # unless the built-in one
//! members:                        # where each receives from the others: QUIC, mutual TLS
//!   mumbai: 10.0.1.10:7001
//!   delhi: 10.0.2.10:7001
//!   bangalore: 10.0.3.10:7001
//! join:                           # only a replica that came later, see `panchayat member add`
//!   node: 4
//!   address: 10.0.4.10:7001
//! via:                            # members that came later, where this one does not know them by itself
//!   "5": 10.0.5.10:7001
//! identity: certs/mumbai          # identity.pem, identity.key, ca.pem
//! data_dir: /var/lib/panchayat
//! durability: fsync
//! clients:
//!   listen: 0.0.0.0:6379          # unless 127.0.0.1:6379
//!   tls:                          # `panchayat certs issue redis-server`; in clear without
//!     certificate: certs/redis/server.pem
//!     key: certs/redis/server.key
//!     client_ca: certs/ca.pem     # then clients have to show a certificate, too
//!   clear_beyond_loopback: false  # nothing is served in clear beyond this machine unless this is true
//! admin:                          # pages and figures for operators; without this, any free port
//!   listen: 127.0.0.1:9001
//!   clear_beyond_loopback: false  # anyone who can reach the port could read
//!   peers:                        # where the others' are, for a page about all
//!     delhi: 10.0.2.10:9001
//! users:                          # without any, whoever connects may do everything
//!   - name: shop
//!     password: "$argon2id$..."   # made by `panchayat user hash`; a list while it changes
//!     read: ["item:", "order:"]   # what keys begin with; "" for all keys
//!     write: ["order:"]
//!   - name: default               # who has not said AUTH, if that may be anybody
//!     anonymous: true
//!     read: ["item:"]
//!   - name: operator
//!     password: "$argon2id$..."
//!     read: [""]
//!     write: [""]
//!     admin: true                 # CLIENT LIST, CLIENT KILL, CONFIG
//! workloads:                      # unless all keys are in one, ordered by EPaxos
//!   - name: payments
//!     prefixes: ["pay:"]
//!   - name: orders
//!     prefixes: ["order:"]
//!     protocol: multipaxos
//!     leader: mumbai
//!   - name: rest                  # without prefixes: whatever no other claims
//! limits:
//!   connections: 12000
//!   request_mib: 16
//!   command_timeout_s: 10
//! ```
//! Paths count from the directory of the file. Members and workloads must be the same at all members: what
//! the cluster began with, whatever has changed since.

use std::fs::File;
use std::io::Read as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use panchayat::topology::yaml::{Fields, Node, Position, Read, Source, Value, named_entries, read};
use panchayat::{
    Durability, FastPaxosChoice, Leader, Member, MultiPaxosChoice, NodeId, ProtocolChoice, Topology,
};

use super::admin::{AdminConfig, admin};
use super::clients::{self, ClientsConfig};
use super::users;
use crate::access::Access;
use crate::errors::CliError;
use crate::resp::Limits;

/// Longest file accepted, in bytes.
const TEXT_BYTES_MAX: u64 = 1 << 20;
/// Most workloads: as many as a replica takes.
const WORKLOADS_MAX: usize = 64;
/// Most prefixes of one workload.
const PREFIXES_MAX: usize = 1_024;
/// Most members of a cluster.
pub(super) const MEMBERS_MAX: usize = 16;
/// A day.
const SECONDS_MAX: f64 = 86_400.0;

/// What one replica is to be.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) replica: String,
    pub(crate) topology: Topology,
    pub(crate) set: String,
    /// Where each site of the set receives, in the order of the set.
    pub(crate) members: Vec<SocketAddr>,
    /// Its number and where it receives, if it came later.
    pub(crate) join: Option<(NodeId, SocketAddr)>,
    /// Members to speak with besides those it knows of.
    pub(crate) via: Vec<Member>,
    /// The directory of its certificate.
    pub(crate) identity: PathBuf,
    pub(crate) data_dir: PathBuf,
    pub(crate) durability: Durability,
    pub(crate) clients: ClientsConfig,
    pub(crate) admin: AdminConfig,
    pub(crate) access: Arc<Access>,
    /// Empty for a single one without a name.
    pub(crate) workloads: Vec<WorkloadConfig>,
    pub(crate) limits: Limits,
}

/// One workload.
#[derive(Debug)]
pub(crate) struct WorkloadConfig {
    pub(crate) name: String,
    /// What its keys begin with; without any, it has all that no other claims.
    pub(crate) prefixes: Vec<String>,
    pub(crate) protocol: ProtocolChoice,
}

/// Reads a configuration file.
pub(crate) fn load(path: &Path) -> Result<Config, CliError> {
    let mut text = String::new();
    File::open(path)
        .and_then(|file| file.take(TEXT_BYTES_MAX).read_to_string(&mut text))
        .map_err(|source| CliError::ConfigFile { path: path.to_owned(), source })?;
    let name = path.display().to_string();
    parse(&Source { name: &name, text: &text }, path.parent().unwrap_or(Path::new("")))
}

fn parse(source: &Source<'_>, dir: &Path) -> Result<Config, CliError> {
    let known = [
        "replica",
        "topology",
        "set",
        "members",
        "join",
        "via",
        "identity",
        "data_dir",
        "durability",
        "clients",
        "admin",
        "users",
        "workloads",
        "limits",
    ];
    let mut top = read(source)
        .and_then(|all| Fields::open(source, "a configuration", all, &known))
        .map_err(|mistake| users::hidden_in_users(source, mistake))?;
    let topology = match top.optional_text("topology")? {
        Some(file) => Topology::load(dir.join(file))?,
        None => Topology::builtin(),
    };
    let replica = top.required("replica", "the name of one of the members")?;
    let (replica, replica_at) = plain(source, "replica", replica)?;
    let set = top.optional_text("set")?.unwrap_or_else(|| "india3".into());
    let sites = topology.set(&set)?.sites.clone();
    let members = members(source, top.required("members", "the address of each city")?, &sites)?;
    let join = top.optional("join").map(|node| join(source, node)).transpose()?;
    let via = match top.optional("via") {
        None => Vec::new(),
        Some(node) => via(source, node)?,
    };
    if join.is_none() && !sites.contains(&replica) {
        let message = format!("`{replica}` is no member");
        return Err(source.mistake(replica_at, message, among(&sites)).into());
    }
    let identity = dir.join(top.text("identity", "the directory of its certificate")?);
    let data_dir = dir.join(top.text("data_dir", "where journals and snapshots are kept")?);
    let durability = match top.optional("durability") {
        None => Durability::Fsync,
        Some(node) => durability(source, node)?,
    };
    let admin = admin(source, top.optional("admin"), &sites)?;
    let users = top.optional("users");
    let clients = clients::read(source, top.optional("clients"), dir, users.is_some())?;
    let access = Arc::new(users::read(source, users)?);
    let workloads = match top.optional("workloads") {
        None => Vec::new(),
        Some(node) => workloads(source, node, &sites)?,
    };
    let limits = limits(source, top.optional("limits"))?;
    Ok(Config {
        replica,
        topology,
        set,
        members,
        join,
        via,
        identity,
        data_dir,
        durability,
        clients,
        admin,
        access,
        workloads,
        limits,
    })
}

pub(super) fn among(names: &[String]) -> String {
    format!("one of {}", names.join(", "))
}

/// A text and where it stands.
pub(super) fn plain(source: &Source<'_>, key: &str, node: Node) -> Read<(String, Position)> {
    match node.value {
        Value::Text(text) => Ok((text, node.at)),
        other => {
            let message = format!("`{key}` must be a text, found {}", other.describe());
            Err(source.mistake(node.at, message, ""))
        }
    }
}

pub(super) fn address(source: &Source<'_>, key: &str, node: Node) -> Read<(SocketAddr, Position)> {
    let (text, at) = plain(source, key, node)?;
    match text.parse() {
        Ok(addr) => Ok((addr, at)),
        Err(_) => {
            let message = format!("`{key}` must be an address and a port");
            Err(source.mistake(at, message, "as in 10.0.1.10:7001 or [::1]:7001"))
        }
    }
}

fn members(source: &Source<'_>, node: Node, sites: &[String]) -> Read<Vec<SocketAddr>> {
    let at = node.at;
    let entries = named_entries(source, "members", node, MEMBERS_MAX)?;
    let mut addrs = vec![None; sites.len()];
    for (key, node) in entries {
        let Some(seat) = sites.iter().position(|site| *site == key.text) else {
            let message = format!("`{}` is no city of the set", key.text);
            return Err(source.mistake(key.at, message, among(sites)));
        };
        addrs[seat] = Some(address(source, &key.text, node)?.0);
    }
    let missing = sites.iter().zip(&addrs).find(|(_, addr)| addr.is_none());
    if let Some((site, _)) = missing {
        let help = "every city of the set has a replica";
        return Err(source.mistake(at, format!("`members` has no address for `{site}`"), help));
    }
    Ok(addrs.into_iter().flatten().collect())
}

/// `join`, of a replica that was not there at the beginning.
fn join(source: &Source<'_>, node: Node) -> Read<(NodeId, SocketAddr)> {
    let mut fields = Fields::open(source, "`join`", node, &["node", "address"])?;
    let (number, _) = fields.number("node", "", 1.0..=f64::from(u32::MAX))?;
    let addr = fields.required("address", "where it receives from the others")?;
    Ok((NodeId(number as u64), address(source, "address", addr)?.0))
}

/// `via`: addresses by the numbers of nodes.
fn via(source: &Source<'_>, node: Node) -> Read<Vec<Member>> {
    let mut members = Vec::new();
    for (key, node) in named_entries(source, "via", node, MEMBERS_MAX)? {
        let Some(number) = key.text.parse::<u32>().ok().filter(|number| *number > 0) else {
            let message = format!("`{}` is no number of a node", key.text);
            return Err(source.mistake(key.at, message, "as `panchayat member list` shows it"));
        };
        let (addr, _) = address(source, &key.text, node)?;
        let node = NodeId(number.into());
        members.push(Member { name: node.to_string(), node, addr });
    }
    Ok(members)
}

fn durability(source: &Source<'_>, node: Node) -> Read<Durability> {
    let (text, at) = plain(source, "durability", node)?;
    match text.as_str() {
        "fsync" => Ok(Durability::Fsync),
        "os" => Ok(Durability::Os),
        "memory" => Ok(Durability::Memory),
        other => {
            let message = format!("`{other}` is no durability");
            Err(source.mistake(at, message, "one of fsync, os, memory"))
        }
    }
}

fn workloads(source: &Source<'_>, node: Node, sites: &[String]) -> Read<Vec<WorkloadConfig>> {
    let at = node.at;
    let items = list(source, "workloads", node, WORKLOADS_MAX)?;
    let mut workloads: Vec<WorkloadConfig> = Vec::new();
    for item in items {
        let at = item.at;
        let workload = workload(source, item, sites)?;
        let claimed = |prefix: &String| workloads.iter().any(|w| w.prefixes.contains(prefix));
        if let Some(prefix) = workload.prefixes.iter().find(|prefix| claimed(prefix)) {
            let message = format!("two workloads claim the prefix `{prefix}`");
            return Err(source.mistake(at, message, "a prefix belongs to one workload"));
        }
        if workloads.iter().any(|other| other.name == workload.name) {
            let message = format!("two workloads are called `{}`", workload.name);
            return Err(source.mistake(at, message, ""));
        }
        workloads.push(workload);
    }
    let rest = workloads.iter().filter(|workload| workload.prefixes.is_empty()).count();
    if rest != 1 {
        let message = format!("{rest} workloads have no prefixes");
        let help = "exactly one has none: keys that no other workload claims are in it";
        return Err(source.mistake(at, message, help));
    }
    Ok(workloads)
}

pub(super) fn list(source: &Source<'_>, key: &str, node: Node, most: usize) -> Read<Vec<Node>> {
    let message = match node.value {
        Value::List(items) if items.len() <= most => return Ok(items),
        Value::List(_) => format!("`{key}` may have {most} entries"),
        other => format!("`{key}` must be a list, found {}", other.describe()),
    };
    Err(source.mistake(node.at, message, ""))
}

fn workload(source: &Source<'_>, node: Node, sites: &[String]) -> Read<WorkloadConfig> {
    let known = ["name", "prefixes", "protocol", "leader"];
    let mut fields = Fields::open(source, "a workload", node, &known)?;
    let name = fields.text("name", "a name of its own")?;
    let mut prefixes = Vec::new();
    if let Some(node) = fields.optional("prefixes") {
        for item in list(source, "prefixes", node, PREFIXES_MAX)? {
            let (prefix, at) = plain(source, "prefixes", item)?;
            if prefix.is_empty() {
                let help = "leave `prefixes` out for the workload of all other keys";
                return Err(source.mistake(at, "an empty prefix claims all keys", help));
            }
            prefixes.push(prefix);
        }
    }
    let leader = match fields.optional("leader") {
        None => None,
        Some(node) => Some(plain(source, "leader", node)?),
    };
    if let Some((city, at)) = leader.as_ref().filter(|(city, _)| !sites.contains(city)) {
        return Err(source.mistake(*at, format!("no city `{city}` could lead"), among(sites)));
    }
    let protocol = fields.optional("protocol");
    let protocol = match protocol {
        None => ("epaxos".to_owned(), Position::START),
        Some(node) => plain(source, "protocol", node)?,
    };
    let at = protocol.1;
    let protocol = match (protocol.0.as_str(), leader) {
        ("epaxos", None) => ProtocolChoice::EPaxos,
        ("adaptive", None) => ProtocolChoice::adaptive(),
        ("adaptive", Some((_, at))) => {
            let help = "leave it out: it is chosen by what is measured";
            return Err(source.mistake(at, "an adaptive workload has no leader of its own", help));
        }
        ("epaxos", Some((_, at))) => {
            let help = "leave it out, or say `protocol: multipaxos`";
            return Err(source.mistake(at, "EPaxos has no leader", help));
        }
        ("multipaxos", leader) => {
            let leader = leader.map_or(Leader::Auto, |(city, _)| Leader::At(city));
            ProtocolChoice::MultiPaxos(MultiPaxosChoice { leader, ..Default::default() })
        }
        ("fastpaxos", leader) => {
            let coordinator = leader.map_or(Leader::Auto, |(city, _)| Leader::At(city));
            ProtocolChoice::FastPaxos(FastPaxosChoice { coordinator, ..Default::default() })
        }
        (other, _) => {
            let message = format!("`{other}` is no protocol");
            return Err(source.mistake(
                at,
                message,
                "one of epaxos, multipaxos, fastpaxos, adaptive",
            ));
        }
    };
    Ok(WorkloadConfig { name, prefixes, protocol })
}

fn limits(source: &Source<'_>, node: Option<Node>) -> Read<Limits> {
    let mut limits = Limits::default();
    let Some(node) = node else { return Ok(limits) };
    let known = [
        "connections",
        "request_mib",
        "connection_mib",
        "total_mib",
        "command_timeout_s",
        "stall_timeout_s",
        "idle_timeout_s",
    ];
    let mut fields = Fields::open(source, "`limits`", node, &known)?;
    if let Some((count, _)) = fields.optional_number("connections", "", 1.0..=1e6)? {
        limits.connections_max = count as usize;
    }
    let mib = |count: f64| (count * 1_048_576.0) as usize;
    // A command is at most 16 MiB, of which what stands around the arguments takes a little.
    if let Some((count, _)) = fields.optional_number("request_mib", "MiB", 0.01..=16.0)? {
        limits.request_bytes_max = mib(count).min(limits.request_bytes_max);
    }
    if let Some((count, _)) = fields.optional_number("connection_mib", "MiB", 1.0..=65_536.0)? {
        limits.connection_bytes_max = mib(count);
    }
    if let Some((count, _)) = fields.optional_number("total_mib", "MiB", 1.0..=1_048_576.0)? {
        limits.total_bytes_max = mib(count);
    }
    for (key, timeout, least) in [
        ("command_timeout_s", &mut limits.command_timeout, 0.01),
        ("stall_timeout_s", &mut limits.stall_timeout, 0.1),
        ("idle_timeout_s", &mut limits.idle_timeout, 0.0),
    ] {
        if let Some((seconds, _)) = fields.optional_number(key, "seconds", least..=SECONDS_MAX)? {
            *timeout = Duration::from_secs_f64(seconds);
        }
    }
    Ok(limits)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "\
replica: delhi
members:
  mumbai: 127.0.0.1:7001
  delhi: 127.0.0.1:7002
  bangalore: 127.0.0.1:7003
identity: certs
data_dir: data
workloads:
  - name: payments
    prefixes: [\"pay:\"]
    protocol: multipaxos
    leader: mumbai
  - name: rest
limits:
  connections: 5
  command_timeout_s: 0.5
";

    fn read_text(text: &str) -> Result<Config, CliError> {
        parse(&Source { name: "p.yaml", text }, Path::new("/etc"))
    }

    #[test]
    fn a_configuration_is_read() {
        let config = read_text(GOOD).unwrap();
        assert_eq!((config.replica.as_str(), config.set.as_str()), ("delhi", "india3"));
        assert_eq!(config.members[2].port(), 7003);
        assert_eq!(config.identity, Path::new("/etc/certs"));
        assert!(config.clients.listen.ip().is_loopback());
        assert_eq!(config.workloads[0].prefixes, ["pay:"]);
        assert_eq!(config.workloads[0].protocol.name(), "multipaxos");
        assert_eq!(config.limits.connections_max, 5);
        assert_eq!(config.limits.command_timeout, Duration::from_millis(500));
    }

    #[test]
    fn mistakes_are_told_with_their_place_and_what_was_expected() {
        for (from, to, told) in [
            ("replica: delhi", "replica: pune", "p.yaml:1:10: `pune` is no member (one of"),
            ("  delhi: 127.0.0.1:7002\n", "", "`members` has no address for `delhi`"),
            ("  delhi:", "  dehli:", "p.yaml:4:3: `dehli` is no city of the set"),
            ("127.0.0.1:7003", "somewhere", "p.yaml:5:14: `bangalore` must be an address"),
            ("identity: certs\n", "", "a configuration has no `identity`"),
            ("data_dir", "datadir", "unknown key `datadir` in a configuration (did you mean"),
            ("multipaxos", "raft", "p.yaml:11:15: `raft` is no protocol (one of epaxos"),
            ("leader: mumbai", "leader: pune", "no city `pune` could lead"),
            ("    prefixes: [\"pay:\"]\n", "", "2 workloads have no prefixes"),
            ("[\"pay:\"]", "[\"\"]", "an empty prefix claims all keys"),
            ("name: rest", "name: payments", "two workloads are called `payments`"),
            ("connections: 5", "connections: 0", "`connections` must be a number between 1 and"),
            ("data_dir: data", "data_dir: data\ndurability: maybe", "`maybe` is no durability"),
            (
                "data_dir: data",
                "data_dir: data\nclients:\n  listen: 0.0.0.0:6379",
                "p.yaml:9:11: clients beyond this machine would be served in clear (add `tls`",
            ),
            (
                "data_dir: data",
                "data_dir: data\nclients:\n  listen: 0.0.0.0:6379\n  tls: {certificate: c, key: k}",
                "p.yaml:9:11: whoever reaches this port could read and write everything",
            ),
            (
                "data_dir: data",
                "data_dir: data\nusers:\n  - name: shop",
                "p.yaml:9:5: `shop` has no password (`panchayat user hash`",
            ),
            (
                "data_dir: data",
                "data_dir: data\nusers:\n  - name: shop\n    password: hunter2",
                "p.yaml:10:3: `password`: it is no hash of a password",
            ),
            (
                "data_dir: data",
                "data_dir: data\nusers:\n  - name: shop\n    anonymous: true",
                "only a user `default` without a password can be anonymous",
            ),
            (
                "data_dir: data",
                "data_dir: data\nusers:\n  - {name: default, anonymous: true}\n  - {name: default, anonymous: true}",
                "two users are called `default`",
            ),
            (
                "data_dir: data",
                "data_dir: data\nusers:\n  - {name: default, anonymous: true, read: all}",
                "`read` must be a list",
            ),
            (
                "data_dir: data",
                "data_dir: data\nclients:\n  tls: {certificate: c}",
                "`tls` has no `key`",
            ),
        ] {
            let text = GOOD.replacen(from, to, 1);
            assert_ne!(text, GOOD, "{from}");
            let error = read_text(&text).unwrap_err().to_string();
            assert!(error.contains(told), "{from} -> {to}: {error}");
            assert!(!error.contains("hunter2"), "a password in an error: {error}");
        }
        // None of them shows a line in which a password may stand.
        for users in [
            "users:\n  - name: shop\n    pasword: hunter2",
            "users:\n  - hunter2",
            "users:\n  - name: shop\n    password: \"hunter2",
            "users:\n  - name: shop\n    password: {hunter2",
            "users:\n  - {name: shop, read: {hunter2: 1}}",
            "users: {hunter2: 1}",
            "password: hunter2",
        ] {
            let text = GOOD.replacen("data_dir: data", &format!("data_dir: data\n{users}"), 1);
            let Err(CliError::Config(mistake)) = read_text(&text) else { panic!("{users}") };
            assert!(!mistake.source_line.contains("hunter2"), "{users}: {mistake:?}");
        }
        for clients in [
            "listen: 0.0.0.0:6379\n  clear_beyond_loopback: true",
            "listen: 0.0.0.0:6379\n  tls: {certificate: c, key: k, client_ca: a}",
            "listen: 0.0.0.0:6379\n  tls: {certificate: c, key: k}\nusers: []",
            "tls: {certificate: c, key: k}",
        ] {
            let clients = format!("data_dir: data\nclients:\n  {clients}");
            read_text(&GOOD.replacen("data_dir: data", &clients, 1)).unwrap();
        }
        for (admin, told) in [
            ("listen: 0.0.0.0:1", "p.yaml:9:11: anyone beyond this machine could read"),
            ("peers: {pune: 127.0.0.1:1}", "p.yaml:9:11: `pune` is no city of the set"),
        ] {
            let admin = format!("data_dir: data\nadmin:\n  {admin}");
            let error = read_text(&GOOD.replacen("data_dir: data", &admin, 1)).unwrap_err();
            assert!(error.to_string().contains(told), "{admin}: {error}");
        }
    }
}
