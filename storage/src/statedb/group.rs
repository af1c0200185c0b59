//! One group's state: the front that callers hold.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use covey_state::GroupId;

use super::batch::GroupBatch;
use super::export::{self, SnapshotManifest};
use super::view::GroupView;
use super::{Shared, install};
use crate::error::Error;

/// The state of one group. Clones share it. One caller at a time may write: batches and installs of the same group must not
/// overlap. Anybody may read. After the group is erased it still reads, and refuses to write: whoever writes on with a state
/// from before would leave a part of one life in the next.
#[derive(Clone)]
pub struct GroupState {
    shared: Arc<Shared>,
    group: GroupId,
    /// How often the group had been erased when this was made.
    erasures: u64,
}

impl fmt::Debug for GroupState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroupState")
            .field("group", &self.group)
            .finish_non_exhaustive()
    }
}

impl GroupState {
    pub(super) fn new(shared: Arc<Shared>, group: GroupId) -> Self {
        let erasures = shared.erasures(group);
        Self {
            shared,
            group,
            erasures,
        }
    }

    /// The group.
    pub fn id(&self) -> GroupId {
        self.group
    }

    /// The marker written with the last batch, install or none.
    pub fn applied(&self) -> Result<Option<Bytes>, Error> {
        self.read().applied()
    }

    /// A new batch of changes on top of what is there now.
    pub fn batch(&self) -> GroupBatch {
        GroupBatch::new(Arc::clone(&self.shared), self.group, self.erasures)
    }

    /// What is there now. Waits for an install in its last step, which takes milliseconds.
    pub fn read(&self) -> GroupView {
        self.shared.view(self.group)
    }

    /// Bytes that the group takes in files, about; what was written last is not in files yet.
    pub fn bytes_in_files(&self) -> u64 {
        self.shared.bytes_in_files(self.group)
    }

    /// Writes the group as of now, with its applied marker, into files of a directory. Every value is verified, so
    /// damage does not travel.
    pub fn export(&self, into: &Path) -> Result<SnapshotManifest, Error> {
        export::export(&self.shared, self.group, into)
    }

    /// Replaces all the group has by what was exported elsewhere. The files are verified and copied first, `from` is
    /// not changed. An interrupted install is finished at the next start; until then the group answers nothing.
    pub fn install(&self, manifest: &SnapshotManifest, from: &Path) -> Result<(), Error> {
        install::install(&self.shared, (self.group, self.erasures), manifest, from)
    }

    /// Forgets all the group has, durably. Whoever is to write after that takes the group's state anew.
    pub fn clear(&self) -> Result<(), Error> {
        install::clear(&self.shared, self.group)
    }
}
