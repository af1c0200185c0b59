//! Reading records by key or by range, on whichever node the group is.

use std::mem::discriminant;
use std::ops::ControlFlow;

use covey_cluster::Consistency;
use covey_state::{Fault, GroupId, Key, Record, View};

use super::Ledger;
use crate::api::Caller;
use crate::error::Failure;

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
        if !self.hosts(group) {
            return self.get_remote(caller, group, &keys, consistency).await;
        }
        let (view, _) = self.view(group, consistency, caller.deadline).await?;
        blocking(move || view.get_many(&keys)).await
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
        if !self.hosts(group) {
            return self
                .scan_remote(caller, group, &Scan { from, same, limit }, consistency)
                .await;
        }
        let (view, _) = self.view(group, consistency, caller.deadline).await?;
        blocking(move || collect(&view, &from, same, limit)).await
    }

    /// At most `limit` records of `from`'s kind from `from` on, as acknowledged when this is called: those of its name,
    /// or of every name in every data group when its name is empty.
    pub async fn list(
        &self,
        caller: &Caller,
        from: Key,
        limit: usize,
    ) -> Result<Vec<(Key, Record)>, Failure> {
        let fresh = Consistency::Linearizable;
        match from.name().filter(|name| !name.is_empty()) {
            Some(name) => {
                let group = self.group_of_name(name);
                self.scan(caller, group, from, same_named, limit, fresh).await
            }
            None => self.scan_everywhere(caller, from, limit, fresh).await,
        }
    }

    /// At most `limit` records of `from`'s kind over all data groups, in the order of the groups.
    async fn scan_everywhere(
        &self,
        caller: &Caller,
        from: Key,
        limit: usize,
        consistency: Consistency,
    ) -> Result<Vec<(Key, Record)>, Failure> {
        let mut found = Vec::new();
        for group in self.data_groups() {
            let left = limit - found.len();
            if left == 0 {
                break;
            }
            found.extend(
                self.scan(caller, group, from.clone(), same_kind, left, consistency)
                    .await?,
            );
        }
        Ok(found)
    }
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

/// Runs a read of RocksDB off the runtime's workers.
async fn blocking<T, F>(read: F) -> Result<T, Failure>
where
    T: Send + 'static,
    F: FnOnce() -> Result<T, Fault> + Send + 'static,
{
    let done = tokio::task::spawn_blocking(read).await;
    let done = done.map_err(|error| Failure::internal("reading the state of a group", error))?;
    done.map_err(Failure::from)
}
