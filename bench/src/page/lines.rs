//! Lines over an axis: sweeps, distributions, curves of throughput and latency, timelines.

use std::fmt::Write as _;

use super::markup::{
    BOTTOM, LEFT, LETTER, Legend, RIGHT, WIDTH, bottom_label, escape, left_axis, short,
    stroke_class,
};
use super::scale::Scale;

/// Above this ratio of the largest to the smallest an axis of latencies is logarithmic.
const WIDE: f64 = 8.0;

/// A line.
#[derive(Clone, Debug)]
pub(super) struct Line {
    /// Not in the key if empty.
    pub(super) name: String,
    pub(super) colour: usize,
    pub(super) dashed: bool,
    /// A gap where there is nothing to say.
    pub(super) points: Vec<(f64, Option<f64>)>,
}

/// Something that lasts: a fault.
#[derive(Clone, Debug)]
pub(super) struct Mark {
    pub(super) from: f64,
    pub(super) to: Option<f64>,
    pub(super) label: String,
}

/// How a plot of lines looks.
#[derive(Clone, Debug, Default)]
pub(super) struct Look<'a> {
    pub(super) title: &'a str,
    pub(super) x_label: &'a str,
    pub(super) y_label: &'a str,
    /// Whether each point is marked: there are few.
    pub(super) dots: bool,
    /// Whether the upward axis begins at zero and ends at this.
    pub(super) y_max: Option<f64>,
    /// Names instead of numbers under the plot, for x = 0, 1, 2…
    pub(super) names: Option<&'a [String]>,
    pub(super) marks: &'a [Mark],
    /// Whether the axis to the right may be logarithmic.
    pub(super) x_logarithmic: bool,
}

/// Draws `lines`.
pub(super) fn lines(look: &Look<'_>, lines: &[Line]) -> String {
    let mut legend = Legend::new();
    for line in lines.iter().filter(|line| !line.name.is_empty()) {
        let dash = if line.dashed { " dashed" } else { "" };
        legend.stroke(&line.name, &format!("{}{dash}", stroke_class(line.colour)));
    }
    let top = legend.top();
    let all = || lines.iter().flat_map(|line| &line.points);
    let xs = || all().map(|(x, _)| *x);
    let ys = || all().filter_map(|(_, y)| *y);
    let (x_low, x_high) = (xs().fold(f64::INFINITY, f64::min), xs().fold(0.0, f64::max));
    let (y_low, y_high) = (ys().fold(f64::INFINITY, f64::min), ys().fold(0.0, f64::max));
    let across = if look.x_logarithmic && x_low > 0.0 && x_high / x_low > WIDE {
        Scale::logarithmic(x_low, x_high, LEFT + 4.0, RIGHT - 4.0)
    } else {
        let low = if look.x_logarithmic && x_low.is_finite() { x_low } else { x_low.min(0.0) };
        Scale::linear(if low.is_finite() { low } else { 0.0 }, x_high, LEFT + 4.0, RIGHT - 4.0)
    };
    let up = match look.y_max {
        Some(most) => Scale::linear(0.0, most, BOTTOM, top),
        None if y_low > 0.0 && y_high / y_low > WIDE => {
            Scale::logarithmic(y_low * 0.9, y_high * 1.1, BOTTOM, top)
        }
        None => Scale::linear(0.0, Scale::round_up(y_high), BOTTOM, top),
    };
    let mut out = left_axis(&up, look.y_label);
    for mark in look.marks {
        out.push_str(&marked(mark, &across, top, x_high));
    }
    match look.names {
        Some(names) => {
            for (at, name) in names.iter().enumerate() {
                out.push_str(&tick(across.at(at as f64), name));
            }
        }
        None => across.ticks().iter().for_each(|x| out.push_str(&tick(across.at(*x), &short(*x)))),
    }
    for line in lines {
        out.push_str(&drawn(line, look, &across, &up));
    }
    let _ = write!(
        out,
        "<line x1=\"{LEFT}\" x2=\"{RIGHT}\" y1=\"{BOTTOM}\" y2=\"{BOTTOM}\" class=\"axis\"/>{}",
        bottom_label(look.x_label)
    );
    legend.picture(look.title, &out)
}

fn tick(x: f64, text: &str) -> String {
    // A long name under the edge stays within the picture.
    let middle = x.min(WIDTH - LETTER * text.chars().count() as f64 / 2.0);
    format!(
        "<line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{BOTTOM}\" y2=\"{:.1}\" class=\"axis\"/>\
         <text x=\"{middle:.1}\" y=\"{:.1}\" text-anchor=\"middle\" class=\"soft\">{}</text>",
        BOTTOM + 4.0,
        BOTTOM + 18.0,
        escape(text)
    )
}

fn marked(mark: &Mark, across: &Scale, top: f64, end: f64) -> String {
    let (from, to) = (across.at(mark.from), across.at(mark.to.unwrap_or(end)));
    let mut out = format!(
        "<rect x=\"{from:.1}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{:.1}\" class=\"fault\">\
         <title>{}</title></rect>",
        (to - from).max(1.0),
        BOTTOM - top,
        escape(&mark.label)
    );
    for x in [Some(from), mark.to.map(|_| to)].into_iter().flatten() {
        let _ = write!(
            out,
            "<line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{top:.1}\" y2=\"{BOTTOM}\" class=\"fault-edge\"/>"
        );
    }
    let _ = write!(
        out,
        "<text x=\"{:.1}\" y=\"{:.1}\" class=\"soft\">{}</text>",
        from + 4.0,
        top + 12.0,
        escape(&mark.label)
    );
    out
}

fn drawn(line: &Line, look: &Look<'_>, across: &Scale, up: &Scale) -> String {
    let mut path = String::new();
    let mut dots = String::new();
    let mut pen_down = false;
    for (x, y) in &line.points {
        let Some(value) = y else {
            pen_down = false;
            continue;
        };
        let (px, py) = (across.at(*x), up.at(*value));
        let _ = write!(path, "{}{px:.1} {py:.1}", if pen_down { "L" } else { "M" });
        pen_down = true;
        if look.dots {
            let at = match look.names {
                Some(names) => names.get(*x as usize).cloned().unwrap_or_default(),
                None => short(*x),
            };
            let _ = write!(
                dots,
                "<circle cx=\"{px:.1}\" cy=\"{py:.1}\" r=\"3.4\" class=\"f{}\"><title>{} at {}: \
                 {}</title></circle>",
                line.colour % 7,
                escape(&line.name),
                escape(&at),
                short(*value)
            );
        }
    }
    let dash = if line.dashed { " dashed" } else { "" };
    format!(
        "<path d=\"{path}\" class=\"{}{dash}\"><title>{}</title></path>{dots}",
        stroke_class(line.colour),
        escape(&line.name)
    )
}
