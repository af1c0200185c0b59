//! Building the tables that requests carry.

use covey_proto::v1;
use covey_proto::v1::value::Kind;

/// A table under construction, column by column.
#[derive(Debug, Default)]
pub(crate) struct TableBuilder(Vec<v1::TableColumn>);

impl TableBuilder {
    /// Adds a column of texts.
    pub(crate) fn texts<'a>(self, name: &str, values: impl IntoIterator<Item = &'a str>) -> Self {
        self.column(
            name,
            values
                .into_iter()
                .map(|text| Some(Kind::StringValue(text.to_owned()))),
        )
    }

    /// Adds a column of texts that may be missing.
    pub(crate) fn optional_texts<'a>(
        self,
        name: &str,
        values: impl IntoIterator<Item = Option<&'a str>>,
    ) -> Self {
        self.column(
            name,
            values
                .into_iter()
                .map(|text| text.map(|text| Kind::StringValue(text.to_owned()))),
        )
    }

    /// Adds a column of integers that may be missing.
    pub(crate) fn integers(self, name: &str, values: impl IntoIterator<Item = Option<i64>>) -> Self {
        self.column(name, values.into_iter().map(|value| value.map(Kind::Int64Value)))
    }

    /// Adds a column of numbers that may be missing.
    pub(crate) fn numbers(self, name: &str, values: impl IntoIterator<Item = Option<f64>>) -> Self {
        self.column(
            name,
            values.into_iter().map(|value| value.map(Kind::Float64Value)),
        )
    }

    /// Adds a column of flags.
    pub(crate) fn flags(self, name: &str, values: impl IntoIterator<Item = bool>) -> Self {
        self.column(name, values.into_iter().map(|value| Some(Kind::BoolValue(value))))
    }

    /// Adds a column of moments, in microseconds since the epoch.
    pub(crate) fn times(self, name: &str, values: impl IntoIterator<Item = i64>) -> Self {
        self.column(
            name,
            values.into_iter().map(|value| Some(Kind::TimestampMicros(value))),
        )
    }

    /// The table.
    pub(crate) fn build(self) -> v1::Table {
        v1::Table { columns: self.0 }
    }

    fn column(mut self, name: &str, kinds: impl Iterator<Item = Option<Kind>>) -> Self {
        let values = kinds.map(|kind| v1::Value { kind }).collect();
        self.0.push(v1::TableColumn {
            name: name.to_owned(),
            values,
        });
        self
    }
}

/// A value as a number; null, text and times are not.
pub(crate) fn number(value: &v1::Value) -> Option<f64> {
    match value.kind {
        #[allow(clippy::cast_precision_loss)]
        Some(Kind::Int64Value(number)) => Some(number as f64),
        Some(Kind::Float64Value(number)) => Some(number),
        Some(Kind::BoolValue(flag)) => Some(f64::from(u8::from(flag))),
        Some(Kind::StringValue(_) | Kind::TimestampMicros(_)) | None => None,
    }
}
