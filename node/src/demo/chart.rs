//! A line chart as SVG: some lines over the months, with marks at moments worth remembering. Colours are the page's.

use std::fmt::Write;

use super::frame::{BOTTOM, Frame, HEIGHT, LEFT, RIGHT, TOP, WIDTH, escape};

/// Horizontal lines of the grid, about.
const GRID_LINES: f64 = 5.0;
/// The space of the legend that a letter takes.
const LETTER: f64 = 6.9;

/// A line: its name and its points.
pub(super) struct Line {
    pub(super) name: String,
    pub(super) points: Vec<(f64, f64)>,
}

/// A chart.
pub(super) struct Chart<'a> {
    pub(super) title: &'a str,
    /// What the title leaves open: the unit, the source, how to read it.
    pub(super) note: &'a str,
    pub(super) lines: Vec<Line>,
    /// A value that the axis reaches down to, such as zero.
    pub(super) floor: Option<f64>,
    /// Digits behind the point.
    pub(super) digits: usize,
    pub(super) frame: &'a Frame,
}

/// The vertical axis: values between `low` and `high`, a line of the grid at every multiple of `step`.
struct Axis {
    low: f64,
    high: f64,
    step: f64,
}

impl Axis {
    fn of(lines: &[Line], floor: Option<f64>) -> Self {
        let values = lines.iter().flat_map(|line| &line.points).map(|(_, y)| *y);
        let finite = values.chain(floor);
        let (low, high) = finite
            .filter(|y| y.is_finite())
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), y| {
                (low.min(y), high.max(y))
            });
        let (low, high) = if low <= high { (low, high) } else { (0.0, 1.0) };
        let step = round_step((high - low).max(high.abs() * 1e-3).max(1e-9) / GRID_LINES);
        Self {
            low: (low / step).floor() * step,
            high: ((high / step).ceil() * step).max(low + step),
            step,
        }
    }

    fn y(&self, value: f64) -> f64 {
        let share = (value - self.low) / (self.high - self.low);
        HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)
    }
}

/// The next of 1, 2, 5 and their tenfolds.
fn round_step(rough: f64) -> f64 {
    let unit = 10_f64.powf(rough.log10().floor());
    let wanted = [1.0, 2.0, 5.0]
        .into_iter()
        .find(|step| step * unit >= rough * 0.999);
    wanted.unwrap_or(10.0) * unit
}

impl Chart<'_> {
    /// The drawing, with its title above.
    pub(super) fn figure(&self) -> String {
        let axis = Axis::of(&self.lines, self.floor);
        let mut svg = String::new();
        self.grid(&axis, &mut svg);
        svg.push_str(&self.frame.months());
        svg.push_str(&self.frame.marks());
        for (position, line) in self.lines.iter().enumerate() {
            self.draw(line, position, &axis, &mut svg);
        }
        self.legend(&mut svg);
        format!(
            "<figure><figcaption><b>{title}</b><span>{note}</span></figcaption><svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
             role=\"img\" aria-label=\"{title}\">{svg}</svg></figure>",
            title = escape(self.title),
            note = escape(self.note)
        )
    }

    fn grid(&self, axis: &Axis, svg: &mut String) {
        let right = WIDTH - RIGHT;
        let mut value = axis.low;
        while value <= axis.high + axis.step / 2.0 {
            let y = axis.y(value);
            let _ = write!(
                svg,
                "<line x1=\"{LEFT}\" x2=\"{right}\" y1=\"{y:.1}\" y2=\"{y:.1}\" class=\"grid\"/><text x=\"{}\" \
                 y=\"{:.1}\" class=\"tick end\">{value:.*}</text>",
                LEFT - 8.0,
                y + 4.0,
                self.digits
            );
            value += axis.step;
        }
    }

    fn draw(&self, line: &Line, position: usize, axis: &Axis, svg: &mut String) {
        let points: Vec<(f64, f64, f64)> = line
            .points
            .iter()
            .filter(|(_, y)| y.is_finite())
            .map(|(at, y)| (self.frame.x(*at), axis.y(*y), *y))
            .collect();
        let path: Vec<String> = points.iter().map(|(x, y, _)| format!("{x:.1},{y:.1}")).collect();
        let _ = write!(
            svg,
            "<polyline points=\"{}\" class=\"line c{position}\"/>",
            path.join(" ")
        );
        for (x, y, value) in points {
            let _ = write!(
                svg,
                "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" class=\"dot c{position}\"><title>{}: {value:.*}</title>\
                 </circle>",
                escape(&line.name),
                self.digits + 1
            );
        }
    }

    fn legend(&self, svg: &mut String) {
        let mut x = LEFT;
        for (position, line) in self.lines.iter().enumerate() {
            let _ = write!(
                svg,
                "<line x1=\"{x:.1}\" x2=\"{:.1}\" y1=\"12\" y2=\"12\" class=\"line c{position}\"/><text x=\"{:.1}\" \
                 y=\"16\" class=\"name\">{}</text>",
                x + 18.0,
                x + 24.0,
                escape(&line.name)
            );
            #[allow(clippy::cast_precision_loss)]
            let letters = line.name.chars().count() as f64;
            x += 24.0 + letters * LETTER + 22.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(frame: &Frame) -> String {
        let line = |name: &str| Line {
            name: name.to_owned(),
            points: vec![(0.0, 1.0), (1.0, f64::NAN), (2.0, 3.0)],
        };
        let chart = Chart {
            title: "a < b",
            note: "n",
            lines: vec![line("x"), line("y & z")],
            floor: None,
            digits: 2,
            frame,
        };
        chart.figure()
    }

    #[test]
    fn a_chart_draws_every_line_and_escapes_names() {
        let svg = chart(&Frame::new(&[]));
        assert_eq!(svg.matches("<polyline").count(), 2);
        assert!(svg.contains("a &lt; b") && svg.contains("y &amp; z"));
        assert!(!svg.contains("NaN"));
    }

    #[test]
    fn the_grid_lies_on_round_numbers_around_the_values() {
        let line = |points: &[f64]| Line {
            name: String::new(),
            points: points.iter().map(|y| (0.0, *y)).collect(),
        };
        let axis = Axis::of(&[line(&[0.627, 0.775])], None);
        assert!((axis.step - 0.05).abs() < 1e-9, "{}", axis.step);
        assert!(Axis::of(&[line(&[60.0, 90.0])], Some(0.0)).low.abs() < 1e-9);
        assert!((axis.low - 0.6).abs() < 1e-9 && (axis.high - 0.8).abs() < 1e-9);
        for points in [&[][..], &[0.0], &[5.0, 5.0], &[f64::NAN]] {
            let axis = Axis::of(&[line(points)], None);
            assert!(axis.high > axis.low && axis.step > 0.0, "{points:?}");
        }
    }
}
