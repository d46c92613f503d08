//! Pages of real reports: complete, well-formed, and without anything from elsewhere.

use panchayat::Topology;

use super::*;
use crate::experiment::{Engine, parse, run};

fn report(text: &str) -> Report {
    let experiment = parse("test.yaml", text).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let topology = Topology::builtin();
    let engines = [Engine::Simulated];
    let never = std::future::pending();
    runtime.block_on(run(&experiment, &topology, &engines, never, &|_| {})).unwrap()
}

/// Every element that is opened is closed, in order.
fn check_nesting(text: &str) {
    const VOID: [&str; 3] = ["meta", "link", "!doctype"];
    let mut open: Vec<&str> = Vec::new();
    for piece in text.split('<').skip(1) {
        let (tag, _) = piece.split_once('>').expect("a tag ends");
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name), "closed in order");
        } else if !tag.ends_with('/') {
            let name = tag.split(char::is_whitespace).next().unwrap();
            if !VOID.contains(&name) {
                open.push(name);
            }
        }
    }
    assert!(open.is_empty(), "still open: {open:?}");
}

#[test]
fn a_page_is_whole_and_needs_nothing_else() {
    let sweep = report(
        "format: 1\nname: sweep\ntitle: A <sharp> title\nquestion: why & how?\nduration_s: 1\n\
         load: {clients: 2}\nsweep: {axis: conflict, values: [0, 100]}\n",
    );
    let faults = report(
        "format: 1\nname: faults\nduration_s: 4\nload: {clients: 2}\nprotocols: [epaxos]\n\
         faults: [kill delhi@1s..2s]\n",
    );
    for report in [&sweep, &faults] {
        let page = page(report);
        check_nesting(&page);
        for foreign in ["http://", "https://", "<script", "@import", "url("] {
            assert!(!page.contains(foreign), "{foreign}");
        }
        assert!(!page.contains("NaN") && !page.contains("inf"), "numbers are numbers");
        for figure in plots(report) {
            assert!(page.contains(&figure.svg), "{}", figure.name);
            check_nesting(&figure.file());
            let file = figure.file();
            assert!(file.starts_with("<svg xmlns"));
            assert!(!file.contains("var(") && file.contains("svg .s0 { stroke: #0072b2; }"));
        }
        let mut names: Vec<_> = plots(report).into_iter().map(|figure| figure.name).collect();
        names.sort();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count, "a name for each");
    }
    assert!(page(&sweep).contains("A &lt;sharp&gt; title"));
    assert!(page(&sweep).contains("fast-path") && page(&faults).contains("class=\"fault\""));
}
