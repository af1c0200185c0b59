//! The two ports: one for clients (gRPC and HTTP), one for peers. Here requests get their caller, span and metrics.

mod caller;
mod front;
mod server;

pub mod cluster;
#[cfg(not(feature = "core-scratch"))]
pub mod features;
#[cfg(not(feature = "core-scratch"))]
pub mod monitoring;
#[cfg(not(feature = "core-scratch"))]
pub mod registry;
#[cfg(not(feature = "core-scratch"))]
pub mod serving;
#[cfg(not(feature = "core-scratch"))]
pub mod training;

pub use caller::{Caller, REQUEST_ID};
pub use front::Gate;
pub use server::{Ports, behind_front, public_routes, serve};
