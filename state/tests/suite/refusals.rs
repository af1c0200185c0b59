//! What bad input is told. Each refusal names the field and the value, and changes nothing but the record of it.

mod control;
mod data;
mod envelope;
mod rows;
