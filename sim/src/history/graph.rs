//! A directed graph with labelled edges: strongly connected components and shortest paths.
//!
//! Everything runs on explicit stacks, because a chain of dependencies is as long as the history.

use std::collections::VecDeque;

/// A set of kinds of edges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kinds(u8);

impl Kinds {
    /// Write before write.
    pub(super) const WW: Self = Self(1);
    /// Write before the read that saw it.
    pub(super) const WR: Self = Self(2);
    /// Read before the write that it missed.
    pub(super) const RW: Self = Self(4);
    /// Real time.
    pub(super) const RT: Self = Self(8);
    /// The way out of an auxiliary node, of the kind of the edge that led in.
    pub(super) const VIA: Self = Self(16);

    /// The kinds of both.
    pub(super) const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether the two have a kind in common.
    pub(super) fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

/// An edge, seen from the node it leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Edge {
    pub(super) to: u32,
    pub(super) kind: Kinds,
    /// The key on which two transactions depend; 0 if the edge has none.
    pub(super) key: u32,
    /// Whether the edge continues another one through an auxiliary node: it then counts nothing
    /// towards the length of a path.
    pub(super) free: bool,
}

/// A graph over nodes `0..n`.
pub(super) struct Graph {
    /// Where the edges of each node begin, and the end of the last.
    starts: Vec<u32>,
    edges: Vec<Edge>,
}

/// The strongly connected component of each node.
pub(super) struct Components {
    of: Vec<u32>,
    sizes: Vec<u32>,
}

impl Components {
    /// The component of `node`.
    pub(super) fn of(&self, node: u32) -> u32 {
        self.of[node as usize]
    }

    /// The components of more than one node, each with its nodes in ascending order.
    pub(super) fn cyclic(&self) -> Vec<Vec<u32>> {
        let mut slots = vec![usize::MAX; self.sizes.len()];
        let mut found: Vec<Vec<u32>> = Vec::new();
        for (node, &component) in (0..).zip(&self.of) {
            if self.sizes[component as usize] < 2 {
                continue;
            }
            let slot = &mut slots[component as usize];
            if *slot == usize::MAX {
                *slot = found.len();
                found.push(Vec::new());
            }
            found[*slot].push(node);
        }
        found
    }
}

impl Graph {
    /// The graph with these edges, each with the node it leaves.
    pub(super) fn new(nodes: usize, list: &[(u32, Edge)]) -> Self {
        let mut starts = vec![0_u32; nodes + 1];
        for (from, _) in list {
            starts[*from as usize + 1] += 1;
        }
        for node in 0..nodes {
            starts[node + 1] += starts[node];
        }
        let mut free = starts.clone();
        let empty = Edge { to: 0, kind: Kinds(0), key: 0, free: false };
        let mut edges = vec![empty; list.len()];
        for &(from, edge) in list {
            let at = &mut free[from as usize];
            edges[*at as usize] = edge;
            *at += 1;
        }
        Self { starts, edges }
    }

    /// How many nodes there are.
    pub(super) fn nodes(&self) -> usize {
        self.starts.len() - 1
    }

    /// The edges that leave `node`.
    pub(super) fn edges(&self, node: u32) -> &[Edge] {
        let (start, end) = (self.starts[node as usize], self.starts[node as usize + 1]);
        &self.edges[start as usize..end as usize]
    }

    /// Tarjan's strongly connected components of the edges of `allowed` kinds.
    pub(super) fn components(&self, allowed: Kinds) -> Components {
        const UNSEEN: u32 = u32::MAX;
        let nodes = self.nodes();
        let mut components = Components { of: vec![UNSEEN; nodes], sizes: Vec::new() };
        let mut index = vec![UNSEEN; nodes];
        let mut low = vec![UNSEEN; nodes];
        let mut open: Vec<u32> = Vec::new();
        // Nodes being visited, each with the position of its next edge.
        let mut visits: Vec<(u32, usize)> = Vec::new();
        let mut count = 0;
        for root in 0..nodes as u32 {
            if index[root as usize] == UNSEEN {
                visits.push((root, 0));
            }
            while let Some((node, at)) = visits.pop() {
                let here = node as usize;
                if at == 0 {
                    (index[here], low[here]) = (count, count);
                    count += 1;
                    open.push(node);
                } else {
                    // Back from the edge before `at`.
                    let child = self.edges(node)[at - 1].to as usize;
                    low[here] = low[here].min(low[child]);
                }
                let mut descend = None;
                for (position, edge) in self.edges(node).iter().enumerate().skip(at) {
                    let to = edge.to as usize;
                    if !edge.kind.meets(allowed) {
                        continue;
                    }
                    if index[to] == UNSEEN {
                        descend = Some((position, edge.to));
                        break;
                    }
                    if components.of[to] == UNSEEN {
                        low[here] = low[here].min(index[to]);
                    }
                }
                if let Some((position, child)) = descend {
                    visits.push((node, position + 1));
                    visits.push((child, 0));
                } else if low[here] == index[here] {
                    close(node, &mut open, &mut components);
                }
            }
        }
        components
    }

    /// A path from `from` to `to` of at least one edge, with the fewest edges that are not free,
    /// over edges of `allowed` kinds and inner nodes that `inside` admits. As a list of edges with
    /// the nodes they leave. Adds to `work` what was spent, in edges looked at.
    pub(super) fn shortest_path(
        &self,
        from: u32,
        to: u32,
        allowed: Kinds,
        inside: impl Fn(u32) -> bool,
        work: &mut u64,
    ) -> Option<Vec<(u32, Edge)>> {
        const FAR: u32 = u32::MAX;
        // Clearing a node's place costs less than looking at an edge.
        *work += self.nodes() as u64 / 8;
        let mut distance = vec![FAR; self.nodes()];
        let mut arrived: Vec<Option<(u32, Edge)>> = vec![None; self.nodes()];
        let mut best: Option<(u32, u32, Edge)> = None;
        let mut queue = VecDeque::from([(0, from)]);
        distance[from as usize] = 0;
        while let Some((length, node)) = queue.pop_front() {
            if best.is_some_and(|(best, ..)| best <= length) {
                break;
            }
            if length > distance[node as usize] {
                continue;
            }
            *work += self.edges(node).len() as u64;
            for &edge in self.edges(node).iter().filter(|edge| edge.kind.meets(allowed)) {
                let longer = length + u32::from(!edge.free);
                if edge.to == to {
                    if best.is_none_or(|(best, ..)| longer < best) {
                        best = Some((longer, node, edge));
                    }
                } else if inside(edge.to) && longer < distance[edge.to as usize] {
                    distance[edge.to as usize] = longer;
                    arrived[edge.to as usize] = Some((node, edge));
                    if edge.free {
                        queue.push_front((longer, edge.to));
                    } else {
                        queue.push_back((longer, edge.to));
                    }
                }
            }
        }
        let (_, last, edge) = best?;
        let mut path = vec![(last, edge)];
        let mut node = last;
        while node != from {
            let (before, edge) = arrived[node as usize]?;
            path.push((before, edge));
            node = before;
        }
        path.reverse();
        Some(path)
    }
}

/// Closes the component of which `root` is the first node visited.
fn close(root: u32, open: &mut Vec<u32>, components: &mut Components) {
    let number = components.sizes.len() as u32;
    let mut size = 0;
    while let Some(node) = open.pop() {
        components.of[node as usize] = number;
        size += 1;
        if node == root {
            break;
        }
    }
    components.sizes.push(size);
}
