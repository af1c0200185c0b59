//! What verbs print: tables for people, JSON for programs, both from the same rows.

use std::io::{IsTerminal, Write};

use comfy_table::{ContentArrangement, Table, presets};
use serde_json::{Map, Value as Json};

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub(crate) enum Output {
    /// A table for people.
    #[default]
    Table,
    /// JSON for programs.
    Json,
}

/// Rows under headers.
#[derive(Debug, Clone)]
pub(crate) struct Listing {
    /// Names of the columns as programs see them.
    keys: Vec<String>,
    /// The same as people see them.
    titles: Vec<String>,
    rows: Vec<Vec<Json>>,
}

impl Listing {
    /// No rows yet.
    pub(crate) fn new(headers: &[&str]) -> Self {
        let keys = headers.iter().map(|header| key(header)).collect();
        let titles = headers.iter().map(|header| header.to_uppercase()).collect();
        Self {
            keys,
            titles,
            rows: Vec::new(),
        }
    }

    /// No rows yet, under names that are the user's own.
    pub(crate) fn with_headers(headers: Vec<String>) -> Self {
        Self {
            keys: headers.clone(),
            titles: headers,
            rows: Vec::new(),
        }
    }

    /// Where the column of that name, which is the user's own, stands; a new one comes last and is empty so far.
    pub(crate) fn column(&mut self, name: &str) -> usize {
        if let Some(place) = self.keys.iter().position(|known| known == name) {
            return place;
        }
        self.keys.push(name.to_owned());
        self.titles.push(name.to_owned());
        for row in &mut self.rows {
            row.push(Json::Null);
        }
        self.keys.len() - 1
    }

    /// How many columns there are.
    pub(crate) fn width(&self) -> usize {
        self.keys.len()
    }

    /// Adds a row: one value per header.
    pub(crate) fn row(&mut self, values: impl IntoIterator<Item = Json>) {
        self.rows.push(values.into_iter().collect());
    }

    /// How many rows there are.
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Prints the rows; an empty table says so instead.
    pub(crate) fn print(&self, output: Output) {
        match output {
            Output::Table if self.rows.is_empty() => say("nothing there"),
            Output::Table => say(&self.table()),
            Output::Json => say_json(&self.json()),
        }
    }

    /// The rows as an array of objects.
    pub(crate) fn json(&self) -> Json {
        let object =
            |row: &Vec<Json>| Json::Object(self.keys.iter().cloned().zip(row.iter().cloned()).collect());
        Json::Array(self.rows.iter().map(object).collect())
    }

    /// The rows as a table.
    pub(crate) fn table(&self) -> String {
        let mut table = plain_table();
        table.set_header(&self.titles);
        for row in &self.rows {
            table.add_row(row.iter().map(cell));
        }
        trimmed(table)
    }
}

/// Facts about one thing, each under its name.
#[derive(Debug, Clone, Default)]
pub(crate) struct Card(Map<String, Json>);

impl Card {
    /// Adds a fact.
    #[must_use]
    pub(crate) fn with(mut self, name: &str, value: impl Into<Json>) -> Self {
        self.0.insert(name.to_owned(), value.into());
        self
    }

    /// The facts as an object, under names as programs like them.
    fn json(&self) -> Json {
        let fact = |(name, value): (&String, &Json)| (key(name), value.clone());
        Json::Object(self.0.iter().map(fact).collect())
    }

    /// Prints the facts.
    pub(crate) fn print(&self, output: Output) {
        match output {
            Output::Table => {
                let mut table = plain_table();
                for (name, value) in &self.0 {
                    table.add_row([format!("{name}:"), cell(value)]);
                }
                say(&trimmed(table));
            }
            Output::Json => say_json(&self.json()),
        }
    }
}

/// A name for people as a name for programs.
fn key(name: &str) -> String {
    name.replace(' ', "_")
}

fn plain_table() -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    if std::io::stdout().is_terminal() {
        table.set_content_arrangement(ContentArrangement::Dynamic);
    }
    table
}

/// The table's text without the empty space at its edges.
fn trimmed(mut table: Table) -> String {
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let text = table.to_string();
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    lines.join("\n")
}

/// A value as it stands in a table.
fn cell(value: &Json) -> String {
    match value {
        Json::Null => "-".to_owned(),
        Json::String(text) if text.is_empty() => "-".to_owned(),
        Json::String(text) => text.clone(),
        Json::Bool(flag) => if *flag { "yes" } else { "no" }.to_owned(),
        Json::Number(number) => number.to_string(),
        Json::Array(items) if items.is_empty() => "-".to_owned(),
        Json::Array(items) => items.iter().map(cell).collect::<Vec<_>>().join(", "),
        Json::Object(items) if items.is_empty() => "-".to_owned(),
        Json::Object(items) => {
            let pairs = items
                .iter()
                .map(|(name, value)| format!("{name}={}", cell(value)));
            pairs.collect::<Vec<_>>().join(", ")
        }
    }
}

/// Prints a line on standard output. A reader that has gone away is no trouble of ours.
pub(crate) fn say(line: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

/// Prints JSON on standard output.
pub(crate) fn say_json(value: &Json) {
    say(&serde_json::to_string_pretty(value).expect("JSON values can be written"));
}

/// Prints a line on standard error: progress and remarks, never results.
pub(crate) fn remark(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

/// A moment in RFC 3339, or null for the epoch itself, which on the wire means that there is none.
pub(crate) fn moment(micros: i64) -> Json {
    if micros == 0 {
        Json::Null
    } else {
        Json::String(moment_text(micros))
    }
}

/// A moment in RFC 3339.
pub(crate) fn moment_text(micros: i64) -> String {
    match jiff::Timestamp::from_microsecond(micros) {
        Ok(at) => at.to_string(),
        Err(_) => format!("{micros}us"),
    }
}

/// A number, or null where JSON has none (NaN and infinities).
pub(crate) fn number(value: f64) -> Json {
    serde_json::Number::from_f64(value).map_or(Json::Null, Json::Number)
}

/// A number rounded for people; programs get it in full.
pub(crate) fn measure(value: f64, output: Output) -> Json {
    match output {
        Output::Table if value.is_finite() => Json::String(format!("{value:.4}")),
        Output::Table | Output::Json => number(value),
    }
}

/// A version, or null for 0, which on the wire means that there is none.
pub(crate) fn version(number: u64) -> Json {
    if number == 0 { Json::Null } else { number.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_that_comes_later_is_empty_in_the_rows_before_it() {
        let mut listing = Listing::with_headers(vec!["prediction".to_owned()]);
        assert_eq!(listing.column("a"), 1);
        listing.row([1.into(), "x".into()]);
        assert_eq!(
            (listing.column("b"), listing.column("a"), listing.width()),
            (2, 1, 3)
        );
        listing.row([2.into(), Json::Null, "y".into()]);
        let expected = serde_json::json!([
            {"prediction": 1, "a": "x", "b": null},
            {"prediction": 2, "a": null, "b": "y"}
        ]);
        assert_eq!(listing.json(), expected);
    }

    #[test]
    fn rows_become_a_table_and_an_array_of_objects() {
        let mut listing = Listing::new(&["name", "rows", "at time"]);
        listing.row(["a".into(), 3.into(), moment(1_000_000)]);
        assert_eq!(listing.table().lines().count(), 2);
        assert!(listing.table().contains("1970-01-01T00:00:01Z"));
        assert_eq!(listing.json()[0]["at_time"], "1970-01-01T00:00:01Z");
    }

    #[test]
    fn lists_and_objects_have_names_of_one_style() {
        assert_eq!(Card::default().with("log index", 7).json()["log_index"], 7);
        let mut listing = Listing::new(&["log index"]);
        listing.row([7.into()]);
        assert_eq!(listing.json()[0]["log_index"], 7);
    }

    #[test]
    fn what_is_not_there_is_a_dash_in_tables_and_null_in_json() {
        assert_eq!(cell(&version(0)), "-");
        assert_eq!(number(f64::NAN), Json::Null);
    }
}
