//! A run with faults over time: a table of what lay between them, and a line of blocks per city.

use std::fmt::Write as _;

use comfy_table::Table;
use panchayat_bench::geo::{Bucket, Report};

use crate::table::table;

/// Most columns of a chart, beside its labels.
const COLUMNS_MAX: usize = 75;

/// From least to most.
const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// The greatest value of a logarithmic scale is at least this many times the least.
const LOGARITHMIC_SPAN_MIN: f64 = 8.0;

/// Where a fault begins, and where it ends.
const BEGINS: char = '▼';
const ENDS: char = '△';
const BOTH: char = '◆';

/// Nothing without faults.
pub(crate) fn draw(report: &Report) -> String {
    if report.timeline.is_empty() {
        return String::new();
    }
    format!("\n{}\n\n{}", stretches(report), Chart::of(report).draw(report))
}

/// The cities between faults.
fn stretches(report: &Report) -> Table {
    let mut table = table(&["execute", "from s", "to s", "commands/s", "p50 ms", "p99 ms"], 1);
    let mut last = "";
    for stretch in &report.stretches {
        let name = if stretch.site == last { "" } else { &stretch.site };
        let ms = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |ms| format!("{ms:.2}"));
        table.add_row([
            name.to_owned(),
            format!("{:.1}", stretch.from_ms / 1e3),
            format!("{:.1}", stretch.to_ms / 1e3),
            format!("{:.0}", stretch.commands_per_s),
            ms(stretch.p50_ms),
            ms(stretch.p99_ms),
        ]);
        last = &stretch.site;
    }
    table
}

/// Buckets are put together until they fit the terminal.
struct Chart {
    columns: usize,
    column_ms: f64,
    label_width: usize,
}

/// What a column of a city shows.
#[derive(Clone, Copy, Default)]
struct Column {
    commands: u64,
    /// The highest of its buckets; `None` if nothing was answered.
    p99_ms: Option<f64>,
}

impl Chart {
    fn of(report: &Report) -> Self {
        let cities = report.sites.len().max(1);
        let buckets = report.timeline.len().div_ceil(cities).max(1);
        let together = buckets.div_ceil(COLUMNS_MAX);
        let bucket_ms = report.timeline.first().map_or(1.0, |bucket| bucket.bucket_ms);
        let longest = report.sites.iter().map(|site| site.site.chars().count()).max();
        Self {
            columns: buckets.div_ceil(together),
            column_ms: bucket_ms * together as f64,
            label_width: longest.unwrap_or_default() + " commands ".len(),
        }
    }

    fn draw(&self, report: &Report) -> String {
        let cities: Vec<_> =
            report.sites.iter().map(|site| self.city(report, &site.site)).collect();
        let all = || cities.iter().flatten();
        let commands_max = all().map(|column| column.commands).max().unwrap_or_default();
        let heights = Logarithmic::over(all().filter_map(|column| column.p99_ms));
        let mut text = format!(
            "{:.0} ms a column; commands from 0 to {commands_max}, p99 from {:.0} to {:.0} ms \
             (logarithmic)\n",
            self.column_ms, heights.min, heights.max
        );
        self.line(&mut text, "", &self.marks(report));
        for (site, columns) in report.sites.iter().zip(&cities) {
            let commands = columns.iter().map(|column| {
                let share = column.commands as f64 / commands_max as f64;
                block((column.commands > 0).then_some(share))
            });
            self.line(&mut text, &format!("{} commands", site.site), &commands.collect::<String>());
            let p99 = columns
                .iter()
                .map(|column| block(column.p99_ms.map(|p99_ms| heights.share(p99_ms))));
            self.line(&mut text, "p99", &p99.collect::<String>());
        }
        text.push_str(&legend(report));
        text
    }

    fn line(&self, text: &mut String, label: &str, columns: &str) {
        let width = self.label_width;
        let line = format!("{label:>width$} {columns}");
        let _ = writeln!(text, "{}", line.trim_end());
    }

    fn city(&self, report: &Report, name: &str) -> Vec<Column> {
        let mut columns = vec![Column::default(); self.columns];
        for bucket in report.timeline.iter().filter(|bucket| bucket.site == name) {
            let column = &mut columns[self.column(bucket.at_ms)];
            column.commands += bucket.commands;
            column.p99_ms = highest(column.p99_ms, bucket);
        }
        columns
    }

    fn marks(&self, report: &Report) -> String {
        let mut marks = vec![' '; self.columns];
        for fault in &report.faults {
            for (at_ms, mark) in [(fault.began_ms, BEGINS), (fault.ended_ms, ENDS)] {
                // What ends with the window has no column.
                let Some(at_ms) = at_ms.filter(|at_ms| *at_ms < self.end_ms()) else { continue };
                let there = &mut marks[self.column(at_ms)];
                *there = if *there == ' ' || *there == mark { mark } else { BOTH };
            }
        }
        marks.into_iter().collect()
    }

    fn end_ms(&self) -> f64 {
        self.columns as f64 * self.column_ms
    }

    fn column(&self, at_ms: f64) -> usize {
        ((at_ms / self.column_ms + 1e-6) as usize).min(self.columns - 1)
    }
}

fn highest(so_far: Option<f64>, bucket: &Bucket) -> Option<f64> {
    match (so_far, bucket.p99_ms) {
        (Some(a), Some(b)) => Some(a.max(b)),
        (a, b) => a.or(b),
    }
}

/// Heights for values of different orders of magnitude.
#[derive(Clone, Copy, Debug)]
struct Logarithmic {
    min: f64,
    max: f64,
}

impl Logarithmic {
    /// From the least of `values` to the greatest, or further: what differs by little should look
    /// so.
    fn over(values: impl Iterator<Item = f64> + Clone) -> Self {
        let min = values.clone().fold(f64::INFINITY, f64::min);
        let max = values.fold(0.0, f64::max);
        if max <= 0.0 {
            return Self { min: 1.0, max: LOGARITHMIC_SPAN_MIN };
        }
        let min = min.max(max * 1e-6);
        Self { min, max: max.max(min * LOGARITHMIC_SPAN_MIN) }
    }

    /// From 0 to 1.
    fn share(self, value: f64) -> f64 {
        (value.max(self.min) / self.min).ln() / (self.max / self.min).ln()
    }
}

/// A block for a share of the full height, a blank for nothing at all.
fn block(share: Option<f64>) -> char {
    let Some(share) = share else { return ' ' };
    BLOCKS[((share * BLOCKS.len() as f64) as usize).min(BLOCKS.len() - 1)]
}

/// When each fault really began and ended.
fn legend(report: &Report) -> String {
    let mut text = String::new();
    for fault in &report.faults {
        let at = |ms: Option<f64>| ms.map(|ms| format!("{:.2} s", ms / 1e3));
        let _ =
            write!(text, "{BEGINS} {}  {}", at(fault.began_ms).unwrap_or_default(), fault.fault);
        if let Some(ended) = at(fault.ended_ms) {
            let what = if fault.kind == "kill" { "started again" } else { "over" };
            let _ = write!(text, "  {ENDS} {ended} {what}");
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_grow_with_the_value_and_nothing_is_blank() {
        let shares = [None, Some(0.0), Some(0.125), Some(0.5), Some(0.99), Some(1.0)];
        assert_eq!(shares.map(block).iter().collect::<String>(), " ▁▂▅██");
        for (values, drawn) in [
            (&[30.0, 30.0, 90.0, 270.0, 810.0][..], "▁▁▃▆█"),
            (&[30.0, 33.0, 60.0], "▁▁▃"),
            (&[0.0, 0.0], "▁▁"),
        ] {
            let heights = Logarithmic::over(values.iter().copied());
            let blocks = values.iter().map(|value| block(Some(heights.share(*value))));
            assert_eq!(blocks.collect::<String>(), drawn, "{heights:?}");
        }
    }

    #[test]
    fn buckets_are_put_together_until_they_fit() {
        for (columns, column_ms, at_ms, column) in
            [(60, 200.0, 3999.0, 19), (60, 200.0, 4000.0, 20), (60, 200.0, 99_999.0, 59)]
        {
            let chart = Chart { columns, column_ms, label_width: 10 };
            assert_eq!(chart.column(at_ms), column, "{at_ms}");
        }
    }
}
