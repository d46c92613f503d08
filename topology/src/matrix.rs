//! Round trips between the sites of one set, as a table of microseconds.

use std::time::Duration;

use thiserror::Error;

/// Longest round trip a table takes: beyond a minute it is an outage, and sums stay far from
/// overflow.
pub(crate) const RTT_US_MAX: u64 = 60_000_000;

/// Round trips between `n` sites, in microseconds.
///
/// Symmetric, zero from a site to itself, and even everywhere, so that one way is exactly half a
/// round trip. Sites are known by their index, which is their order in the set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Matrix {
    sites: Vec<String>,
    /// Row by row.
    rtt_us: Vec<u64>,
}

/// Why a table of round trips was refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum MatrixError {
    /// The number of rows, or of cells in a row, is not the number of sites.
    #[error("a table for {sites} sites needs {sites} rows of {sites} round trips")]
    Shape {
        /// How many sites were named.
        sites: usize,
    },
    /// There and back differs from back and there.
    #[error("{from}–{to} takes {there_us} µs, but {to}–{from} takes {back_us} µs")]
    Asymmetric {
        /// The row.
        from: String,
        /// The column.
        to: String,
        /// Row to column.
        there_us: u64,
        /// Column to row.
        back_us: u64,
    },
    /// A round trip that is odd, too long, or not zero from a site to itself.
    #[error("{from}–{to} cannot take {rtt_us} µs: {expected}")]
    Value {
        /// The row.
        from: String,
        /// The column.
        to: String,
        /// What the table said.
        rtt_us: u64,
        /// What it may say.
        expected: &'static str,
    },
}

impl Matrix {
    /// A table from measured round trips, `rtt_us[from][to]`.
    ///
    /// # Errors
    ///
    /// If the table is not square, not symmetric, not zero on its diagonal, not even, or a round
    /// trip exceeds a minute.
    pub fn new(sites: Vec<String>, rtt_us: &[Vec<u64>]) -> Result<Self, MatrixError> {
        let n = sites.len();
        if rtt_us.len() != n || rtt_us.iter().any(|row| row.len() != n) {
            return Err(MatrixError::Shape { sites: n });
        }
        for (a, row) in rtt_us.iter().enumerate() {
            for (b, &rtt) in row.iter().enumerate() {
                let expected = match (a == b, rtt) {
                    (true, 1..) => "a site is no distance from itself",
                    (false, _) if rtt % 2 != 0 => "one way must be whole microseconds, so even",
                    (false, _) if rtt > RTT_US_MAX => "a round trip takes a minute at most",
                    _ => "",
                };
                let (from, to) = (sites[a].clone(), sites[b].clone());
                if !expected.is_empty() {
                    return Err(MatrixError::Value { from, to, rtt_us: rtt, expected });
                }
                let back_us = rtt_us[b][a];
                if rtt != back_us {
                    return Err(MatrixError::Asymmetric { from, to, there_us: rtt, back_us });
                }
            }
        }
        Ok(Self { sites, rtt_us: rtt_us.concat() })
    }

    /// How many sites.
    pub fn len(&self) -> usize {
        self.sites.len()
    }

    /// Whether there is no site at all.
    pub fn is_empty(&self) -> bool {
        self.sites.is_empty()
    }

    /// The names, in order.
    pub fn sites(&self) -> &[String] {
        &self.sites
    }

    /// The index of a site.
    pub fn index_of(&self, name: &str) -> Option<usize> {
        self.sites.iter().position(|site| site == name)
    }

    /// The round trip between two sites, in microseconds.
    ///
    /// # Panics
    ///
    /// If an index is not below [`Matrix::len`].
    pub fn rtt_us(&self, a: usize, b: usize) -> u64 {
        assert!(a < self.len() && b < self.len(), "{a}–{b} in a table of {}", self.len());
        self.rtt_us[a * self.len() + b]
    }

    /// The longest round trip between two of them; zero if there is one site at most.
    pub fn widest(&self) -> Duration {
        Duration::from_micros(self.rtt_us.iter().copied().max().unwrap_or_default())
    }

    /// The time one way, exactly half the round trip, in microseconds.
    ///
    /// # Panics
    ///
    /// If an index is not below [`Matrix::len`].
    pub fn one_way_us(&self, from: usize, to: usize) -> u64 {
        self.rtt_us(from, to) / 2
    }

    /// The table without one site, as when that city is lost; later sites move down by one.
    ///
    /// Keep the quorum sizes of the whole set when asking the formulas about it: a quorum that no
    /// longer fits gives `None`, which is what clients would see.
    ///
    /// # Panics
    ///
    /// If the index is not below [`Matrix::len`].
    #[must_use]
    pub fn without(&self, site: usize) -> Self {
        assert!(site < self.len(), "site {site} in a table of {}", self.len());
        let kept: Vec<usize> = (0..self.len()).filter(|&i| i != site).collect();
        let cells = kept.iter().flat_map(|&a| kept.iter().map(move |&b| self.rtt_us(a, b)));
        Self {
            sites: kept.iter().map(|&i| self.sites[i].clone()).collect(),
            rtt_us: cells.collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Matrix, MatrixError};

    fn table(rows: [[u64; 2]; 2]) -> Result<Matrix, MatrixError> {
        Matrix::new(vec!["a".into(), "b".into()], &rows.map(|row| row.to_vec()))
    }

    #[test]
    fn takes_only_tables_whose_halves_are_exact() {
        let good = table([[0, 42_500], [42_500, 0]]).expect("a sound table");
        assert_eq!(good.one_way_us(0, 1), 21_250);
        for (rows, message) in [
            ([[2, 8], [8, 0]], "a–a cannot take 2 µs: a site is no distance from itself"),
            ([[0, 8], [6, 0]], "a–b takes 8 µs, but b–a takes 6 µs"),
            ([[0, 7], [7, 0]], "a–b cannot take 7 µs: one way must be whole microseconds, so even"),
            (
                [[0, 60_000_002], [60_000_002, 0]],
                "a–b cannot take 60000002 µs: a round trip takes a minute at most",
            ),
        ] {
            assert_eq!(table(rows).expect_err(message).to_string(), message);
        }
        let short = Matrix::new(vec!["a".into(), "b".into()], &[vec![0, 2]]);
        assert_eq!(
            short.expect_err("one row").to_string(),
            "a table for 2 sites needs 2 rows of 2 round trips"
        );
    }

    #[test]
    fn losing_a_site_keeps_the_others_in_order() {
        let rows = [vec![0, 2, 4], vec![2, 0, 6], vec![4, 6, 0]];
        let all = Matrix::new(vec!["a".into(), "b".into(), "c".into()], &rows).expect("sound");
        let rest = all.without(1);
        assert_eq!(rest.sites(), ["a", "c"]);
        assert_eq!((rest.rtt_us(0, 1), rest.rtt_us(1, 0), rest.rtt_us(1, 1)), (4, 4, 0));
    }
}
