//! Cycles among transactions: found, kept short, and named.
//!
//! A history without a cycle costs one pass over the graph. Otherwise kinds of edges are admitted
//! step by step, from the worst anomaly to the mildest, and each strongly connected component
//! without a cycle reported so far gives one: the shortest, as far as a bound on the work allows.

use std::fmt::Debug;
use std::hash::Hash;

use super::anomaly::{AnomalyKind, Findings};
use super::dependencies::Dependencies;
use super::graph::{Components, Edge, Kinds};
use super::observed::Observed;

/// How many edges may be looked at for the sake of short cycles, in one history.
const WORK_MAX: u64 = 20_000_000;
/// How many transactions of a cycle its text describes.
const SHOWN_TRANSACTIONS: usize = 12;

const DATA: Kinds = Kinds::WW.or(Kinds::WR).or(Kinds::VIA);

/// One step of the search.
struct Step {
    /// Every cycle that the earlier steps left has an edge of this kind.
    seed: Kinds,
    /// What the rest of the cycle should be made of.
    base: Kinds,
}

const STEPS: [Step; 5] = [
    Step { seed: Kinds::WW, base: Kinds::WW.or(Kinds::VIA) },
    Step { seed: Kinds::WR, base: DATA },
    Step { seed: Kinds::RW, base: DATA },
    Step { seed: Kinds::WW.or(Kinds::WR), base: DATA.or(Kinds::RT) },
    Step { seed: Kinds::RW, base: DATA.or(Kinds::RT) },
];

/// Edges with the nodes they leave, each leaving where the one before arrives.
type Path = Vec<(u32, Edge)>;

/// From a transaction to the next of a cycle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Hop {
    from: u32,
    to: u32,
    kind: Kinds,
    key: u32,
}

/// Reports a cycle of each cyclic part of the graph. No cycles with real time are reported for
/// transactions that are `lost`: every later read misses them, and that has been said.
pub(super) fn find<K: Eq + Hash + Debug>(
    observed: &Observed<'_, K>,
    dependencies: &Dependencies,
    lost: &[u32],
    findings: &mut Findings,
) {
    let all = DATA.or(Kinds::RW).or(Kinds::RT);
    if dependencies.graph.components(all).cyclic().is_empty() {
        return;
    }
    let reported = vec![false; dependencies.graph.nodes()];
    let mut search = Search { observed, dependencies, reported, work: 0 };
    for step in STEPS {
        if step.base.meets(Kinds::RT) {
            lost.iter().for_each(|&writer| search.reported[writer as usize] = true);
        }
        search.step(&step, findings);
    }
}

struct Search<'a, K> {
    observed: &'a Observed<'a, K>,
    dependencies: &'a Dependencies,
    /// Transactions (and auxiliary nodes) of a cycle that was reported.
    reported: Vec<bool>,
    work: u64,
}

impl<K: Eq + Hash + Debug> Search<'_, K> {
    fn step(&mut self, step: &Step, findings: &mut Findings) {
        let components = self.dependencies.graph.components(step.base.or(step.seed));
        let bases = self.dependencies.graph.components(step.base);
        for nodes in components.cyclic() {
            if nodes.iter().any(|&node| self.reported[node as usize]) {
                continue;
            }
            let seeds = self.seeds(step.seed, &nodes, &components);
            let cycle = self
                .direct(step, &seeds)
                .or_else(|| {
                    let seeds = self.closed_by(step.base, &seeds, &nodes, &bases);
                    self.shortest(&seeds, step.base, &components)
                })
                .or_else(|| self.shortest(&seeds, step.base.or(step.seed), &components));
            if let Some(cycle) = cycle {
                cycle.iter().for_each(|(node, _)| self.reported[*node as usize] = true);
                self.report(&self.hops(&cycle), findings);
            }
        }
    }

    /// The edges of kind `seed` within a component.
    fn seeds(&self, seed: Kinds, nodes: &[u32], components: &Components) -> Path {
        let graph = &self.dependencies.graph;
        let edges =
            nodes.iter().flat_map(|&from| graph.edges(from).iter().map(move |e| (from, *e)));
        let inside = |from, edge: &Edge| components.of(from) == components.of(edge.to);
        edges.filter(|(from, edge)| edge.kind.meets(seed) && inside(*from, edge)).collect()
    }

    /// A seed whose head precedes its tail in real time: a cycle of two, found without a search.
    fn direct(&mut self, step: &Step, seeds: &Path) -> Option<Path> {
        if !step.base.meets(Kinds::RT) {
            return None;
        }
        let transactions = &self.observed.transactions;
        let time = |to| Edge { to, kind: Kinds::RT, key: 0, free: false };
        for &(from, edge) in seeds {
            let precedes = |to: u32| {
                let returned = transactions[to as usize].returned;
                returned.is_some_and(|at| at < transactions[from as usize].invoked)
            };
            if self.dependencies.is_transaction(edge.to) {
                if precedes(edge.to) {
                    return Some(vec![(from, edge), (edge.to, time(from))]);
                }
                continue;
            }
            let ways = self.dependencies.graph.edges(edge.to);
            self.work += ways.len() as u64;
            if let Some(&via) = ways.iter().find(|via| precedes(via.to)) {
                return Some(vec![(from, edge), (edge.to, via), (via.to, time(from))]);
            }
            if self.work > WORK_MAX {
                return None;
            }
        }
        None
    }

    /// The seeds that edges of kinds `base` alone lead back from, as far as the work allows: 64
    /// at a time are followed through the component, in topological order of their `bases`.
    fn closed_by(&mut self, base: Kinds, seeds: &Path, nodes: &[u32], bases: &Components) -> Path {
        let graph = &self.dependencies.graph;
        if seeds.iter().any(|(_, edge)| edge.kind.meets(base)) {
            return seeds.clone();
        }
        let mut sorted = nodes.to_vec();
        // Components are numbered against the direction of edges.
        sorted.sort_unstable_by_key(|&node| std::cmp::Reverse(bases.of(node)));
        let mut closed = Path::new();
        let mut reached_by = vec![0_u64; graph.nodes()];
        for chunk in seeds.chunks(64) {
            nodes.iter().for_each(|&node| reached_by[node as usize] = 0);
            for (bit, (_, edge)) in chunk.iter().enumerate() {
                reached_by[edge.to as usize] |= 1 << bit;
            }
            for &node in &sorted {
                let reached = reached_by[node as usize];
                let edges = graph.edges(node);
                self.work += edges.len() as u64;
                for edge in edges.iter().filter(|edge| reached != 0 && edge.kind.meets(base)) {
                    reached_by[edge.to as usize] |= reached;
                }
            }
            let returns = |(bit, (from, _)): &(usize, &(u32, Edge))| {
                reached_by[*from as usize] >> bit & 1 == 1
            };
            closed.extend(chunk.iter().enumerate().filter(returns).map(|(_, seed)| *seed));
            if self.work > WORK_MAX / 2 {
                break;
            }
        }
        closed
    }

    /// The shortest cycle of a seed and a way back over edges of `kinds`. At least one seed is
    /// tried, however much work was done before.
    fn shortest(&mut self, seeds: &Path, kinds: Kinds, components: &Components) -> Option<Path> {
        let mut best: Option<(usize, Path)> = None;
        for &(from, edge) in seeds {
            let component = components.of(from);
            let inside = |node| components.of(node) == component;
            let graph = &self.dependencies.graph;
            let back = graph.shortest_path(edge.to, from, kinds, inside, &mut self.work);
            if let Some(back) = back {
                let length = back.iter().filter(|(_, edge)| !edge.free).count();
                if best.as_ref().is_none_or(|(best, _)| length < *best) {
                    let cycle = std::iter::once((from, edge)).chain(back).collect();
                    best = Some((length, cycle));
                }
            }
            let shortest_possible = best.as_ref().is_some_and(|(length, _)| *length == 1);
            if shortest_possible || self.work > WORK_MAX {
                break;
            }
        }
        best.map(|(_, cycle)| cycle)
    }

    /// The cycle from transaction to transaction.
    fn hops(&self, cycle: &Path) -> Vec<Hop> {
        let edges = cycle.iter().filter(|(node, _)| self.dependencies.is_transaction(*node));
        let mut hops: Vec<Hop> = edges
            .map(|(from, edge)| Hop { from: *from, to: *from, kind: edge.kind, key: edge.key })
            .collect();
        for at in 0..hops.len() {
            hops[at].to = hops[(at + 1) % hops.len()].from;
        }
        hops
    }

    fn report(&self, hops: &[Hop], findings: &mut Findings) {
        let transactions: Vec<u32> = hops.iter().map(|hop| hop.from).collect();
        findings.add(name(hops), &transactions, || {
            let shown = &hops[..hops.len().min(SHOWN_TRANSACTIONS)];
            let mut text = format!("{} transactions, each before the next, in a cycle", hops.len());
            for hop in shown {
                text.push_str("\n  ");
                text.push_str(&self.reason(hop));
            }
            if hops.len() > shown.len() {
                text.push_str(&format!("\n  and {} more", hops.len() - shown.len()));
            }
            text.push_str(&self.observed.lines(&transactions[..shown.len()]));
            text
        });
    }

    fn reason(&self, hop: &Hop) -> String {
        let Hop { from, to, .. } = *hop;
        let key = || self.observed.keys[hop.key as usize];
        match hop.kind {
            Kinds::WW => format!("T{from} -ww-> T{to}: T{to} appended to {:?} after it", key()),
            Kinds::WR => format!("T{from} -wr-> T{to}: T{to} read its append to {:?}", key()),
            Kinds::RW => format!("T{from} -rw-> T{to}: it read {:?} without T{to}'s", key()),
            _ => {
                let returned = self.observed.transactions[from as usize].returned;
                let returned_us = returned.map_or(0, |at| at.at_us());
                let invoked_us = self.observed.transactions[to as usize].invoked.at_us();
                format!(
                    "T{from} -rt-> T{to}: it returned at {returned_us} us, before T{to} was \
                     invoked at {invoked_us} us"
                )
            }
        }
    }
}

/// What a cycle is called.
fn name(hops: &[Hop]) -> AnomalyKind {
    let count = |kind| hops.iter().filter(|hop| hop.kind == kind).count();
    let same_key = hops.iter().all(|hop| hop.key == hops[0].key);
    let (anti, reads, times) = (count(Kinds::RW), count(Kinds::WR), count(Kinds::RT));
    match (times, anti, reads) {
        (0, 0, 0) => AnomalyKind::WriteCycle,
        (0, 0, _) => AnomalyKind::CircularInformationFlow,
        (0, 1, 0) if same_key => AnomalyKind::LostUpdate,
        (0, 1, _) => AnomalyKind::SingleAntiDependency,
        (0, _, _) => AnomalyKind::WriteSkew,
        (_, 1, _) => AnomalyKind::StaleRead,
        (_, _, _) => AnomalyKind::RealTimeInversion,
    }
}
