//! Tables that fit the width of the output.

use anstyle::Style;
use unicode_width::UnicodeWidthStr as _;

use crate::term::harmless;

use super::output::{PLAIN, QUIET, paint};

/// Separator of columns.
const GAP: usize = 2;

/// Length of shortened ids.
const SHORT: usize = 8;

/// Minimum width of a cut column before other columns shrink, and after all have.
const LEAST: (usize, usize) = (12, 4);

/// Behaviour of a column in too narrow a table. Columns with the smallest number shrink first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Yields {
    /// Keeps its width.
    Never,
    /// Cuts long texts, with an ellipsis.
    Cuts,
    /// Shows the first characters of its ids, which commands accept.
    Shortens(u8),
    /// Disappears.
    Goes(u8),
}

/// A text in a style.
#[derive(Clone, Debug)]
pub struct Cell {
    text: String,
    style: Style,
}

impl Cell {
    /// A text in a style, with its control characters escaped.
    pub fn styled(style: Style, text: impl AsRef<str>) -> Self {
        Cell { text: harmless(text.as_ref()), style }
    }
}

impl<T: AsRef<str>> From<T> for Cell {
    fn from(text: T) -> Self {
        Cell::styled(PLAIN, text)
    }
}

/// Rows of cells below headers.
#[derive(Debug)]
pub struct Table<const N: usize> {
    columns: [(&'static str, Yields); N],
    rows: Vec<[Cell; N]>,
}

impl<const N: usize> Table<N> {
    /// An empty table.
    pub fn new(columns: [(&'static str, Yields); N]) -> Self {
        Table { columns, rows: Vec::new() }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: [Cell; N]) {
        self.rows.push(cells);
    }

    /// Lines of the table, the headers first. No line is wider than `width`, if given.
    pub fn lines(&self, width: Option<usize>) -> Vec<String> {
        let head = self.columns.map(|(name, _)| Cell::styled(QUIET, name));
        let rows = || std::iter::once(&head).chain(&self.rows);
        let mut widths: [usize; N] = std::array::from_fn(|column| {
            rows().map(|row| row[column].text.width()).max().unwrap_or(0)
        });
        if let Some(width) = width {
            self.fit(&mut widths, width);
        }
        rows().map(|row| line(row, &widths)).collect()
    }

    /// The lines as one text.
    pub fn text(&self, width: Option<usize>) -> String {
        self.lines(width).into_iter().map(|line| line + "\n").collect()
    }

    /// Makes columns narrower, down to 0 if they disappear, until all of them fit.
    fn fit(&self, widths: &mut [usize; N], width: usize) {
        let mut whole = *widths;
        self.cut(widths, width, LEAST.0);
        let yields = (0..N).filter_map(|column| match self.columns[column].1 {
            Yields::Shortens(rank) => Some((rank, column, SHORT)),
            Yields::Goes(rank) => Some((rank, column, 0)),
            _ => None,
        });
        let mut yields: Vec<_> = yields.collect();
        yields.sort_unstable();
        for (_, column, to) in yields {
            if over(widths, width) > 0 {
                whole[column] = whole[column].min(to);
                *widths = whole;
                self.cut(widths, width, LEAST.0);
            }
        }
        self.cut(widths, width, LEAST.1);
        // So narrow a window fits some of the columns only.
        for column in (0..N).rev() {
            widths[column] = widths[column].saturating_sub(over(widths, width));
        }
    }

    fn cut(&self, widths: &mut [usize; N], width: usize, least: usize) {
        for column in (0..N).filter(|&column| self.columns[column].1 == Yields::Cuts) {
            let room = widths[column].saturating_sub(over(widths, width));
            widths[column] = room.max(least.min(widths[column]));
        }
    }
}

/// Width by which the columns together are too wide.
fn over(widths: &[usize], width: usize) -> usize {
    let shown = widths.iter().filter(|width| **width > 0).count();
    (widths.iter().sum::<usize>() + GAP * shown.saturating_sub(1)).saturating_sub(width)
}

fn line<const N: usize>(cells: &[Cell; N], widths: &[usize; N]) -> String {
    let mut line = String::new();
    let mut padding = 0;
    for (cell, &width) in cells.iter().zip(widths) {
        if width == 0 {
            continue;
        }
        let text = cut(&cell.text, width);
        if !text.is_empty() {
            line.push_str(&" ".repeat(padding));
            line.push_str(&paint(cell.style, &text));
            padding = 0;
        }
        padding += width - text.width() + GAP;
    }
    line
}

/// A text of at most `width` columns, with an ellipsis if it was cut. Ids are cut without one, since
/// their beginning identifies them.
pub fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let id = text.len() == 36 && text.parse::<uuid::Uuid>().is_ok();
    let room = if id { width } else { width.saturating_sub(1) };
    let mut kept = String::new();
    for c in text.chars() {
        kept.push(c);
        if kept.width() > room {
            kept.pop();
            break;
        }
    }
    if id { kept } else { kept + "…" }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "d52018b5-4a92-4a01-84b2-82c2277f9c8c";

    fn table(user: &str) -> Table<5> {
        let mut table = Table::new([
            ("TOKEN", Yields::Shortens(3)),
            ("USER", Yields::Cuts),
            ("ENDS", Yields::Never),
            ("STARTED", Yields::Goes(2)),
            ("LEASE", Yields::Goes(1)),
        ]);
        let [id, ends] = [Cell::from(ID), "in 2s".into()];
        table.row([id.clone(), user.into(), ends.clone(), "12s ago".into(), id.clone()]);
        table.row([id.clone(), "王芳".into(), ends, "1m ago".into(), id]);
        table
    }

    fn plain(table: &Table<5>, width: Option<usize>) -> Vec<String> {
        let lines = table.lines(width);
        lines.iter().map(|line| anstream::adapter::strip_str(line).to_string()).collect()
    }

    #[test]
    fn columns_are_aligned_and_narrow_windows_lose_the_least() {
        let all = plain(&table("Edivan"), None);
        assert_eq!(all[0], format!("TOKEN{:33}USER    ENDS   STARTED  LEASE", ""));
        assert_eq!(all[1], format!("{ID}  Edivan  in 2s  12s ago  {ID}"));
        assert_eq!(all[2], format!("{ID}  王芳    in 2s  1m ago   {ID}"));
        let narrow = |user, width| plain(&table(user), Some(width)).remove(1);
        assert_eq!(narrow("Edivan", 80), format!("{ID}  Edivan  in 2s  12s ago"));
        let magnificent = "Edivan the Magnificent";
        assert_eq!(narrow(magnificent, 72), format!("{ID}  Edivan the Magnif…  in 2s  12s ago"));
        assert_eq!(narrow(magnificent, 60), format!("{ID}  Edivan the Mag…  in 2s"));
        assert_eq!(narrow(magnificent, 40), "d52018b5  Edivan the Magnificent  in 2s");
        assert_eq!(narrow(magnificent, 24), "d52018b5  Edivan…  in 2s");
    }

    #[test]
    fn no_line_is_wider_than_the_window() {
        for user in ["a", "Edivan the Magnificent", "\x1b[31m\u{202e}", &"王".repeat(200)] {
            for width in 1..120 {
                for line in plain(&table(user), Some(width)) {
                    assert!(line.width() <= width, "{line:?} in {width}");
                    assert!(!line.contains('\x1b'), "{line:?}");
                }
            }
        }
    }
}
