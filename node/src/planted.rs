//! A bug put back on purpose, named by the environment, to see that real faults find it. Only a build with the feature
//! `planted-bugs` has this file, and no release is one.

use covey_storage::planted::{Bug, UnknownBug, plant};

/// The variable that names the bug.
const VARIABLE: &str = "COVEY_PLANTED_BUG";

/// Puts back the bug that the environment names, if it names one, and says so where the node logs.
pub fn from_environment() -> Result<(), UnknownBug> {
    let Some(name) = std::env::var_os(VARIABLE) else {
        return Ok(());
    };
    let bug: Bug = name.to_string_lossy().parse()?;
    eprintln!("this process has a planted bug: {bug}");
    plant(bug);
    Ok(())
}
