//! What the protocol has counted, over all replicas, between two moments.

use std::collections::BTreeMap;

use panchayat::Metrics;

/// Counters of several replicas together, by name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counters(BTreeMap<&'static str, u64>);

impl Counters {
    pub(crate) fn so_far<'a>(metrics: impl IntoIterator<Item = &'a Metrics>) -> Self {
        let mut sum = Self::default();
        for (name, count) in metrics.into_iter().flat_map(|metrics| &metrics.core.protocol) {
            sum.count(name, *count);
        }
        sum
    }

    /// The largest of anything cannot be added up.
    fn count(&mut self, name: &'static str, count: u64) {
        let all = self.0.entry(name).or_default();
        *all = if name.ends_with("_max") { count.max(*all) } else { *all + count };
    }

    pub(crate) fn plus(mut self, other: &Self) -> Self {
        for (name, count) in &other.0 {
            self.count(name, *count);
        }
        self
    }

    /// What was counted after `earlier`, by name; nothing that was not. The largest of anything is that
    /// since the replicas began.
    pub(crate) fn since(&self, earlier: &Self) -> BTreeMap<String, u64> {
        let grown = self.0.iter().map(|(name, count)| {
            let before = earlier.0.get(name).copied().filter(|_| !name.ends_with("_max"));
            ((*name).to_owned(), count.saturating_sub(before.unwrap_or_default()))
        });
        grown.filter(|(_, count)| *count > 0).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_grow_and_the_largest_stays() {
        let of = |all: &[(&'static str, u64)]| Counters(all.iter().copied().collect());
        let before = of(&[("executed", 5), ("component_max", 3)]);
        let mut after = of(&[("executed", 9), ("component_max", 3)]);
        assert_eq!(after.since(&before)["component_max"], 3);
        assert_eq!(after.since(&before)["executed"], 4);
        after = after.plus(&of(&[("executed", 1), ("component_max", 2)]));
        assert_eq!((after.0["executed"], after.0["component_max"]), (10, 3));
    }
}
