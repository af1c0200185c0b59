//! Progress on a terminal: one line per act of the demo, a bar for the long ones.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// How often a bar moves on its own, so that one sees that the demo is alive.
const MOVE_EVERY: Duration = Duration::from_millis(200);

/// Says what goes on beside an act, above its bar.
#[derive(Clone)]
pub(super) struct Voice(ProgressBar);

impl Voice {
    /// Says something that stays on the screen.
    pub(super) fn say(&self, line: &str) {
        self.0.suspend(|| println!("  {line}"));
    }
}

/// One act of the demo.
pub(super) struct Act {
    bar: ProgressBar,
    name: String,
    started: Instant,
}

impl Act {
    /// An act of `steps` steps; 0 when nobody can tell.
    pub(super) fn begin(name: &str, steps: u64) -> Self {
        let (bar, template) = match steps {
            0 => (ProgressBar::new_spinner(), "{spinner} {msg}"),
            steps => (
                ProgressBar::new(steps),
                "{msg:30} {bar:40} {percent:>3} %  {elapsed}, {eta} to go",
            ),
        };
        bar.set_style(
            ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()),
        );
        bar.set_message(name.to_owned());
        bar.enable_steady_tick(MOVE_EVERY);
        Self {
            bar,
            name: name.to_owned(),
            started: Instant::now(),
        }
    }

    /// One step further.
    pub(super) fn step(&self) {
        self.bar.inc(1);
    }

    /// Says something that stays on the screen while the act goes on.
    pub(super) fn say(&self, line: &str) {
        self.voice().say(line);
    }

    /// A voice for what goes on beside the act.
    pub(super) fn voice(&self) -> Voice {
        Voice(self.bar.clone())
    }

    /// Ends the act and says how it went.
    pub(super) fn end(self, result: &str) {
        self.bar.finish_and_clear();
        println!(
            "{:32} {result} ({:.1} s)",
            self.name,
            self.started.elapsed().as_secs_f64()
        );
    }
}
