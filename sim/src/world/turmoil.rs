//! What goes wrong in a world: brought about when it is due, and ended when it is over.

use std::collections::BTreeSet;
use std::time::Duration;

use covey_cluster::Peer;
use covey_state::NodeId;
use tokio::time::Instant;

use super::World;
use crate::event::Event;
use crate::network::Weather;
use crate::node::{GROUP, Node};
use crate::schedule::Fault;
use crate::workload::Workload;

impl World {
    /// Brings about what is due, and ends what is over.
    pub(super) fn faults(&mut self) -> anyhow::Result<()> {
        let mut over = Vec::new();
        let now = self.now;
        self.lasting.retain(|(due, fault)| {
            let lasts = *due > now;
            if !lasts {
                over.push(fault.clone());
            }
            lasts
        });
        let changed = !over.is_empty();
        for fault in over {
            self.end(&fault)?;
        }
        let mut began = false;
        while let Some((at, fault)) = self.schedule.faults.get(self.next_fault)
            && *at <= now
        {
            let fault = fault.clone();
            self.next_fault += 1;
            self.trace.line(format_args!("fault: {fault}"));
            self.begin(fault)?;
            began = true;
        }
        if changed || began {
            self.network.set_cuts(self.cuts());
        }
        Ok(())
    }

    fn begin(&mut self, fault: Fault) -> anyhow::Result<()> {
        let lasts_ms = match &fault {
            Fault::Crash(node, ms) => {
                self.node(*node).crash()?;
                *ms
            }
            Fault::Blackout(ms) => {
                for node in &mut self.nodes {
                    node.crash()?;
                }
                *ms
            }
            Fault::Orphan(node, ms) => {
                let others = self.nodes.iter_mut().filter(|other| other.id != *node);
                for other in others {
                    other.crash()?;
                }
                self.start_all()?;
                *ms
            }
            Fault::Split(_, ms) | Fault::OneWay(_, _, ms) => *ms,
            Fault::Storm(weather, ms) => {
                self.network.set_weather(*weather);
                *ms
            }
            Fault::Reset => {
                self.network.reset();
                return Ok(());
            }
            Fault::SlowDisk(node, sync_ms, ms) => {
                self.node(*node).sync_ms = (sync_ms / 2, *sync_ms);
                *ms
            }
            Fault::Snapshot(node) => {
                if let Some((host, runtime)) = self.node(*node).host() {
                    let host = host.clone();
                    runtime.spawn(async move { drop(host.snapshot(GROUP).await) });
                }
                return Ok(());
            }
            Fault::Transfer(node) => {
                self.transfer(*node);
                return Ok(());
            }
            Fault::Leave(node, ms) => {
                self.membership.leaving.insert(*node);
                *ms
            }
            Fault::Rebuild(node) => {
                self.membership.damage(*node);
                return Ok(());
            }
        };
        self.lasting.push((self.now.plus_ms(lasts_ms), fault));
        Ok(())
    }

    fn end(&mut self, fault: &Fault) -> anyhow::Result<()> {
        match fault {
            Fault::Crash(..) | Fault::Blackout(_) => self.start_all()?,
            Fault::Storm(..) => self.network.set_weather(Weather::FAIR),
            Fault::SlowDisk(node, ..) => self.node(*node).sync_ms = (1, 3),
            Fault::Leave(node, _) => drop(self.membership.leaving.remove(node)),
            Fault::Split(..)
            | Fault::Orphan(..)
            | Fault::OneWay(..)
            | Fault::Reset
            | Fault::Snapshot(_)
            | Fault::Transfer(_)
            | Fault::Rebuild(_) => {}
        }
        Ok(())
    }

    /// Starts every node that has no reason to be off.
    pub(super) fn start_all(&mut self) -> anyhow::Result<()> {
        let peers: Vec<Peer> = self.nodes.iter().map(Node::peer).collect();
        let lasting = &self.lasting;
        let is_off = |id: NodeId| {
            lasting.iter().any(|(_, fault)| match fault {
                Fault::Crash(node, _) => *node == id,
                Fault::Blackout(_) => true,
                _ => false,
            })
        };
        for node in &mut self.nodes {
            if !node.is_up() && !is_off(node.id) {
                node.start(self.now, &peers)?;
            }
        }
        Ok(())
    }

    /// Makes the group and the models.
    pub(super) fn found(&mut self) {
        let voters = self.membership.decided().voters.clone();
        let peers: Vec<Peer> = self.members().map(Node::peer).collect();
        self.trace.event(Event::VotersAsked { voters });
        for (place, node) in self.members().enumerate() {
            let Some((host, runtime)) = node.host() else {
                continue;
            };
            let (host, peers) = (host.clone(), peers.clone());
            runtime.spawn(async move {
                if place > 0 {
                    return drop(host.open_group(GROUP).await);
                }
                if host.bootstrap_group(GROUP, peers).await.is_err() {
                    return;
                }
                for request in Workload::founding() {
                    let deadline = Instant::now() + Duration::from_secs(60);
                    drop(host.propose(GROUP, request, deadline).await);
                }
            });
        }
    }

    fn transfer(&self, to: NodeId) {
        let first_up = self.nodes.iter().find_map(Node::host);
        let Some((host, runtime)) = first_up else { return };
        let host = host.clone();
        runtime.spawn(async move {
            let deadline = Instant::now() + Duration::from_secs(2);
            drop(host.transfer_leader(GROUP, to, deadline).await);
        });
    }

    fn cuts(&self) -> BTreeSet<(NodeId, NodeId)> {
        let mut cuts = BTreeSet::new();
        for (_, fault) in &self.lasting {
            match fault {
                Fault::Split(side, _) => {
                    for one in self.schedule.ids().filter(|id| side.contains(id)) {
                        for other in self.schedule.ids().filter(|id| !side.contains(id)) {
                            cuts.insert((one, other));
                            cuts.insert((other, one));
                        }
                    }
                }
                Fault::Orphan(node, _) => {
                    let others = self.schedule.ids().filter(|other| other != node);
                    cuts.extend(others.flat_map(|other| [(*node, other), (other, *node)]));
                }
                Fault::OneWay(from, to, _) => drop(cuts.insert((*from, *to))),
                _ => {}
            }
        }
        cuts
    }

    pub(super) fn node(&mut self, id: NodeId) -> &mut Node {
        let place = self.nodes.iter().position(|node| node.id == id);
        &mut self.nodes[place.expect("a schedule names only nodes that it has")]
    }
}
