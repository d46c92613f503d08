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
            // The largest of anything cannot be added up.
            if !name.ends_with("_max") {
                *sum.0.entry(name).or_default() += count;
            }
        }
        sum
    }

    pub(crate) fn plus(mut self, other: &Self) -> Self {
        for (name, count) in &other.0 {
            *self.0.entry(name).or_default() += count;
        }
        self
    }

    /// What was counted after `earlier`, by name; nothing that was not.
    pub(crate) fn since(&self, earlier: &Self) -> BTreeMap<String, u64> {
        let grown = self.0.iter().map(|(name, count)| {
            let before = earlier.0.get(name).copied().unwrap_or_default();
            ((*name).to_owned(), count.saturating_sub(before))
        });
        grown.filter(|(_, count)| *count > 0).collect()
    }
}
