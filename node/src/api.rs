//! The two ports: one for clients (gRPC and HTTP), one for peers. Here requests get their caller, span and metrics.

mod caller;
mod front;
mod health;
mod page;
mod server;

pub mod cluster;
pub mod features;
pub mod monitoring;
pub mod registry;
pub mod serving;
pub mod training;

pub use caller::{Caller, REQUEST_ID};
pub use front::Gate;
pub use health::Health;
pub use server::{Ports, behind_front, public_routes, serve};
