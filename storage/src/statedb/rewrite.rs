//! The state, written anew around a damaged block: every group is exported, which verifies it, and installed into a
//! database of its own. A group that turns out to be damaged only now is left out: it has a log and no state, which its
//! host notices.

use std::path::Path;

use super::layout::{self, Marker};
use super::{Shared, StateDbConfig, export, install, open_database};
use crate::error::Error;
use crate::files;
use crate::rewrite::Rewrite;

/// Makes the new database of all groups that are whole. `staging` is where installs were under way.
pub(super) fn make(rewrite: &Rewrite, config: &StateDbConfig, staging: &Path) -> Result<(), Error> {
    let open = |database: &Path, staging: &Path| {
        files::create_dir(staging)?;
        let db = open_database(database, config)?;
        Ok(Shared::new(db, config.clone(), staging.to_owned()))
    };
    let old = open(&rewrite.current, staging)?;
    install::finish_interrupted(&old)?;
    let new = open(&rewrite.new, &rewrite.work.join("installing"))?;
    for (group, _) in layout::markers(&old.db, Marker::Applied)? {
        let exported = rewrite.work.join("exported");
        files::remove_dir(&exported)?;
        match export::export(&old, group, &exported) {
            Ok(manifest) => install::install(&new, (group, new.erasures(group)), &manifest, &exported)?,
            Err(error @ Error::Corrupt { .. }) => {
                tracing::error!(%group, %error, "the state of this group is damaged and is left out");
            }
            Err(error) => return Err(error),
        }
    }
    new.db.flush_wal(true).map_err(Error::database("sync the state"))
}
