//! Reading records by key or by range, on whichever node the group is.

use std::mem::discriminant;
use std::ops::ControlFlow;

use covey_cluster::Consistency;
use covey_state::{Fault, GroupId, Key, Record, Rejection, View};
use covey_storage::GroupView;
use tracing::Span;

use super::Ledger;
use crate::api::Caller;
use crate::error::{Failure, chain};

/// Records in one page of a list.
const PAGE_RECORDS: usize = 1_000;
/// Records in one list; more are refused rather than left out.
const LIST_RECORDS_MAX: usize = 100_000;

/// Whether a key, the second, still belongs to the scan that began at the first.
pub type Same = fn(&Key, &Key) -> bool;

/// Whether two keys are of the same kind.
pub fn same_kind(from: &Key, key: &Key) -> bool {
    discriminant(from) == discriminant(key)
}

/// Whether two keys are of the same kind and belong to the same thing.
pub fn same_named(from: &Key, key: &Key) -> bool {
    same_kind(from, key) && from.name() == key.name()
}

/// A range that another node is asked for.
#[derive(Debug, Clone)]
pub(super) struct Scan {
    pub(super) from: Key,
    pub(super) same: Same,
    pub(super) limit: usize,
}

impl Ledger {
    /// The record at `key`, from this node or from a member of the group.
    pub async fn get(
        &self,
        caller: &Caller,
        group: GroupId,
        key: Key,
        consistency: Consistency,
    ) -> Result<Option<Record>, Failure> {
        let found = self.get_many(caller, group, vec![key], consistency).await?;
        Ok(found.into_iter().next().flatten())
    }

    /// The records at `keys`, in the same order and from one consistent view.
    pub async fn get_many(
        &self,
        caller: &Caller,
        group: GroupId,
        keys: Vec<Key>,
        consistency: Consistency,
    ) -> Result<Vec<Option<Record>>, Failure> {
        if self.serves(group, consistency).await {
            let (here, wanted) = (self.view(group, consistency, caller.deadline), keys.clone());
            let read = async { blocking(move |view| view.get_many(&wanted), here.await?.0).await };
            match read.await {
                Err(Failure::Storage(error)) => self.not_here(group, &error),
                answer => return answer,
            }
        }
        self.get_remote(caller, group, &keys, consistency).await
    }

    /// At most `limit` records of one group from `from` on, in key order, as long as they are the `same`.
    #[allow(
        clippy::too_many_arguments,
        reason = "a range has a start, an end and a limit"
    )]
    pub async fn scan(
        &self,
        caller: &Caller,
        group: GroupId,
        from: Key,
        same: Same,
        limit: usize,
        consistency: Consistency,
    ) -> Result<Vec<(Key, Record)>, Failure> {
        if self.serves(group, consistency).await {
            let (here, start) = (self.view(group, consistency, caller.deadline), from.clone());
            let read =
                async { blocking(move |view| collect(view, &start, same, limit), here.await?.0).await };
            match read.await {
                Err(Failure::Storage(error)) => self.not_here(group, &error),
                answer => return answer,
            }
        }
        let scan = Scan { from, same, limit };
        self.scan_remote(caller, group, &scan, consistency).await
    }

    /// All records of one group from `from` on, in key order, as long as they are the `same`: page by page, each at least
    /// as fresh as asked. More than [`LIST_RECORDS_MAX`] are refused.
    #[allow(clippy::too_many_arguments, reason = "a range has a start and an end")]
    pub async fn scan_all(
        &self,
        caller: &Caller,
        group: GroupId,
        from: Key,
        same: Same,
        consistency: Consistency,
    ) -> Result<Vec<(Key, Record)>, Failure> {
        let mut found: Vec<(Key, Record)> = Vec::new();
        loop {
            let from = found.last().map_or(&from, |(last, _)| last).clone();
            let page = self
                .scan(caller, group, from, same, PAGE_RECORDS, consistency)
                .await?;
            let full = page.len() == PAGE_RECORDS;
            // Every page but the first begins with the last record of the one before.
            let seen = page
                .first()
                .is_some_and(|(key, _)| found.last().is_some_and(|(last, _)| last == key));
            found.extend(page.into_iter().skip(usize::from(seen)));
            if found.len() > LIST_RECORDS_MAX {
                return Err(too_many());
            }
            if !full {
                return Ok(found);
            }
        }
    }

    /// All records of `from`'s kind from `from` on, as acknowledged when this is called: those of its name, or of every
    /// name in every data group when its name is empty.
    pub async fn list(&self, caller: &Caller, from: Key) -> Result<Vec<(Key, Record)>, Failure> {
        let fresh = Consistency::Linearizable;
        if let Some(name) = from.name().filter(|name| !name.is_empty()) {
            let group = self.group_of_name(name);
            return self.scan_all(caller, group, from, same_named, fresh).await;
        }
        let mut found = Vec::new();
        for group in self.data_groups() {
            found.extend(
                self.scan_all(caller, group, from.clone(), same_kind, fresh)
                    .await?,
            );
            if found.len() > LIST_RECORDS_MAX {
                return Err(too_many());
            }
        }
        Ok(found)
    }
}

fn too_many() -> Failure {
    let (what, limit) = ("records in one list".to_owned(), LIST_RECORDS_MAX as u64);
    Failure::Rejected(Rejection::Limit { what, limit })
}

/// At most `limit` records of a view from `from` on, in key order, as long as they are the `same`.
pub fn collect(view: &dyn View, from: &Key, same: Same, limit: usize) -> Result<Vec<(Key, Record)>, Fault> {
    let mut found = Vec::new();
    view.scan(from, &mut |key, record| {
        if found.len() == limit || !same(from, &key) {
            return ControlFlow::Break(());
        }
        found.push((key, record));
        ControlFlow::Continue(())
    })?;
    Ok(found)
}

impl Ledger {
    /// The store of this node cannot give what is asked of it; another member's may. A damaged one is rebuilt.
    pub(crate) fn not_here(&self, group: GroupId, error: &covey_storage::Error) {
        let reason = chain(error);
        tracing::error!(%group, error = reason, "group cannot be read on this node; another member is asked");
        if error.is_corruption() {
            self.parts.host.found_damaged(group, &reason);
        }
    }
}

/// Runs a read of RocksDB off the runtime's workers.
async fn blocking<T, F>(read: F, view: GroupView) -> Result<T, Failure>
where
    T: Send + 'static,
    F: FnOnce(&GroupView) -> Result<T, Fault> + Send + 'static,
{
    let span = Span::current();
    let done = tokio::task::spawn_blocking(move || span.in_scope(|| read(&view))).await;
    let done = done.map_err(|error| Failure::internal("reading the state of a group", error))?;
    done.map_err(Failure::from)
}
