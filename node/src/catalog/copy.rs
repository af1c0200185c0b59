//! The copy itself: one scan over control's records.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use covey_state::catalog::{Entity, FeatureService, InstalledView};
use covey_state::deployment::DeploymentRecord;
use covey_state::monitor::Monitor;
use covey_state::namespace::Namespace;
use covey_state::pipeline::Pipeline;
use covey_state::topology::{Cluster, Node, Placement};
use covey_state::{Fault, GroupId, Key, NodeId, Record, View};

/// What control has applied on this node.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CatalogCopy {
    /// The cluster; `None` before it is made.
    pub cluster: Option<Cluster>,
    /// All nodes that ever joined, by id.
    pub nodes: BTreeMap<NodeId, Node>,
    /// The desired members of each group.
    pub placements: BTreeMap<GroupId, Placement>,
    /// Namespaces by name.
    pub namespaces: BTreeMap<String, Namespace>,
    /// Entities by name.
    pub entities: BTreeMap<String, Entity>,
    /// Feature views by name.
    pub views: BTreeMap<String, InstalledView>,
    /// Feature services by name.
    pub services: BTreeMap<String, FeatureService>,
    /// Deployments by name.
    pub deployments: BTreeMap<String, DeploymentRecord>,
    /// Monitors by name.
    pub monitors: BTreeMap<String, Monitor>,
    /// Pipelines by name.
    pub pipelines: BTreeMap<String, Pipeline>,
    /// The log index of group 0 that it is a copy of, at least.
    pub index: u64,
}

impl CatalogCopy {
    /// Reads the copy from a consistent view of group 0 that has applied `index`.
    pub fn read(view: &dyn View, index: u64) -> Result<Self, Fault> {
        let mut copy = Self {
            index,
            ..Self::default()
        };
        view.scan(&Key::Cluster, &mut |key, record| {
            if key >= Key::Schema(covey_state::ViewId::new(0), 0) {
                return ControlFlow::Break(());
            }
            copy.take(key, record);
            ControlFlow::Continue(())
        })?;
        Ok(copy)
    }

    fn take(&mut self, key: Key, record: Record) {
        match (key, record) {
            (Key::Cluster, Record::Cluster(cluster)) => self.cluster = Some(cluster),
            (Key::Node(id), Record::Node(node)) => drop(self.nodes.insert(id, node)),
            (Key::Placement(group), Record::Placement(placement)) => {
                self.placements.insert(group, placement);
            }
            (Key::Namespace(name), Record::Namespace(space)) => drop(self.namespaces.insert(name, space)),
            (Key::Entity(name), Record::Entity(entity)) => drop(self.entities.insert(name, entity)),
            (Key::View(name), Record::View(view)) => drop(self.views.insert(name, view)),
            (Key::Service(name), Record::Service(service)) => drop(self.services.insert(name, service)),
            (Key::Deployment(name), Record::Deployment(deployment)) => {
                self.deployments.insert(name, deployment);
            }
            (Key::Monitor(name), Record::Monitor(monitor)) => drop(self.monitors.insert(name, monitor)),
            (Key::Pipeline(name), Record::Pipeline(pipeline)) => drop(self.pipelines.insert(name, pipeline)),
            // Between the cluster's key and the first schema there are only the kinds above.
            (key, record) => tracing::error!(?key, ?record, "key and record of the catalog do not fit"),
        }
    }
}
