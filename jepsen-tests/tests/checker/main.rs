//! The checker on histories whose verdict is known: made by objects that are right, then spoilt, and judged by others too.

#![allow(
    clippy::unwrap_used,
    reason = "a test that finds something else than it expects fails"
)]

mod generated;
mod laws;
mod second_opinion;
mod spoilt;
