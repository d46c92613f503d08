//! Bars in groups: latency by city, with what geography sets drawn across.

use std::fmt::Write as _;

use super::markup::{BOTTOM, HEIGHT, LEFT, Legend, RIGHT, escape, fill_class, left_axis, short};
use super::scale::Scale;

/// The bars of one city.
#[derive(Clone, Debug)]
pub(super) struct Group {
    pub(super) label: String,
    /// Height and whisker by series; `None` where a series has nothing here.
    pub(super) bars: Vec<Option<(f64, f64)>>,
    /// What no protocol of this kind can beat.
    pub(super) bound: Option<f64>,
    /// What no network can beat.
    pub(super) fibre: Option<f64>,
}

/// Draws `groups`; `names` are the series'.
pub(super) fn bars(title: &str, unit: &str, names: &[String], groups: &[Group]) -> String {
    let mut legend = Legend::new();
    for (colour, name) in names.iter().enumerate() {
        legend.square(name, colour);
    }
    if groups.iter().any(|group| group.bound.is_some()) {
        legend.stroke("bound", "bound");
    }
    if groups.iter().any(|group| group.fibre.is_some()) {
        legend.stroke("light in fibre", "fibre");
    }
    legend.stroke("up to p99", "whisker");
    let top = legend.top();
    let highest = groups.iter().flat_map(|group| group.bars.iter().flatten());
    let highest = highest.map(|(height, whisker)| whisker.min(height * 3.0)).fold(0.0, f64::max);
    let up = Scale::linear(0.0, Scale::round_up(highest), BOTTOM, top);
    let mut out = left_axis(&up, unit);
    let room = (RIGHT - LEFT) / groups.len().max(1) as f64;
    let width = (room * 0.82 / names.len().max(1) as f64).min(46.0);
    for (at, group) in groups.iter().enumerate() {
        let middle = LEFT + room * (at as f64 + 0.5);
        let left = middle - width * names.len() as f64 / 2.0;
        for (colour, bar) in group.bars.iter().enumerate() {
            let Some((height, whisker)) = bar else { continue };
            let (x, y) = (left + width * colour as f64, up.at(*height));
            let _ = write!(
                out,
                "<rect x=\"{:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{:.1}\" class=\"{}\">\
                 <title>{}, {}: p50 {} ms, p99 {} ms</title></rect>",
                x + 1.0,
                (width - 2.0).max(1.0),
                (BOTTOM - y).max(0.5),
                fill_class(colour),
                escape(&group.label),
                escape(&names[colour]),
                short(*height),
                short(*whisker),
            );
            let centre = x + width / 2.0;
            let _ = write!(
                out,
                "<line x1=\"{centre:.1}\" x2=\"{centre:.1}\" y1=\"{y:.1}\" y2=\"{:.1}\" \
                 class=\"whisker\"/>",
                up.at(*whisker)
            );
            if width >= 25.0 {
                let _ = write!(
                    out,
                    "<text x=\"{centre:.1}\" y=\"{:.1}\" text-anchor=\"middle\" class=\"soft\" \
                     style=\"paint-order:stroke;stroke:var(--paper);stroke-width:3px\">{}</text>",
                    BOTTOM - 6.0,
                    short(*height)
                );
            }
        }
        for (value, class) in [(group.bound, "bound"), (group.fibre, "fibre")] {
            let Some(value) = value else { continue };
            let y = up.at(value);
            let (from, to) = (middle - room * 0.46, middle + room * 0.46);
            let _ = write!(
                out,
                "<line x1=\"{from:.1}\" x2=\"{to:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\" \
                 class=\"{class}\"><title>{} {} ms</title></line>",
                if class == "bound" { "direct-path bound" } else { "light in fibre" },
                short(value)
            );
        }
        let _ = write!(
            out,
            "<text x=\"{middle:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            BOTTOM + 18.0,
            escape(&group.label)
        );
    }
    let _ = write!(
        out,
        "<line x1=\"{LEFT}\" x2=\"{RIGHT}\" y1=\"{BOTTOM}\" y2=\"{BOTTOM}\" class=\"axis\"/>\
         <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\" class=\"soft\">client's city</text>",
        (LEFT + RIGHT) / 2.0,
        HEIGHT - 8.0
    );
    legend.picture(title, &out)
}
