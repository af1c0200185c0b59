//! Drift statistics: pure functions over shares, over raw samples, and over the counts of a reference
//! profile.
//!
//! Names and definitions follow Evidently and SciPy, so that figures can be compared with theirs: natural
//! logarithms, the Jensen-Shannon *distance*, Evidently's filling of empty bins. Golden values are in the
//! tests.
//!
//! Invariant: no function here draws random numbers or remembers anything.

pub mod binning;
pub mod distance;
pub mod kolmogorov;
pub mod proportion;
pub mod sample;
pub mod score;
