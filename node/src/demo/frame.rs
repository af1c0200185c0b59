//! What all drawings of the report share: the width, the months beneath, the marks of what happened.

use std::fmt::Write;

use super::fate::{Event, What};
use super::tally::FIRST_MONTH;
use super::timeline::{mid_month, month_name, month_start};

/// Units of the drawing.
pub(super) const WIDTH: f64 = 960.0;
pub(super) const HEIGHT: f64 = 320.0;
pub(super) const LEFT: f64 = 56.0;
pub(super) const RIGHT: f64 = 16.0;
pub(super) const TOP: f64 = 56.0;
pub(super) const BOTTOM: f64 = 34.0;
/// Marks closer than this share a line.
const MARKS_APART: f64 = 48.0;

/// The time from April to December, and what happened in it.
pub(super) struct Frame {
    marks: Vec<(f64, What)>,
}

/// Moments as the drawings count them: days since the beginning of the year.
#[allow(clippy::cast_precision_loss)]
pub(super) fn days(at_micros: i64) -> f64 {
    (at_micros - month_start(1)) as f64 / 86_400e6
}

/// The word on a mark; what is too small a thing has none.
const fn word(what: What) -> &'static str {
    match what {
        What::Killed => "kill",
        What::Restarted => "restart",
        What::Joined => "join",
        What::Removed => "removal",
        What::Retrained => "retrained",
        What::CaughtUp | What::Leaving => "",
    }
}

impl Frame {
    /// The frame with these events.
    pub(super) fn new(events: &[Event]) -> Self {
        let marked = events.iter().filter(|event| !word(event.what).is_empty());
        Self {
            marks: marked.map(|event| (days(event.at_micros), event.what)).collect(),
        }
    }

    /// Where a day is on the drawing.
    #[allow(clippy::unused_self)]
    pub(super) fn x(&self, day: f64) -> f64 {
        let (from, until) = (days(month_start(FIRST_MONTH)), days(month_start(13)));
        LEFT + (day - from) / (until - from) * (WIDTH - LEFT - RIGHT)
    }

    /// The names of the months beneath the drawing.
    pub(super) fn months(&self) -> String {
        let mut svg = String::new();
        for month in FIRST_MONTH..=12 {
            let _ = write!(
                svg,
                "<text x=\"{:.1}\" y=\"{}\" class=\"tick middle\">{}</text><line x1=\"{left:.1}\" x2=\"{left:.1}\" \
                 y1=\"{TOP}\" y2=\"{}\" class=\"grid\"/>",
                self.x(days(mid_month(month))),
                HEIGHT - 12.0,
                month_name(month),
                HEIGHT - BOTTOM,
                left = self.x(days(month_start(month))),
            );
        }
        svg
    }

    /// The marks: a line with a word for what befell the cluster, a triangle for a retraining.
    pub(super) fn marks(&self) -> String {
        let mut svg = String::new();
        let mut last = f64::NEG_INFINITY;
        for (day, what) in &self.marks {
            let (x, bottom) = (self.x(*day), HEIGHT - BOTTOM);
            if *what == What::Retrained {
                let _ = write!(
                    svg,
                    "<path d=\"M{x:.1} {:.1}l5 9h-10z\" class=\"retrained\"><title>retrained</title></path>",
                    bottom - 9.0
                );
                continue;
            }
            let raised = if x - last < MARKS_APART { 13.0 } else { 0.0 };
            last = x;
            let _ = write!(
                svg,
                "<line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{TOP}\" y2=\"{bottom}\" class=\"mark\"/><text x=\"{x:.1}\" \
                 y=\"{:.1}\" class=\"word middle\">{}</text>",
                TOP - 6.0 - raised,
                word(*what)
            );
        }
        svg
    }
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
    fn what_happened_is_marked_where_it_happened() {
        let event = |month, what| Event {
            at_micros: mid_month(month),
            what,
            text: String::new(),
        };
        let frame = Frame::new(&[
            event(5, What::Killed),
            event(6, What::Restarted),
            event(7, What::CaughtUp),
            event(8, What::Removed),
            event(9, What::Retrained),
        ]);
        let svg = frame.marks();
        assert_eq!(svg.matches("class=\"mark\"").count(), 3);
        assert_eq!(svg.matches("class=\"retrained\"").count(), 1);
        for word in ["kill", "restart", "removal"] {
            assert!(svg.contains(word), "{word}");
        }
        assert!(frame.x(days(month_start(FIRST_MONTH))) - LEFT < 1e-9);
    }
}
