//! A small line chart as SVG: some lines over a common axis, with marks at moments worth remembering.

use std::fmt::Write;

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 280.0;
const LEFT: f64 = 56.0;
const RIGHT: f64 = 150.0;
const TOP: f64 = 34.0;
const BOTTOM: f64 = 30.0;
/// Told apart also by people who do not see all colours (Okabe and Ito, 2008).
const COLOURS: [&str; 8] = [
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#999999",
];
/// Horizontal lines of the grid.
const GRID_LINES: u32 = 4;

/// A line: its name and its points.
pub(super) struct Line {
    pub(super) name: String,
    pub(super) points: Vec<(f64, f64)>,
}

/// A chart.
pub(super) struct Chart<'a> {
    pub(super) title: &'a str,
    pub(super) lines: Vec<Line>,
    /// Positions on the horizontal axis with their names.
    pub(super) ticks: Vec<(f64, String)>,
    /// Vertical lines with their names.
    pub(super) marks: Vec<(f64, String)>,
}

/// Where values end up on the drawing.
struct Scale {
    x: (f64, f64),
    y: (f64, f64),
}

impl Scale {
    fn of(chart: &Chart<'_>) -> Self {
        let points = || chart.lines.iter().flat_map(|line| line.points.iter());
        let finite = || points().filter(|(_, y)| y.is_finite());
        let ticks = chart.ticks.iter().map(|(x, _)| *x);
        let x = range(points().map(|(x, _)| *x).chain(ticks));
        let (low, high) = range(finite().map(|(_, y)| *y));
        let margin = (high - low).max(1e-9) * 0.08;
        Self {
            x,
            y: (low - margin, high + margin),
        }
    }

    fn x(&self, value: f64) -> f64 {
        LEFT + (value - self.x.0) / (self.x.1 - self.x.0).max(1e-9) * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, value: f64) -> f64 {
        HEIGHT - BOTTOM - (value - self.y.0) / (self.y.1 - self.y.0).max(1e-9) * (HEIGHT - TOP - BOTTOM)
    }
}

fn range(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
        (low.min(value), high.max(value))
    });
    if low <= high { (low, high) } else { (0.0, 1.0) }
}

impl Chart<'_> {
    /// The drawing.
    pub(super) fn svg(&self) -> String {
        let scale = Scale::of(self);
        let mut svg = format!(
            "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{title}\"><text x=\"{LEFT}\" y=\"16\" \
             class=\"title\">{title}</text>",
            title = escape(self.title)
        );
        self.axes(&scale, &mut svg);
        for (position, line) in self.lines.iter().enumerate() {
            draw(
                line,
                COLOURS[position % COLOURS.len()],
                position,
                &scale,
                &mut svg,
            );
        }
        svg.push_str("</svg>");
        svg
    }

    fn axes(&self, scale: &Scale, svg: &mut String) {
        for step in 0..=GRID_LINES {
            let value = scale.y.0 + (scale.y.1 - scale.y.0) * f64::from(step) / f64::from(GRID_LINES);
            let (y, right) = (scale.y(value), WIDTH - RIGHT);
            let _ = write!(
                svg,
                "<line x1=\"{LEFT}\" x2=\"{right}\" y1=\"{y:.1}\" y2=\"{y:.1}\" class=\"grid\"/><text x=\"{}\" \
                 y=\"{:.1}\" class=\"tick\" text-anchor=\"end\">{value:.3}</text>",
                LEFT - 6.0,
                y + 4.0
            );
        }
        for (at, name) in &self.ticks {
            let _ = write!(
                svg,
                "<text x=\"{:.1}\" y=\"{}\" class=\"tick\" text-anchor=\"middle\">{}</text>",
                scale.x(*at),
                HEIGHT - 10.0,
                escape(name)
            );
        }
        for (at, name) in &self.marks {
            let x = scale.x(*at);
            let _ = write!(
                svg,
                "<line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{TOP}\" y2=\"{}\" class=\"mark\"/><text x=\"{:.1}\" y=\"{}\" \
                 class=\"tick\">{}</text>",
                HEIGHT - BOTTOM,
                x + 3.0,
                TOP - 3.0,
                escape(name)
            );
        }
    }
}

fn draw(line: &Line, colour: &str, position: usize, scale: &Scale, svg: &mut String) {
    let points: Vec<String> = line
        .points
        .iter()
        .filter(|(_, y)| y.is_finite())
        .map(|(x, y)| format!("{:.1},{:.1}", scale.x(*x), scale.y(*y)))
        .collect();
    #[allow(clippy::cast_precision_loss)]
    let y = TOP + 14.0 + position as f64 * 17.0;
    let _ = write!(
        svg,
        "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/><text x=\"{}\" y=\"{y}\" \
         fill=\"{colour}\" class=\"name\">{}</text>",
        points.join(" "),
        WIDTH - RIGHT + 8.0,
        escape(&line.name)
    );
}

/// Text that is safe inside markup.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chart_draws_every_line_and_escapes_names() {
        let line = |name: &str| Line {
            name: name.to_owned(),
            points: vec![(0.0, 1.0), (1.0, f64::NAN), (2.0, 3.0)],
        };
        let chart = Chart {
            title: "a < b",
            lines: vec![line("x"), line("y & z")],
            ticks: Vec::new(),
            marks: Vec::new(),
        };
        let svg = chart.svg();
        assert_eq!(svg.matches("<polyline").count(), 2);
        assert!(svg.contains("a &lt; b") && svg.contains("y &amp; z"));
        assert!(!svg.contains("NaN"));
    }
}
