//! How tables look.

use comfy_table::{CellAlignment, LineStyle, Table, TableStyle};

/// Lines above, below and under the header; none between rows.
const STYLE: TableStyle =
    TableStyle::new().top_border(RULE).header_separator(RULE).bottom_border(RULE);

const RULE: LineStyle = LineStyle::none().fill('─').junction('─');

/// A table whose first `names` columns are text and the others numbers.
pub(crate) fn table(header: &[&str], names: usize) -> Table {
    let mut table = Table::new();
    table.load_style(STYLE).set_header(header.iter().copied());
    for column in table.column_iter_mut().skip(names) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}
