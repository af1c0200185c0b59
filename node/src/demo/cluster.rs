//! What happens to the demo's cluster: it forms, loses its busiest leader, gets it back, grows, shrinks.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use covey_proto::v1;

use super::fleet::{Connection, Fleet};
use super::processes::NodeProcess;

/// Data groups of the demo's cluster.
const GROUPS: u64 = 8;
/// A change of members must be done by then.
const SETTLE_WITHIN: Duration = Duration::from_secs(120);
/// How often the cluster is looked at while it settles.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The demo's nodes and the way to them.
pub(crate) struct DemoCluster {
    pub(crate) fleet: Fleet,
    nodes: Vec<NodeProcess>,
}

impl DemoCluster {
    /// Three nodes that form a cluster; returns when every group has three voters and a leader.
    pub(crate) async fn form(root: &Path) -> Result<Self> {
        Self::form_with(root, GROUPS, SETTLE_WITHIN).await
    }

    /// The same with that many data groups, which may take so long.
    pub(crate) async fn form_with(root: &Path, groups: u64, within: Duration) -> Result<Self> {
        let mut cluster = Self {
            fleet: Fleet::default(),
            nodes: Vec::new(),
        };
        let mut first = NodeProcess::new(root, 1)?;
        first.init("flights", groups).await?;
        first.start(None)?;
        let endpoint = first.endpoint();
        cluster.fleet.add(&endpoint)?;
        cluster.nodes.push(first);
        comes_up(&cluster.fleet, &endpoint).await?;
        cluster.join(root).await?;
        cluster.join(root).await?;
        settled_within(&cluster.fleet, 3, within)
            .await
            .context("the cluster of three did not form")?;
        Ok(cluster)
    }

    /// Starts one more node and lets it join. It serves when this returns, but is not yet up to date.
    pub(crate) async fn join(&mut self, root: &Path) -> Result<()> {
        let number = self.nodes.iter().map(|node| node.number).max().unwrap_or(0) + 1;
        let through = self
            .nodes
            .last()
            .ok_or_else(|| anyhow!("there is no node to join"))?
            .address();
        let mut node = NodeProcess::new(root, number)?;
        node.start(Some(&through))?;
        let endpoint = node.endpoint();
        self.fleet.add(&endpoint)?;
        self.nodes.push(node);
        comes_up(&self.fleet, &endpoint).await
    }

    /// The cluster as its nodes see it.
    pub(crate) async fn status(fleet: &Fleet) -> Result<v1::ClusterStatus> {
        let reply = fleet
            .ask(|connection| async move { connection.cluster().get_status(v1::GetStatusRequest {}).await })
            .await
            .context("asking for the status")?;
        Ok(reply.into_inner())
    }

    /// Kills the leader of the group with the longest log, whatever it is doing. Gives its number, the group and the
    /// moment.
    pub(crate) async fn kill_busiest_leader(&mut self) -> Result<(usize, u64, Instant)> {
        let reply = self
            .fleet
            .ask(|connection| async move {
                connection
                    .cluster()
                    .list_groups(v1::ListGroupsRequest { all_nodes: true })
                    .await
            })
            .await?
            .into_inner();
        let leading = reply
            .replicas
            .iter()
            .filter(|replica| replica.group > 0 && replica.node == replica.leader);
        let busiest = leading
            .max_by_key(|replica| replica.applied_index)
            .ok_or_else(|| anyhow!("no group has a leader"))?;
        let status = Self::status(&self.fleet).await?;
        let node = status.nodes.iter().find(|node| node.id == busiest.node);
        let address = node
            .map(|node| node.api_addr.clone())
            .ok_or_else(|| anyhow!("{} is unknown", busiest.node))?;
        let victim = self
            .nodes
            .iter_mut()
            .find(|node| node.address() == address)
            .ok_or_else(|| anyhow!("no process listens on {address}"))?;
        self.fleet.is_down(&victim.endpoint());
        let killed_at = Instant::now();
        victim.kill().await?;
        Ok((victim.number, busiest.group, killed_at))
    }

    /// Starts a node again that was killed, and waits until it serves.
    pub(crate) async fn restart(&mut self, number: usize) -> Result<()> {
        self.start_again(number)?;
        let endpoint = self.node(number)?.endpoint();
        comes_up(&self.fleet, &endpoint).await
    }

    /// Starts a node again that was killed.
    pub(crate) fn start_again(&mut self, number: usize) -> Result<()> {
        self.node(number)?.start(None)
    }

    /// Kills a node.
    pub(crate) async fn kill(&mut self, number: usize) -> Result<()> {
        self.node(number)?.kill().await
    }

    /// A connection to one node and no other.
    pub(crate) fn connection_to(&mut self, number: usize) -> Result<Connection> {
        let fleet = Fleet::default();
        fleet.add(&self.node(number)?.endpoint())?;
        fleet.connection()
    }

    fn node(&mut self, number: usize) -> Result<&mut NodeProcess> {
        let node = self.nodes.iter_mut().find(|node| node.number == number);
        node.ok_or_else(|| anyhow!("there is no node {number}"))
    }

    /// Takes the first node out for good while it serves: its replicas move, clients turn to the others, it is removed,
    /// its process stops.
    pub(crate) async fn remove_first(&mut self) -> Result<()> {
        let id = self.give_up_first().await?;
        let mut first = self.nodes.remove(0);
        self.fleet.take_out(&first.endpoint()).await?;
        self.set_state(&id, v1::NodeState::Removed).await?;
        first.stop().await
    }

    /// Has every replica move off the first node. Gives its id.
    pub(crate) async fn give_up_first(&self) -> Result<String> {
        let first = self.nodes.first().ok_or_else(|| anyhow!("there is no node"))?;
        let id = self.id_of(&first.address()).await?;
        self.set_state(&id, v1::NodeState::Decommissioning).await?;
        let deadline = Instant::now() + SETTLE_WITHIN;
        loop {
            let status = Self::status(&self.fleet).await?;
            let replicas = status
                .nodes
                .iter()
                .find(|node| node.id == id)
                .map_or(0, |node| node.replicas);
            if replicas == 0 && status.groups_moving == 0 {
                return Ok(id);
            }
            if Instant::now() > deadline {
                bail!("{replicas} replicas are still on {id} after {SETTLE_WITHIN:?}");
            }
            // sleep: replicas take time to move; asking more often would not speed them up.
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    async fn id_of(&self, address: &str) -> Result<String> {
        let status = Self::status(&self.fleet).await?;
        let node = status.nodes.into_iter().find(|node| node.api_addr == address);
        node.map(|node| node.id)
            .ok_or_else(|| anyhow!("no node listens on {address}"))
    }

    /// Drains a node, or lets it take part again, or sends it away.
    pub(crate) async fn set_state(&self, node: &str, state: v1::NodeState) -> Result<()> {
        let request = v1::SetNodeStateRequest {
            node: node.to_owned(),
            state: state.into(),
        };
        self.fleet
            .ask(|connection| {
                let request = request.clone();
                async move { connection.cluster().set_node_state(request).await }
            })
            .await
            .with_context(|| format!("making {node} {state:?}"))?;
        Ok(())
    }

    /// The endpoints of the nodes.
    pub(crate) fn endpoints(&self) -> Vec<String> {
        self.nodes.iter().map(NodeProcess::endpoint).collect()
    }

    /// The process ids of the nodes that run.
    pub(crate) fn process_ids(&self) -> Vec<u32> {
        self.nodes.iter().filter_map(NodeProcess::process_id).collect()
    }

    /// Stops every node.
    pub(crate) async fn stop(mut self) -> Result<()> {
        for node in &mut self.nodes {
            node.stop().await?;
        }
        Ok(())
    }

    /// Leaves every node running after this process has ended.
    pub(crate) fn leave_running(self) {
        self.nodes.into_iter().for_each(NodeProcess::leave_running);
    }
}

/// Waits until a node that was just started serves and the cluster counts it as active; from then on it is asked.
async fn comes_up(fleet: &Fleet, endpoint: &str) -> Result<()> {
    let started = Instant::now();
    let address = endpoint.trim_start_matches("http://");
    loop {
        let mut cluster = fleet.connection_to(endpoint)?.cluster();
        let status = cluster.get_status(v1::GetStatusRequest {}).await;
        let is_active = |node: &v1::Node| {
            node.api_addr == address && node.state() == v1::NodeState::Active && node.reachable
        };
        match status {
            Ok(status) if status.get_ref().nodes.iter().any(is_active) => {
                fleet.is_up(endpoint);
                return Ok(());
            }
            Ok(_) | Err(_) if started.elapsed() < SETTLE_WITHIN => {}
            Ok(_) => bail!("the node at {address} is not active after {SETTLE_WITHIN:?}"),
            Err(status) => bail!("the node at {address} does not serve after {SETTLE_WITHIN:?}: {status}"),
        }
        // sleep: a process takes time to start; asking more often would not speed it up.
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Waits until that many nodes are active, every one votes or follows where it should, and every group has a leader.
/// Gives how long it took.
pub(crate) async fn settled(fleet: &Fleet, active: usize) -> Result<Duration> {
    settled_within(fleet, active, SETTLE_WITHIN).await
}

async fn settled_within(fleet: &Fleet, active: usize, within: Duration) -> Result<Duration> {
    let started = Instant::now();
    loop {
        let status = DemoCluster::status(fleet).await?;
        let is_active = |node: &&v1::Node| node.state() == v1::NodeState::Active && node.reachable;
        let found = status.nodes.iter().filter(is_active).count();
        if found == active && status.groups_moving == 0 && status.groups_without_leader == 0 {
            return Ok(started.elapsed());
        }
        if started.elapsed() > within {
            bail!(
                "after {within:?} there are {found} of {active} active nodes, {} groups are moving and {} have \
                 no leader",
                status.groups_moving,
                status.groups_without_leader
            );
        }
        // sleep: groups take time to move; asking more often would not speed them up.
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
