//! Text for HTML and SVG, and the pieces that all plots have.

use std::fmt::Write as _;

use super::scale::Scale;

/// Width and height of every plot, in its own units, which are a phone's or a little smaller: what is
/// written in it can be read there.
pub(super) const WIDTH: f64 = 420.0;
pub(super) const HEIGHT: f64 = 320.0;
/// Where the plotting area ends.
pub(super) const LEFT: f64 = 56.0;
pub(super) const RIGHT: f64 = WIDTH - 12.0;
pub(super) const BOTTOM: f64 = HEIGHT - 46.0;
/// A letter of the plots' font is about so wide.
pub(super) const LETTER: f64 = 7.4;
/// The height of a row of the key, and how many rows fit above the plotting area. With more the picture is
/// higher, and the plotting area as large as ever.
const ROW: f64 = 19.0;
const ROWS: f64 = 2.0;
/// How many colours there are.
const COLOURS: usize = 7;

/// `text` with what would be markup written out.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            other => out.push(other),
        }
    }
    out
}

/// A number as short as it can be read: three digits, thousands as k.
pub(super) fn short(number: f64) -> String {
    let size = number.abs();
    let text = if size >= 1e6 {
        format!("{:.2}M", number / 1e6)
    } else if size >= 1e4 {
        format!("{:.0}k", number / 1e3)
    } else if size >= 100.0 || number.fract() == 0.0 {
        format!("{number:.0}")
    } else if size >= 10.0 {
        format!("{number:.1}")
    } else {
        format!("{number:.2}")
    };
    match text.contains('.') {
        true if !text.ends_with('M') => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        _ => text,
    }
}

/// A key to the colours: names in rows above the plotting area.
pub(super) struct Legend {
    svg: String,
    x: f64,
    y: f64,
}

impl Legend {
    pub(super) fn new() -> Self {
        Self { svg: String::new(), x: LEFT - 44.0, y: 16.0 }
    }

    /// An entry with the sample `draw` makes at a place.
    fn entry(&mut self, name: &str, draw: impl Fn(f64, f64) -> String) {
        let width = 26.0 + LETTER * name.chars().count() as f64 + 12.0;
        if self.x + width > RIGHT + 8.0 && self.x > LEFT {
            (self.x, self.y) = (LEFT - 44.0, self.y + ROW);
        }
        let (x, y) = (self.x, self.y);
        self.svg.push_str(&draw(x, y - 4.5));
        let _ =
            write!(self.svg, "<text x=\"{:.1}\" y=\"{y:.1}\">{}</text>", x + 26.0, escape(name));
        self.x += width;
    }

    pub(super) fn square(&mut self, name: &str, colour: usize) {
        let class = colour % COLOURS;
        self.entry(name, |x, y| {
            let y = y - 5.5;
            format!(
                "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"20\" height=\"11\" class=\"f{class}\"/>"
            )
        });
    }

    pub(super) fn stroke(&mut self, name: &str, class: &str) {
        self.entry(name, |x, y| {
            let to = x + 20.0;
            format!(
                "<line x1=\"{x:.1}\" x2=\"{to:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\" class=\"{class}\"/>"
            )
        });
    }

    /// Where the plotting area begins.
    pub(super) fn top(&self) -> f64 {
        let top = if self.svg.is_empty() { 14.0 } else { self.y + 14.0 };
        top - self.above()
    }

    /// By how much the picture is higher than others.
    fn above(&self) -> f64 {
        (self.y - 16.0 - (ROWS - 1.0) * ROW).max(0.0)
    }

    /// The picture with what was drawn in and around the plotting area.
    pub(super) fn picture(&self, title: &str, drawn: &str) -> String {
        let above = self.above();
        let (height, title) = (HEIGHT + above, escape(title));
        format!(
            "<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{title}\">{}\
             <g transform=\"translate(0 {above})\">{drawn}</g></svg>",
            self.svg
        )
    }
}

/// The class of a line's colour.
pub(super) fn stroke_class(colour: usize) -> String {
    format!("line s{}", colour % COLOURS)
}

/// The class of an area's colour.
pub(super) fn fill_class(colour: usize) -> String {
    format!("f{}", colour % COLOURS)
}

/// Horizontal grid lines with their numbers, and what they count.
pub(super) fn left_axis(scale: &Scale, label: &str) -> String {
    let mut out = String::new();
    for tick in scale.ticks() {
        let y = scale.at(tick);
        let _ = write!(
            out,
            "<line x1=\"{LEFT}\" x2=\"{RIGHT}\" y1=\"{y:.1}\" y2=\"{y:.1}\" class=\"grid\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\" class=\"soft\">{}</text>",
            LEFT - 6.0,
            y + 4.0,
            short(tick)
        );
    }
    let middle = (scale.at(scale.low()) + scale.at(scale.high())) / 2.0;
    let _ = write!(
        out,
        "<text transform=\"translate(13 {middle:.1}) rotate(-90)\" text-anchor=\"middle\" \
         class=\"soft\">{}</text>",
        escape(label)
    );
    out
}

/// What stands under a plot.
pub(super) fn bottom_label(label: &str) -> String {
    let (x, y) = ((LEFT + RIGHT) / 2.0, HEIGHT - 8.0);
    format!(
        "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"middle\" class=\"soft\">{}</text>",
        escape(label)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_text_is_no_markup() {
        for (number, text) in [
            (0.0, "0"),
            (0.25, "0.25"),
            (27.0, "27"),
            (27.04, "27"),
            (31.25, "31.2"),
            (1_500.0, "1500"),
            (250_000.0, "250k"),
            (2_500_000.0, "2.50M"),
        ] {
            assert_eq!(short(number), text);
        }
        assert_eq!(escape("<a b=\"c\">&"), "&lt;a b=&quot;c&quot;&gt;&amp;");
    }
}
