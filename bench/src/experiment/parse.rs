//! Reads an experiment from YAML, with complaints that name the place.

use std::time::Duration;

use panchayat::Durability;
use panchayat::topology::Diagnostic;
use panchayat::topology::yaml::{
    Fields, Node, Position, Read, Source, Value, nearest, number, read, text,
};

use super::spec::{
    Axis, Carrier, Contender, Experiment, ProtocolKind, Setpoint, Sweep, durability,
};
use crate::load::LoadModel;
use crate::workload::{Kind, Shape};

/// Longest text of an experiment.
const TEXT_BYTES_MAX: usize = 64 << 10;
/// Most entries of any of its lists.
const LIST_MAX: usize = 64;

/// Reads the experiment in `text`, that diagnostics call `file`.
///
/// # Errors
/// The first mistake, with its place and what was expected.
pub fn parse(file: &str, text: &str) -> Result<Experiment, Box<Diagnostic>> {
    let source = Source { name: file, text };
    if text.len() > TEXT_BYTES_MAX {
        let message = format!("an experiment has at most {TEXT_BYTES_MAX} bytes");
        return Err(source.mistake(Position::START, message, ""));
    }
    Reader { source }.experiment()
}

struct Reader<'a> {
    source: Source<'a>,
}

impl Reader<'_> {
    fn experiment(&self) -> Read<Experiment> {
        let source = &self.source;
        let known = [
            "format",
            "name",
            "title",
            "question",
            "set",
            "profile",
            "protocols",
            "transports",
            "workload",
            "load",
            "durability",
            "duration_s",
            "warm_up_s",
            "repetitions",
            "seed",
            "sweep",
            "faults",
        ];
        let mut top = Fields::open(source, "an experiment", read(source)?, &known)?;
        let (format, at) = top.number("format", "", 1.0..=1_000_000.0)?;
        if format != 1.0 {
            let message = format!("format {format} is not known to this version");
            return Err(source.mistake(at, message, "it reads format 1"));
        }
        let name = top.text("name", "a short name")?;
        let title = top.optional_text("title")?.unwrap_or_else(|| name.clone());
        let question = top.optional_text("question")?.unwrap_or_default();
        let set = top.optional_text("set")?.unwrap_or_else(|| "india3".to_owned());
        let profile = top.optional_text("profile")?.unwrap_or_else(|| "backbone".to_owned());
        let contenders = match top.optional("protocols") {
            Some(node) => self.list("protocols", node, |node| self.contender(node))?,
            None => ProtocolKind::PLAIN.map(plain).to_vec(),
        };
        let lanes = match top.optional("transports") {
            Some(node) => self.list("transports", node, |node| self.carrier(node))?,
            None => vec![Carrier::Streams],
        };
        let (kind, shape) = match top.optional("workload") {
            Some(node) => self.workload(node)?,
            None => (Kind::Mix, Kind::Mix.shape()),
        };
        let load = match top.optional("load") {
            Some(node) => self.load(node)?,
            None => LoadModel::Closed(16),
        };
        let durability = match top.optional("durability") {
            Some(node) => self.durability(node)?,
            None => Durability::Fsync,
        };
        let duration = top.optional_number("duration_s", "s", 0.1..=86_400.0)?;
        let warm_up = top.optional_number("warm_up_s", "s", 0.0..=3_600.0)?;
        let repetitions = top.optional_number("repetitions", "", 1.0..=1_000.0)?;
        let seed = top.optional_number("seed", "", 0.0..=1e15)?;
        let sweep = top.optional("sweep").map(|node| self.sweep(node)).transpose()?;
        let faults = match top.optional("faults") {
            Some(node) => self.list("faults", node, |node| self.fault(node))?,
            None => Vec::new(),
        };
        let seconds = |given: Option<(f64, Position)>, default: f64| {
            Duration::from_secs_f64(given.map_or(default, |(seconds, _)| seconds))
        };
        Ok(Experiment {
            name,
            title,
            question,
            set,
            profile,
            contenders,
            lanes,
            kind,
            shape,
            load,
            durability,
            duration: seconds(duration, 10.0),
            warm_up: seconds(warm_up, 3.0),
            repetitions: repetitions.map_or(1, |(number, _)| number as u32),
            seed: seed.map_or(1, |(number, _)| number as u64),
            sweep,
            faults,
        })
    }

    fn list<T>(&self, what: &str, node: Node, read: impl Fn(Node) -> Read<T>) -> Read<Vec<T>> {
        let Value::List(items) = node.value else {
            let message = format!("`{what}` must be a list, found {}", node.value.describe());
            return Err(self.source.mistake(node.at, message, ""));
        };
        if items.is_empty() || items.len() > LIST_MAX {
            let message = format!("`{what}` must have 1 to {LIST_MAX} entries");
            return Err(self.source.mistake(node.at, message, ""));
        }
        items.into_iter().map(read).collect()
    }

    /// One of the `known` names.
    fn one_of<T: Copy>(&self, what: &str, node: Node, known: &[(&str, T)]) -> Read<T> {
        let at = node.at;
        let name = text(&self.source, what, node)?;
        if let Some((_, found)) = known.iter().find(|(known, _)| *known == name) {
            return Ok(*found);
        }
        let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
        let help = match nearest(&name, names.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("there are {}", names.join(", ")),
        };
        Err(self.source.mistake(at, format!("no {what} `{name}`"), help))
    }

    fn protocol(&self, node: Node) -> Read<ProtocolKind> {
        let known = ProtocolKind::ALL.map(|kind| (kind.name(), kind));
        self.one_of("protocol", node, &known)
    }

    fn contender(&self, node: Node) -> Read<Contender> {
        if matches!(node.value, Value::Text(_)) {
            return self.protocol(node).map(plain);
        }
        let known = ["protocol", "label", "leader", "naive"];
        let at = node.at;
        let mut fields = Fields::open(&self.source, "a protocol", node, &known)?;
        let protocol = self.protocol(fields.required("protocol", "its name")?)?;
        let leader = fields.optional_text("leader")?;
        let naive = match fields.optional("naive") {
            Some(node) => self.truth("naive", &node)?,
            None => false,
        };
        if naive && protocol != ProtocolKind::MultiPaxos {
            let message = format!("`naive` says nothing of {}", protocol.name());
            return Err(self.source.mistake(at, message, "it is a variant of multipaxos"));
        }
        if leader.is_some() && matches!(protocol, ProtocolKind::EPaxos | ProtocolKind::Adaptive) {
            return Err(self.source.mistake(at, "epaxos has no leader", ""));
        }
        let label = fields.optional_text("label")?.unwrap_or_else(|| {
            let led = leader.as_ref().map(|city| format!(", {city}")).unwrap_or_default();
            let naive = if naive { ", naive" } else { "" };
            format!("{}{led}{naive}", protocol.name())
        });
        Ok(Contender { label, protocol, leader, naive })
    }

    fn truth(&self, what: &str, node: &Node) -> Read<bool> {
        match &node.value {
            Value::Bool(truth) => Ok(*truth),
            other => {
                let message = format!("`{what}` must be true or false, found {}", other.describe());
                Err(self.source.mistake(node.at, message, ""))
            }
        }
    }

    fn carrier(&self, node: Node) -> Read<Carrier> {
        let known = [Carrier::Streams, Carrier::Datagrams].map(|carrier| (carrier.name(), carrier));
        self.one_of("transport", node, &known)
    }

    fn durability(&self, node: Node) -> Read<Durability> {
        let known = ["fsync", "os", "memory"];
        let known = known.map(|name| (name, durability(name).unwrap_or(Durability::Fsync)));
        self.one_of("durability", node, &known)
    }

    fn workload(&self, node: Node) -> Read<(Kind, Shape)> {
        let kinds: Vec<(&str, Kind)> = Kind::all().map(|kind| (kind.name(), kind)).collect();
        if matches!(node.value, Value::Text(_)) {
            let kind = self.one_of("workload", node, &kinds)?;
            return Ok((kind, kind.shape()));
        }
        let known = ["kind", "keys", "zipf", "payload", "conflict"];
        let mut fields = Fields::open(&self.source, "a workload", node, &known)?;
        let kind = match fields.optional("kind") {
            Some(node) => self.one_of("workload", node, &kinds)?,
            None => Kind::Mix,
        };
        let mut shape = kind.shape();
        if let Some((keys, _)) = fields.optional_number("keys", "keys", 1.0..=1e7)? {
            shape.keys = keys as u32;
        }
        if let Some((theta, _)) = fields.optional_number("zipf", "", 0.0..=10.0)? {
            shape.zipf = Some(theta);
        }
        if let Some((bytes, _)) = fields.optional_number("payload", "bytes", 0.0..=1e6)? {
            shape.payload_bytes = bytes as usize;
        }
        if let Some((percent, at)) = fields.optional_number("conflict", "%", 0.0..=100.0)? {
            if kind != Kind::Mix {
                let message = format!("`conflict` says nothing of {kind}");
                return Err(self.source.mistake(at, message, "it is for the workload mix"));
            }
            shape.conflict_percent = percent;
        }
        Ok((kind, shape))
    }

    fn load(&self, node: Node) -> Read<LoadModel> {
        let at = node.at;
        let known = ["clients", "rate", "solo"];
        let mut fields = Fields::open(&self.source, "a load", node, &known)?;
        let clients = fields.optional_number("clients", "clients in each city", 1.0..=1e4)?;
        let rate = fields.optional_number("rate", "commands/s", 1.0..=1e6)?;
        let solo = match fields.optional("solo") {
            Some(node) => self.truth("solo", &node)?,
            None => false,
        };
        match (clients, rate, solo) {
            (Some((clients, _)), None, false) => Ok(LoadModel::Closed(clients as u32)),
            (None, Some((rate, _)), false) => Ok(LoadModel::Open(rate)),
            (None, None, true) => Ok(LoadModel::Solo),
            _ => {
                let help = "`clients: 16` for a closed loop, `rate: 2000` for an open one, or \
                            `solo: true` for one client in all";
                Err(self.source.mistake(at, "a load is one of three", help))
            }
        }
    }

    fn sweep(&self, node: Node) -> Read<Sweep> {
        let mut fields = Fields::open(&self.source, "a sweep", node, &["axis", "values"])?;
        let axes = Axis::ALL.map(|axis| (axis.name(), axis));
        let axis = self.one_of("axis", fields.required("axis", "what is varied")?, &axes)?;
        let values = fields.required("values", "a list")?;
        let values = self.list("values", values, |node| self.setpoint(axis, node))?;
        Ok(Sweep { axis, values })
    }

    fn setpoint(&self, axis: Axis, node: Node) -> Read<Setpoint> {
        if let Some(range) = axis.range() {
            let (value, _) = number(&self.source, axis.name(), &node, "", &range)?;
            return Ok(Setpoint::Number(value));
        }
        if axis == Axis::Durability {
            self.durability(node.clone())?;
        }
        text(&self.source, axis.name(), node).map(Setpoint::Name)
    }

    /// That the cities exist is seen when the set is known.
    fn fault(&self, node: Node) -> Read<String> {
        let at = node.at;
        let fault = text(&self.source, "faults", node)?;
        match super::faults::one(&fault, &[]) {
            Err(crate::geo::FaultError::UnknownSite { .. }) | Ok(_) => Ok(fault),
            Err(error) => Err(self.source.mistake(at, error.to_string(), "")),
        }
    }
}

fn plain(protocol: ProtocolKind) -> Contender {
    let label = match protocol {
        ProtocolKind::EPaxos => "EPaxos",
        ProtocolKind::MultiPaxos => "Multi-Paxos",
        ProtocolKind::FastPaxos => "Fast Paxos",
        ProtocolKind::Adaptive => "adaptive",
    };
    Contender { label: label.to_owned(), protocol, leader: None, naive: false }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_has_a_default() {
        let experiment = parse("x.yaml", "format: 1\nname: least\n").unwrap();
        assert_eq!((experiment.contenders.len(), experiment.lanes.len()), (3, 1));
        assert_eq!(experiment.load, LoadModel::Closed(16));
        assert_eq!(experiment.duration, Duration::from_secs(10));
    }

    #[test]
    fn mistakes_are_told_with_their_place() {
        for (text, at, message) in [
            ("name: x\n", (1, 1), "has no `format`"),
            ("format: 1\nname: x\nprotcols: []\n", (3, 1), "unknown key `protcols`"),
            ("format: 1\nname: x\nprotocols: [epaxo]\n", (3, 13), "no protocol `epaxo`"),
            ("format: 1\nname: x\nprotocols: []\n", (3, 12), "must have 1 to 64 entries"),
            ("format: 1\nname: x\nload: {clients: 3, rate: 9}\n", (3, 7), "a load is one of three"),
            ("format: 1\nname: x\nworkload: upii\n", (3, 11), "no workload `upii`"),
            (
                "format: 1\nname: x\nsweep: {axis: conflict, values: [0, 200]}\n",
                (3, 37),
                "must be a number between 0 and 100",
            ),
            ("format: 1\nname: x\nfaults: [kill delhi]\n", (3, 10), "cannot read the kill"),
            (
                "format: 1\nname: x\nfaults: [hit delhi@2s]\n",
                (3, 10),
                "`kill`, `cut`, `slow` or `rush`",
            ),
            (
                "format: 1\nname: x\nprotocols: [{protocol: epaxos, leader: delhi}]\n",
                (3, 13),
                "epaxos has no leader",
            ),
        ] {
            let mistake = parse("x.yaml", text).unwrap_err();
            assert_eq!((mistake.line, mistake.column), at, "{text}: {mistake}");
            assert!(mistake.to_string().contains(message), "{text}: {mistake}");
        }
    }
}
