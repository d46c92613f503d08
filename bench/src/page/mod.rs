//! The page of an experiment's report: one HTML file that opens anywhere, without network, scripts
//! or fonts of its own; and its plots as SVG files.
//!
//! Plots are plain SVG written here: bars, lines and marks are few elements, and only so do they
//! follow the reader's light or dark scheme, scale to a phone, print, and keep their figures as
//! tooltips. Colours are those of Okabe and Ito, which the colour-blind can tell apart.

mod bars;
mod figures;
mod lines;
mod markup;
mod scale;
mod tables;

use crate::experiment::{PointReport, Report};
use figures::figures;
use markup::escape;

/// What every page and every picture looks like.
const STYLE: &str = include_str!("style.css");

/// A plot: its file name without ending, what stands over it, and the picture.
#[derive(Clone, Debug)]
pub struct Figure {
    /// Its name, unique in a report.
    pub name: String,
    /// What it shows.
    pub title: String,
    /// The picture, to stand in a page.
    pub svg: String,
}

impl Figure {
    /// The picture as a file of its own, in the colours of paper and in the plainest CSS: not every
    /// program that shows SVG knows variables.
    pub fn file(&self) -> String {
        let opened = self.svg.replacen("<svg ", "<svg xmlns=\"http://www.w3.org/2000/svg\" ", 1);
        let (head, body) = opened.split_at(opened.find('>').map_or(0, |at| at + 1));
        let rules: Vec<&str> = STYLE.lines().filter(|line| line.starts_with("svg ")).collect();
        plain(&format!(
            "{head}<style>{}</style><rect class=\"paper\" width=\"100%\" height=\"100%\"/>{body}\n",
            rules.join("\n")
        ))
    }
}

/// `text` with the first values of the style's variables, which are those for light paper.
fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("var(") {
        let (name, after) = after.split_once(')').unwrap_or((after, ""));
        let value =
            STYLE.split_once(&format!("{name}: ")).and_then(|(_, tail)| tail.split(';').next());
        out.push_str(before);
        out.push_str(value.unwrap_or("#000000"));
        rest = after;
    }
    out + rest
}

/// All plots of a report.
pub fn plots(report: &Report) -> Vec<Figure> {
    figures(report)
}

/// The page.
pub fn page(report: &Report) -> String {
    let mut body = String::new();
    let engines: Vec<&str> = report.conditions.engines.iter().map(|e| e.name()).collect();
    body.push_str(&format!(
        "<header><p class=\"kicker\">Panchayat geo laboratory · {} · engine: {}</p><h1>{}</h1>\
         <p class=\"question\">{}</p></header>\n",
        escape(&report.name),
        engines.join(" and "),
        escape(&report.title),
        escape(&report.question),
    ));
    if !report.ok {
        body.push_str(
            "<p class=\"alarm\">A check of this run failed: see the table of checks.</p>\n",
        );
    }
    let late = |point: &PointReport| point.emulator.as_ref().is_some_and(|found| !found.valid);
    if report.points.iter().any(late) {
        body.push_str(
            "<p class=\"alarm\">The emulator was late: figures of the runs it calls late in its \
             self-check are not to be trusted. Run it again where nothing else runs.</p>\n",
        );
    }
    body.push_str(&tables::conditions(report));
    if !report.findings.is_empty() {
        body.push_str("<section><h2>What was found</h2><ul>");
        for finding in &report.findings {
            body.push_str(&format!("<li>{}</li>", escape(finding)));
        }
        body.push_str("</ul></section>\n");
    }
    body.push_str("<section><h2>Plots</h2><div class=\"plots\">");
    for figure in plots(report) {
        body.push_str(&format!(
            "<figure id=\"{}\"><figcaption>{}</figcaption>{}</figure>\n",
            escape(&figure.name),
            escape(&figure.title),
            figure.svg
        ));
    }
    body.push_str("</div></section>\n");
    body.push_str(&tables::tables(report));
    body.push_str(&format!(
        "<footer><p>Again: <code>panchayat geo experiment {} --engine {}</code> at commit <code>{}</code>. \
         The figures behind every plot are in the JSON file beside this page.</p></footer>\n",
        escape(&report.name),
        if engines.len() == 2 { "both" } else { engines.first().copied().unwrap_or("simulated") },
        escape(&report.conditions.commit),
    ));
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<link rel=\"icon\" href=\"data:,\">\n\
         <title>{} · Panchayat</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n{body}</body>\n</html>\n",
        escape(&report.title)
    )
}

#[cfg(test)]
mod tests;
