//! Tables as kubectl prints them: columns with spaces between them, and no lines.

use console::{Alignment, measure_text_width, pad_str};

use crate::cli::terminal::look::Look;

/// The gap between columns, as in kubectl.
const GAP: &str = "   ";
/// The least width that the last column needs, if it can be cut.
const LEAST_OF_LAST: usize = 12;

/// A column.
#[derive(Clone, Copy, Debug)]
struct Column {
    title: &'static str,
    /// Which column is left out first if there is too little room: the one with the highest rank. Columns of rank 0
    /// stay.
    rank: u8,
    width: usize,
    is_shown: bool,
}

/// A table that can be written page by page.
#[derive(Debug)]
pub struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<String>>,
    is_begun: bool,
}

impl Table {
    /// Creates a table without rows. Each column has a title and a rank. If there is too little room, the columns of
    /// the highest rank are left out first. Columns of rank 0 stay.
    pub fn new(columns: &[(&'static str, u8)]) -> Self {
        let column = |&(title, rank): &(&'static str, u8)| Column {
            title,
            rank,
            width: title.len(),
            is_shown: true,
        };
        Self {
            columns: columns.iter().map(column).collect(),
            rows: Vec::new(),
            is_begun: false,
        }
    }

    /// Adds a row with a cell for each column.
    pub fn push(&mut self, cells: impl IntoIterator<Item = String>) {
        let cells: Vec<String> = cells.into_iter().collect();
        for (column, cell) in self.columns.iter_mut().zip(&cells) {
            column.width = measure_text_width(cell).max(column.width);
        }
        self.rows.push(cells);
    }

    /// Returns the rows that were added since the last page. The first page begins with the titles.
    pub fn page(&mut self, look: &Look) -> String {
        let mut lines = Vec::new();
        if !std::mem::replace(&mut self.is_begun, true) {
            self.leave_out_columns(look);
            let titles = self.columns.iter().map(|column| column.title.to_owned());
            lines.push(look.bold(&self.line(&titles.collect::<Vec<_>>(), look)));
        }
        lines.extend(self.rows.iter().map(|row| self.line(row, look)));
        self.rows.clear();
        lines.join("\n")
    }

    /// Leaves out the columns that don't fit. A last column that stays is cut.
    fn leave_out_columns(&mut self, look: &Look) {
        let Some(width) = look.width else { return };
        while self.needed() > width {
            let shown = self.columns.iter_mut().filter(|column| column.is_shown);
            let least = shown.max_by_key(|column| column.rank);
            match least {
                Some(column) if column.rank > 0 => column.is_shown = false,
                _ => return,
            }
        }
    }

    /// Returns the width that the table needs. A last column of rank 0 counts as cut.
    fn needed(&self) -> usize {
        let shown: Vec<_> = self.columns.iter().filter(|it| it.is_shown).collect();
        let Some((last, others)) = shown.split_last() else {
            return 0;
        };
        let others: usize = others.iter().map(|it| it.width + GAP.len()).sum();
        let of_last = match last.rank {
            0 => last.width.min(LEAST_OF_LAST),
            _ => last.width,
        };
        others + of_last
    }

    fn line(&self, cells: &[String], look: &Look) -> String {
        let padded: Vec<_> = cells
            .iter()
            .zip(&self.columns)
            .filter(|(_, column)| column.is_shown)
            .map(|(cell, column)| pad_str(cell, column.width, Alignment::Left, None))
            .collect();
        look.cut(padded.join(GAP).trim_end())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_narrow_table_leaves_out_the_least_important_columns() {
        let mut table = Table::new(&[("NAME", 0), ("MODE", 2), ("MESSAGE", 0)]);
        table.push(["np1", "User", "waits for its turn"].map(str::to_owned));
        let look = Look {
            width: Some(24),
            ..Look::default()
        };
        assert_eq!(
            table.page(&look),
            "NAME   MESSAGE\nnp1    waits for its tu…"
        );
    }

    #[test]
    fn a_second_page_has_no_titles() {
        let mut table = Table::new(&[("NAME", 0), ("MODE", 0)]);
        table.push(["np1", "User"].map(str::to_owned));
        assert_eq!(table.page(&Look::default()), "NAME   MODE\nnp1    User");
        table.push(["np2", "User"].map(str::to_owned));
        assert_eq!(table.page(&Look::default()), "np2    User");
    }
}
