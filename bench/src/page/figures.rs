//! Which plots a report has: what people know how to read, for what was varied.

use crate::experiment::{Engine, PointReport, Report};

use super::Figure;
use super::bars::{Group, bars};
use super::lines::{Line, Look, Mark, lines};

/// Most places of an axis of names that get plots of their own.
const PLACES_MAX: usize = 8;

pub(super) fn figures(report: &Report) -> Vec<Figure> {
    let mut figures = Vec::new();
    for engine in &report.conditions.engines {
        let own = report.points.iter().filter(|p| p.engine == *engine && p.repetition == 0);
        let view = View { report, engine: *engine, points: own.collect() };
        let numbers = view.points.iter().any(|point| point.x.is_some());
        if numbers {
            figures.extend(view.sweep());
            figures.extend(view.rates());
        } else {
            figures.extend(view.cities());
            if view.places().len() > 1 {
                figures.extend(view.places_compared());
            }
        }
        figures.extend(view.timelines());
        figures.extend(view.distributions());
    }
    figures
}

/// What one engine found.
struct View<'a> {
    report: &'a Report,
    engine: Engine,
    points: Vec<&'a PointReport>,
}

impl<'a> View<'a> {
    /// The lines, in order.
    fn series(&self) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for point in &self.points {
            if !names.contains(&point.series) {
                names.push(point.series.clone());
            }
        }
        names
    }

    /// The places on the axis, in order.
    fn places(&self) -> Vec<Option<&'a str>> {
        let mut places: Vec<Option<&str>> = Vec::new();
        for point in &self.points {
            if !places.contains(&point.at.as_deref()) {
                places.push(point.at.as_deref());
            }
        }
        places
    }

    fn at(&self, place: Option<&str>, series: &str) -> Option<&'a PointReport> {
        let same = |point: &&&PointReport| point.at.as_deref() == place && point.series == series;
        self.points.iter().find(same).copied()
    }

    /// A name for a plot's file, and what its title ends with.
    fn figure(&self, name: &str, title: String, draw: impl FnOnce(&str) -> String) -> Figure {
        let engine = self.engine.name();
        let both = self.report.conditions.engines.len() > 1;
        let title = if both { format!("{title} ({engine})") } else { title };
        let svg = draw(&title);
        Figure { name: format!("{}-{engine}-{name}", self.report.name), title, svg }
    }

    /// Latency by city, a plot for each place: commit and execution apart.
    fn cities(&self) -> Vec<Figure> {
        let names = self.series();
        let mut figures = Vec::new();
        for place in self.places().into_iter().take(PLACES_MAX) {
            let runs: Vec<Option<&PointReport>> =
                names.iter().map(|name| self.at(place, name)).collect();
            let Some(first) = runs.iter().flatten().next() else { continue };
            let at = place.map(|place| format!(", {place}")).unwrap_or_default();
            let file = place.map(|place| format!("-{}", file_name(place))).unwrap_or_default();
            for (what, executed) in [("Commit", false), ("Execution", true)] {
                let group = |city: usize| {
                    let bar = |run: &Option<&PointReport>| {
                        let site = run.as_ref()?.sites.get(city)?;
                        let latency = if executed { site.execute_ms } else { site.commit_ms };
                        (site.commands > 0).then_some((latency.p50, latency.p99))
                    };
                    let site = &first.sites[city];
                    Group {
                        label: site.site.clone(),
                        bars: runs.iter().map(bar).collect(),
                        bound: Some(site.bound_ms),
                        fibre: site.fibre_ms,
                    }
                };
                let groups: Vec<Group> = (0..first.sites.len()).map(group).collect();
                let title = format!("{what} latency by city, median{at}");
                let name = format!("{}-by-city{file}", what.to_lowercase());
                figures.push(self.figure(&name, title, |title| bars(title, "ms", &names, &groups)));
            }
        }
        figures
    }

    /// One figure per place and line, over an axis of names.
    fn places_compared(&self) -> Vec<Figure> {
        let places = self.places();
        let names: Vec<String> =
            places.iter().map(|place| place.unwrap_or_default().to_owned()).collect();
        let of = |value: fn(&PointReport) -> f64| -> Vec<Line> {
            let series = self.series();
            let lines = series.iter().enumerate().map(|(colour, name)| Line {
                name: name.clone(),
                colour,
                dashed: false,
                points: places
                    .iter()
                    .enumerate()
                    .map(|(at, place)| (at as f64, self.at(*place, name).map(value)))
                    .collect(),
            });
            lines.collect()
        };
        let label = self.report.conditions.axis_label.as_deref().unwrap_or_default();
        let plot = |name: &str, title: &str, value: fn(&PointReport) -> f64| {
            let drawn = of(value);
            self.figure(name, title.to_owned(), |title| {
                let names = Some(&names[..]);
                let look = Look {
                    title,
                    x_label: label,
                    y_label: "ms",
                    dots: true,
                    names,
                    ..Look::default()
                };
                lines(&look, &drawn)
            })
        };
        vec![
            plot("commit-mean", "Commit latency, mean of the cities' means", |point| {
                point.overall.commit_mean_of_cities_ms
            }),
            plot("execute-p99", "Execution latency over all cities, p99", |point| {
                point.overall.execute_ms.p99
            }),
        ]
    }

    /// A line for each series over an axis of numbers.
    fn swept(
        &self,
        value: impl Fn(&PointReport) -> Option<f64>,
        only: impl Fn(&PointReport) -> bool,
    ) -> Vec<Line> {
        let series = self.series();
        let lines = series.iter().enumerate().map(|(colour, name)| {
            let own = self.points.iter().filter(|point| point.series == *name && only(point));
            let points = own.filter_map(|point| Some((point.x?, value(point))));
            Line { name: name.clone(), colour, dashed: false, points: points.collect() }
        });
        lines.filter(|line| line.points.iter().any(|(_, y)| y.is_some())).collect()
    }

    /// What an axis of numbers does to everything.
    fn sweep(&self) -> Vec<Figure> {
        let label = self.report.conditions.axis_label.as_deref().unwrap_or_default();
        let wide =
            matches!(self.report.conditions.axis.as_deref(), Some("rate" | "payload" | "clients"));
        let plot = |name: &str, title: &str, unit: &str, y_max: Option<f64>, drawn: Vec<Line>| {
            (!drawn.is_empty()).then(|| {
                self.figure(name, title.to_owned(), |title| {
                    let look = Look {
                        title,
                        x_label: label,
                        y_label: unit,
                        dots: true,
                        y_max,
                        x_logarithmic: wide,
                        ..Look::default()
                    };
                    lines(&look, &drawn)
                })
            })
        };
        let all = |_: &PointReport| true;
        let leaderless = |point: &PointReport| point.leader.is_none();
        let some = |point: &PointReport| point.overall.commands > 0;
        let over = |value: fn(&PointReport) -> f64| {
            self.swept(|point| some(point).then(|| value(point)), all)
        };
        let figures = [
            plot(
                "execute-mean",
                "Execution latency, mean of the cities' means",
                "ms",
                None,
                over(|p| p.overall.execute_mean_of_cities_ms),
            ),
            plot(
                "execute-p99",
                "Execution latency, p99 over all cities",
                "ms",
                None,
                over(|p| p.overall.execute_ms.p99),
            ),
            plot(
                "commit-mean",
                "Commit latency, mean of the cities' means",
                "ms",
                None,
                over(|p| p.overall.commit_mean_of_cities_ms),
            ),
            plot(
                "commit-p99",
                "Commit latency, p99 over all cities",
                "ms",
                None,
                over(|p| p.overall.commit_ms.p99),
            ),
            plot(
                "fast-path",
                "Commands decided in one round trip",
                "%",
                Some(100.0),
                over(|p| p.overall.fast_path_rate * 100.0),
            ),
            plot("messages", "Messages per command", "", None, over(|p| p.messages_per_command)),
            plot(
                "components",
                "Executions in strongly connected components",
                "%",
                Some(100.0),
                self.swept(|point| Some(point.components.share * 100.0), leaderless),
            ),
            plot(
                "component-size",
                "Commands in a component, mean of those with more than one",
                "",
                None,
                self.swept(|point| Some(point.components.mean), leaderless),
            ),
        ];
        figures.into_iter().flatten().collect()
    }

    /// Throughput against latency, where the load was varied.
    fn rates(&self) -> Vec<Figure> {
        if !matches!(self.report.conditions.axis.as_deref(), Some("rate" | "clients")) {
            return Vec::new();
        }
        let drawn: Vec<Line> = self
            .series()
            .iter()
            .enumerate()
            .map(|(colour, name)| {
                let own = self.points.iter().filter(|point| point.series == *name);
                let points = own
                    .filter(|point| point.overall.commands > 0)
                    .map(|point| (point.throughput_per_s, Some(point.overall.execute_ms.p99)));
                Line { name: name.clone(), colour, dashed: false, points: points.collect() }
            })
            .collect();
        let title = "Throughput against latency, p99 of execution".to_owned();
        vec![self.figure("throughput-latency", title, |title| {
            let look = Look {
                title,
                x_label: "commands answered per second, over all cities",
                y_label: "ms",
                dots: true,
                x_logarithmic: true,
                ..Look::default()
            };
            lines(&look, &drawn)
        })]
    }

    /// What a fault looked like: answers and latency in every tenth of a second.
    fn timelines(&self) -> Vec<Figure> {
        let mut figures = Vec::new();
        for point in self.points.iter().filter(|point| !point.timeline.is_empty()) {
            let marks: Vec<Mark> = point
                .faults
                .iter()
                .map(|fault| Mark {
                    from: fault.at_ms / 1e3,
                    to: fault.until_ms.map(|ms| ms / 1e3),
                    label: fault.fault.clone(),
                })
                .collect();
            let of = |value: &dyn Fn(&crate::geo::Bucket) -> Option<f64>| -> Vec<Line> {
                let cities = point.sites.iter().enumerate().map(|(colour, site)| {
                    let own = point.timeline.iter().filter(|bucket| bucket.site == site.site);
                    let points = own.map(|bucket| (bucket.at_ms / 1e3, value(bucket)));
                    Line {
                        name: site.site.clone(),
                        colour,
                        dashed: false,
                        points: points.collect(),
                    }
                });
                cities.collect()
            };
            let file =
                file_name(&format!("{} {}", point.series, point.at.as_deref().unwrap_or("")));
            let place = point.at.as_ref().map(|at| format!(", {at}")).unwrap_or_default();
            let mut plot = |name: &str, what: &str, unit: &str, drawn: Vec<Line>| {
                let title = format!("{}{place}: {what}", point.series);
                figures.push(self.figure(&format!("{name}-{file}"), title, |title| {
                    let look = Look {
                        title,
                        x_label: "seconds since the measurement began",
                        y_label: unit,
                        marks: &marks,
                        ..Look::default()
                    };
                    lines(&look, &drawn)
                }));
            };
            plot(
                "answers",
                "answers per second",
                "commands/s",
                of(&|bucket| Some(bucket.commands as f64 * 1e3 / bucket.bucket_ms)),
            );
            plot("latency", "p99 of execution in every 100 ms", "ms", of(&|bucket| bucket.p99_ms));
        }
        figures
    }

    /// How latencies are distributed, a plot for each city at the first place: commit dashed,
    /// execution solid.
    fn distributions(&self) -> Vec<Figure> {
        let names = self.series();
        let places = self.places();
        let shown = if self.points.iter().any(|point| point.x.is_some()) { 1 } else { PLACES_MAX };
        let mut figures = Vec::new();
        for place in places.into_iter().take(shown) {
            let runs: Vec<(usize, &PointReport)> = names
                .iter()
                .enumerate()
                .filter_map(|(colour, name)| Some((colour, self.at(place, name)?)))
                .collect();
            let Some((_, first)) = runs.first() else { continue };
            let at = place.map(|place| format!(", at {place}")).unwrap_or_default();
            let file = place.map(|place| format!("-{}", file_name(place))).unwrap_or_default();
            for (city, site) in first.sites.iter().enumerate() {
                let mut drawn = Vec::new();
                // Beyond what nearly all take there is nothing to see.
                let ends = runs.iter().filter_map(|(_, run)| run.sites.get(city));
                let end = ends.map(|own| own.execute_ms.p99).fold(0.0, f64::max) * 1.2;
                for (colour, run) in &runs {
                    let Some(own) = run.sites.get(city) else { continue };
                    let curves = [(&own.execute_curve, false), (&own.commit_curve, true)];
                    for (curve, dashed) in curves {
                        let within = curve.iter().filter(|[ms, _]| *ms <= end);
                        drawn.push(Line {
                            name: if dashed { String::new() } else { run.series.clone() },
                            colour: *colour,
                            dashed,
                            points: within.map(|[ms, share]| (*ms, Some(share * 100.0))).collect(),
                        });
                    }
                }
                let title =
                    format!("Distribution in {}{at}: execution, and commit dashed", site.site);
                let name = format!("distribution-{}{file}", file_name(&site.site));
                figures.push(self.figure(&name, title, |title| {
                    let look = Look {
                        title,
                        x_label: "ms",
                        y_label: "% of commands",
                        y_max: Some(100.0),
                        x_logarithmic: true,
                        ..Look::default()
                    };
                    lines(&look, &drawn)
                }));
            }
        }
        figures
    }
}

/// Letters and digits of `text`, the rest as dashes.
fn file_name(text: &str) -> String {
    let kept =
        text.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' });
    let name: String = kept.collect();
    name.split('-').filter(|part| !part.is_empty()).collect::<Vec<_>>().join("-")
}
