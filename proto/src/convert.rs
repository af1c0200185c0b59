//! Conversions: `TryFrom` from the wire to the domain, `From` from the domain to the wire; one file per service.
//!
//! What is checked here is that a message is complete and well formed; whether it makes sense is the domain's business.

pub mod cluster;
mod dataset;
mod features;
mod monitoring;
mod pipeline;
mod registry;
mod serving;
pub mod table;
mod training;
mod value;

pub use value::{data_type, digest};

/// A wire value that is no domain value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} is invalid: {reason}")]
pub struct InvalidField {
    /// The field's path, for instance `views[0].columns[2].data_type`.
    pub field: String,
    /// What is wrong with which value.
    pub reason: String,
}

impl InvalidField {
    /// The field and what is wrong with which value.
    pub fn new(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            reason: reason.into(),
        }
    }

    /// The same fault, seen from the message that holds the field.
    #[must_use]
    pub fn within(self, parent: &str) -> Self {
        let field = if self.field.is_empty() {
            parent.to_owned()
        } else {
            format!("{parent}.{}", self.field)
        };
        Self { field, ..self }
    }
}

/// The message in `field`, which must be there.
pub fn required<T>(message: Option<T>, field: &str) -> Result<T, InvalidField> {
    message.ok_or_else(|| InvalidField::new(field, "it is missing"))
}

/// Converts every item of a repeated field; a fault names the item's position.
pub fn each<W, D>(items: Vec<W>, field: &str) -> Result<Vec<D>, InvalidField>
where
    D: TryFrom<W, Error = InvalidField>,
{
    let convert = |(position, item)| {
        D::try_from(item).map_err(|fault: InvalidField| fault.within(&format!("{field}[{position}]")))
    };
    items.into_iter().enumerate().map(convert).collect()
}

/// The text, unless it is empty, which on the wire means that there is none.
pub fn non_empty(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

/// The items, each converted to the wire.
fn all<D, W: From<D>>(items: Vec<D>) -> Vec<W> {
    items.into_iter().map(W::from).collect()
}
