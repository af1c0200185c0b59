//! What the objects of the workloads do when one client at a time uses them.

mod counter;
mod list;
mod register;

pub use counter::{Counter, CounterAnswer, CounterCall};
pub use list::{AppendList, ListAnswer, ListCall};
pub use register::{CasRegister, RegisterAnswer, RegisterCall};
