//! Lines of a text.

/// Where the lines of a text begin.
pub(crate) struct Lines {
    /// Positions of the line breaks.
    breaks: Vec<usize>,
}

impl Lines {
    pub fn of(text: &str) -> Self {
        Lines { breaks: text.match_indices('\n').map(|(at, _)| at).collect() }
    }

    /// Number of the line with this byte, from 1.
    pub fn line(&self, at: usize) -> usize {
        self.breaks.partition_point(|line_break| *line_break < at) + 1
    }
}
