//! Progress of long work on standard error; hidden when nobody is looking.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// How often a spinner moves.
const TICK: Duration = Duration::from_millis(120);

/// A bar over a known number of steps.
pub(crate) fn bar(total: u64, what: &str) -> ProgressBar {
    let bar = ProgressBar::new(total);
    bar.set_style(style("{msg} [{bar:30}] {human_pos}/{human_len} {per_sec} {eta}").progress_chars("=> "));
    bar.set_message(what.to_owned());
    bar
}

/// A counter over an unknown number of steps.
pub(crate) fn counter(what: &str) -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    bar.set_style(style("{spinner} {msg} {human_pos} {per_sec} {elapsed}"));
    bar.set_message(what.to_owned());
    bar.enable_steady_tick(TICK);
    bar
}

/// Something that moves while there is nothing to count.
pub(crate) fn spinner(what: &str) -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    bar.set_style(style("{spinner} {msg} {elapsed}"));
    bar.set_message(what.to_owned());
    bar.enable_steady_tick(TICK);
    bar
}

/// Turns a spinner into a bar, now that there is something to count.
pub(crate) fn show_part(spinner: &ProgressBar, done: u64, total: u64) {
    spinner.set_style(style("{spinner} [{bar:30}] {msg} {elapsed}").progress_chars("=> "));
    spinner.set_length(total);
    spinner.set_position(done.min(total));
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the templates of this file are valid")
}
