//! The tests of the state machine as its users see it: requests in, answers and a map out.
//!
//! `laws`, `windows`, `drift` and `placement` state what holds for all inputs, `refusals` what each bad input is told, and
//! `golden` shows whole stories as traces that can be read.

mod drift;
mod generated;
mod golden;
mod laws;
mod placement;
mod refusals;
mod samples;
mod windows;
mod world;
