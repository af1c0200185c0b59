//! The picture of a run: what was broken when, and what clients got meanwhile. One page that needs nothing else.

use std::fmt::Write as _;

use super::Verdict;
use crate::fault::{FaultKind, Injected, Lane};
use crate::history::{Event, Outcome};

const STYLE: &str = include_str!("timeline.css");
/// The picture's width, and what its left margin takes of it, in pixels.
const WIDTH: f64 = 1_120.0;
const MARGIN: f64 = 90.0;
/// The height of a row of faults, and of a workload.
const FAULT_ROW: f64 = 20.0;
const WORK_ROW: f64 = 64.0;
/// Into how many pieces the time of a workload is cut.
const PIECES: usize = 240;

/// The page.
pub(crate) fn page(verdict: &Verdict, injected: &[Injected], history: &[Event]) -> String {
    let last = history.iter().map(|event| event.ended_us);
    let end_us = last
        .chain(injected.iter().map(|fault| fault.ended_us))
        .max()
        .unwrap_or(1)
        .max(1);
    let (class, word) = if verdict.passed {
        ("passed", "passed")
    } else {
        ("failed-run", "failed")
    };
    let mut wrong: Vec<String> = verdict.vacuous.iter().chain(&verdict.trouble).cloned().collect();
    wrong.extend(verdict.findings.iter().flat_map(|found| found.anomalies.clone()));
    let wrong = match wrong.is_empty() {
        true => String::new(),
        false => format!("<h2>What is wrong</h2><pre>{}</pre>", escaped(&wrong.join("\n"))),
    };
    format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Covey under faults, seed {seed}</title>\
         <style>{STYLE}</style>\
         <h1>Covey under faults <span class=\"verdict {class}\">{word}</span></h1>\
         <p>seed {seed} · {seconds:.0} s · {network} · {faults} faults took effect · {operations} operations</p>\
         {wrong}<h2>Faults and operations</h2>{key}{picture}\
         <h2>Workloads</h2>{workloads}<h2>Faults</h2>{table}</html>\n",
        seed = verdict.seed,
        seconds = verdict.seconds,
        network = verdict.network,
        faults = injected.iter().filter(|fault| fault.took_effect).count(),
        operations = history.len(),
        key = key(),
        picture = picture(verdict, injected, history, end_us),
        workloads = workloads(verdict),
        table = fault_table(injected),
    )
}

fn key() -> String {
    let colours = [
        ("ok", "answered"),
        ("failed", "failed"),
        ("unknown", "unknown"),
        ("processes", "processes"),
        ("network", "network"),
        ("clocks", "clocks"),
        ("members", "members"),
        ("disks", "disks"),
    ];
    let items = colours.map(|(name, words)| format!("<i style=\"background:var(--{name})\"></i>{words}"));
    format!("<p class=\"key\">{}</p>", items.concat())
}

fn picture(verdict: &Verdict, injected: &[Injected], history: &[Event], end_us: u64) -> String {
    let kinds: Vec<FaultKind> = verdict.faults.keys().copied().collect();
    let height = 30.0 + lines(kinds.len()) * FAULT_ROW + lines(verdict.findings.len()) * WORK_ROW;
    let mut svg = format!("<svg viewBox=\"0 0 {WIDTH} {height}\">");
    grid(&mut svg, height, end_us);
    let mut top = 24.0;
    for kind in kinds {
        name(&mut svg, top + 13.0, kind.name());
        for fault in injected.iter().filter(|fault| fault.step.kind == kind) {
            band(&mut svg, top, fault, end_us);
        }
        top += FAULT_ROW;
    }
    for found in &verdict.findings {
        top += WORK_ROW;
        name(&mut svg, top - 24.0, &found.workload);
        let events = history.iter().filter(|event| event.workload == found.workload);
        bars(&mut svg, top, events, end_us);
    }
    svg + "</svg>"
}

#[allow(clippy::cast_precision_loss, reason = "pixels")]
fn lines(count: usize) -> f64 {
    count as f64
}

#[allow(clippy::cast_precision_loss, reason = "pixels")]
fn x(at_us: u64, end_us: u64) -> f64 {
    MARGIN + (WIDTH - MARGIN - 10.0) * at_us as f64 / end_us as f64
}

/// A vertical line for every so many seconds, about ten of them.
fn grid(svg: &mut String, height: f64, end_us: u64) {
    let seconds = usize::try_from(end_us / 1_000_000).unwrap_or(usize::MAX);
    let every = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1_800, 3_600]
        .into_iter()
        .find(|every| seconds / every <= 12)
        .unwrap_or(7_200);
    for second in (0..=seconds).step_by(every) {
        let at = x(second as u64 * 1_000_000, end_us);
        let _ = write!(
            svg,
            "<line class=\"grid\" x1=\"{at:.1}\" y1=\"18\" x2=\"{at:.1}\" y2=\"{height}\"/>\
             <text x=\"{at:.1}\" y=\"12\" text-anchor=\"middle\">{second} s</text>"
        );
    }
}

fn name(svg: &mut String, y: f64, words: &str) {
    let _ = write!(svg, "<text class=\"name\" x=\"0\" y=\"{y:.1}\">{words}</text>");
}

fn band(svg: &mut String, top: f64, fault: &Injected, end_us: u64) {
    let (from, until) = (x(fault.began_us, end_us), x(fault.ended_us, end_us));
    let lane = match fault.step.kind.lane() {
        Lane::Processes => "processes",
        Lane::Network => "network",
        Lane::Clocks => "clocks",
        Lane::Members => "members",
        Lane::Disks => "disks",
    };
    let without = if fault.took_effect { "" } else { " without" };
    let title = escaped(&format!(
        "nodes {:?}: {}; {}",
        fault.nodes, fault.what, fault.effect
    ));
    let (y, width) = (top + 2.0, (until - from).max(2.0));
    let _ = write!(
        svg,
        "<rect class=\"{lane}{without}\" x=\"{from:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"15\" rx=\"3\">\
         <title>{title}</title></rect>"
    );
}

/// Answered, failed and unknown operations of each piece of time, one on top of the other, by the moment of their end.
fn bars<'a>(svg: &mut String, bottom: f64, events: impl Iterator<Item = &'a Event>, end_us: u64) {
    let mut pieces = vec![[0_usize; 3]; PIECES];
    for event in events {
        let part = u128::from(event.ended_us) * PIECES as u128 / (u128::from(end_us) + 1);
        let place = usize::try_from(part).unwrap_or(0).min(PIECES - 1);
        let kind = match event.outcome {
            Outcome::Ok { .. } => 0,
            Outcome::Failed { .. } => 1,
            Outcome::Unknown { .. } => 2,
        };
        pieces[place][kind] += 1;
    }
    let most = pieces
        .iter()
        .map(|piece| piece.iter().sum::<usize>())
        .max()
        .unwrap_or(1)
        .max(1);
    let width = (WIDTH - MARGIN - 10.0) / lines(PIECES);
    for (place, piece) in pieces.iter().enumerate() {
        let left = MARGIN + lines(place) * width;
        let mut y = bottom;
        for (count, class) in piece.iter().zip(["ok", "failed", "unknown"]) {
            let height = (WORK_ROW - 14.0) * lines(*count) / lines(most);
            y -= height;
            if *count > 0 {
                let _ = write!(
                    svg,
                    "<rect class=\"{class}\" x=\"{left:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{height:.1}\"/>",
                    width - 0.6
                );
            }
        }
    }
}

fn workloads(verdict: &Verdict) -> String {
    let mut table = String::from(
        "<table><tr><th>workload<th>answered<th>failed<th>unknown<th>objects checked<th>lost<th>duplicated<th>stale\
         <th>undecided</tr>",
    );
    for found in &verdict.findings {
        let _ = write!(table, "<tr><td>{}", found.workload);
        for number in [
            found.ok,
            found.failed,
            found.unknown,
            found.checked,
            found.lost,
            found.duplicated,
            found.stale,
            found.undecided,
        ] {
            let _ = write!(table, "<td class=\"number\">{number}");
        }
        table.push_str("</tr>");
    }
    table + "</table>"
}

fn fault_table(injected: &[Injected]) -> String {
    let mut table = String::from("<table><tr><th>from<th>until<th>fault<th>nodes<th>what<th>effect</tr>");
    for fault in injected {
        let seconds = |us: u64| format!("{}.{:01} s", us / 1_000_000, us % 1_000_000 / 100_000);
        let _ = write!(
            table,
            "<tr><td class=\"number\">{}<td class=\"number\">{}<td>{}<td>{:?}<td>{}<td>{}{}</tr>",
            seconds(fault.began_us),
            seconds(fault.ended_us),
            fault.step.kind.name(),
            fault.nodes,
            escaped(&fault.what),
            if fault.took_effect { "" } else { "no effect: " },
            escaped(&fault.effect)
        );
    }
    table + "</table>"
}

/// Text that may stand in a page.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_said_cannot_become_part_of_the_page() {
        assert_eq!(escaped("<b a=\"1\"> & c"), "&lt;b a=&quot;1&quot;&gt; &amp; c");
    }
}
