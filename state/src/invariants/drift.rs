//! What holds of drift windows, logged predictions and their labels.

use std::collections::{BTreeMap, BTreeSet};

use crate::invariants::hold;
use crate::key::Key;
use crate::monitor::DriftBook;
use crate::record::Record;
use crate::view::MemoryView;

/// A verdict or an alert is about a window that exists, and no more rows are scored than it has.
pub(super) fn reports_have_windows(view: &MemoryView) -> Result<(), String> {
    let mut windows = BTreeMap::new();
    for (key, record) in view.entries() {
        match (key, record) {
            (Key::DriftWindow(deployment, start, version), Record::DriftWindow(window)) => {
                let rows = window.counts.rows;
                hold(window.scored_rows <= rows, || {
                    format!("{key:?}: {} of {rows} rows", window.scored_rows)
                })?;
                windows.insert((deployment, *start, version), rows);
            }
            (Key::DriftReport(deployment, start, version), Record::DriftReport(_)) => {
                let exists = windows.contains_key(&(deployment, *start, version));
                hold(exists, || format!("{key:?} is about no window"))?;
            }
            (Key::Alert(deployment, start, version), Record::Alert(alert)) => {
                let exists = windows.contains_key(&(deployment, *start, version));
                let same = (alert.window, &alert.version) == (*start, version);
                hold(exists && same, || format!("{key:?} is about another window"))?;
            }
            (_, _) => {}
        }
    }
    Ok(())
}

/// The windows with rows that no verdict covers are exactly those in the index of open windows.
pub(super) fn open_windows_are_indexed(view: &MemoryView) -> Result<(), String> {
    let (mut open, mut indexed) = (BTreeSet::new(), BTreeSet::new());
    for (key, record) in view.entries() {
        match (key, record) {
            (Key::DriftWindow(deployment, start, version), Record::DriftWindow(window))
                if window.scored_rows != window.counts.rows =>
            {
                open.insert((deployment, start, version));
            }
            (Key::DriftOpen(deployment, start, version), _) => {
                indexed.insert((deployment, start, version));
            }
            (_, _) => {}
        }
    }
    hold(open == indexed, || {
        format!("{open:?} is open, {indexed:?} is indexed")
    })
}

/// The book of a deployment counts what is kept of it, and no window is newer than the newest that it knows.
pub(super) fn the_book_counts_what_is_kept(view: &MemoryView) -> Result<(), String> {
    let mut books: BTreeMap<&String, DriftBook> = BTreeMap::new();
    let mut counted: BTreeMap<&String, DriftBook> = BTreeMap::new();
    let mut windows = Vec::new();
    for (key, record) in view.entries() {
        let Some(deployment) = key.name() else { continue };
        let mut count = |change: fn(&mut DriftBook)| change(counted.entry(deployment).or_default());
        match (key, record) {
            (Key::DriftBook(_), Record::DriftBook(book)) => {
                books.insert(deployment, *book);
            }
            (Key::DriftWindow(_, start, _), _) => {
                count(|book| book.windows += 1);
                windows.push((deployment, *start));
            }
            (Key::Prediction(..), _) => count(|book| book.predictions += 1),
            (Key::Outcome(..), _) => count(|book| book.outcomes += 1),
            (_, _) => {}
        }
    }
    for deployment in books.keys().chain(counted.keys()) {
        let [book, counted] = [&books, &counted].map(|all| all.get(deployment).copied().unwrap_or_default());
        let same = (book.windows, book.predictions, book.outcomes)
            == (counted.windows, counted.predictions, counted.outcomes);
        hold(same, || {
            format!("{deployment}: {counted:?} is kept, the book says {book:?}")
        })?;
    }
    for (deployment, start) in windows {
        let newest = books.get(deployment).map(|book| book.newest);
        hold(Some(start) <= newest, || {
            format!("{deployment}: a window begins at {start:?}, the newest is {newest:?}")
        })?;
    }
    Ok(())
}

/// A prediction that waits for its label can be forgotten in its turn, and whatever can be forgotten is there.
pub(super) fn predictions_have_an_age(view: &MemoryView) -> Result<(), String> {
    let (mut kept, mut aged) = (BTreeSet::new(), BTreeSet::new());
    for (key, _) in view.entries() {
        if let Key::Prediction(deployment, id) = key {
            kept.insert((deployment, id));
        }
        if let Key::PredictionAge(deployment, _, id) = key {
            hold(aged.insert((deployment, id)), || {
                format!("{key:?} is there twice")
            })?;
        }
    }
    hold(kept == aged, || format!("{kept:?} is kept, {aged:?} has an age"))
}
