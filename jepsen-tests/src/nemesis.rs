//! What carries out a plan of faults on a fleet, and shows of each that it took effect.
//!
//! Invariant: when it ends, everything that it broke is whole again: every process runs, every packet passes, every clock
//! is right, every node takes part.

mod clock;
mod latency;
mod members;
mod network;
mod processes;
mod rot;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use covey_proto::v1;
use covey_proto::v1::cluster_client::ClusterClient;
use futures::future::join_all;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;
use tokio::time::Instant;

use crate::fault::{FaultKind, Injected, Lane, Step};
use crate::fleet::Fleet;
use crate::history::Recorder;
use crate::waiting::pause;

/// What a fault did: the nodes, what was done, what showed its effect, and whether it had one.
pub(crate) struct Effect {
    nodes: Vec<usize>,
    what: String,
    shown: String,
    took: bool,
}

/// Carries out the steps, lane by lane at the same time; a lane that is late leaves out what would begin after `length`.
pub(crate) async fn carry_out(
    fleet: &Arc<Fleet>,
    recorder: &Arc<Recorder>,
    steps: &[Step],
    length: Duration,
) -> Vec<Injected> {
    let lanes = Lane::ALL.map(|lane| {
        let ours: Vec<Step> = steps
            .iter()
            .copied()
            .filter(|step| step.kind.lane() == lane)
            .collect();
        let nemesis = Nemesis {
            fleet: fleet.clone(),
            recorder: recorder.clone(),
            began_us: recorder.now_us(),
        };
        async move { nemesis.lane(ours, length).await }
    });
    let mut injected: Vec<Injected> = join_all(lanes).await.into_iter().flatten().collect();
    injected.sort_by_key(|injected| injected.began_us);
    injected
}

/// Mends what faults that failed half-way have left; gives the time until the cluster was whole.
pub(crate) async fn restore(fleet: &Fleet) -> Result<Duration> {
    let began = Instant::now();
    for number in 1..=fleet.size() {
        let mut node = fleet.node(number).await;
        // Only a disk of ours can be slow.
        drop(node.disk.speed_up());
        if !node.runs() {
            node.start(None).await?;
        } else if node.is_paused() {
            node.resume()?;
        }
    }
    for number in 1..=fleet.size() {
        fleet.answers(number).await?;
    }
    members::remove(fleet, members::GUEST).await?;
    members::remove(fleet, members::STAND_IN).await?;
    for node in fleet
        .status()
        .await
        .map(|status| status.nodes)
        .unwrap_or_default()
    {
        if node.state() == v1::NodeState::Draining {
            members::set_state(fleet, &node.id, v1::NodeState::Active).await?;
        }
    }
    fleet.settled(fleet.size()).await?;
    Ok(began.elapsed())
}

/// One lane's share.
struct Nemesis {
    fleet: Arc<Fleet>,
    recorder: Arc<Recorder>,
    began_us: u64,
}

impl Nemesis {
    async fn lane(&self, steps: Vec<Step>, length: Duration) -> Vec<Injected> {
        let mut injected = Vec::new();
        for step in steps {
            let elapsed = Duration::from_micros(self.recorder.now_us() - self.began_us);
            if elapsed >= length {
                break;
            }
            pause(Duration::from_millis(step.at_ms).saturating_sub(elapsed)).await;
            let began_us = self.recorder.now_us();
            let effect = self.inject(&step).await.unwrap_or_else(|error| Effect {
                nodes: Vec::new(),
                what: String::new(),
                shown: format!("{error:#}"),
                took: false,
            });
            injected.push(Injected {
                step,
                began_us,
                ended_us: self.recorder.now_us(),
                nodes: effect.nodes,
                what: effect.what,
                effect: effect.shown,
                took_effect: effect.took,
            });
        }
        injected
    }

    async fn inject(&self, step: &Step) -> Result<Effect> {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(step.seed);
        let lasts = Duration::from_millis(step.lasts_ms);
        match step.kind {
            FaultKind::Kill => {
                let victim = self.victim(&mut random).await;
                processes::kill(&self.fleet, &[victim], lasts).await
            }
            FaultKind::Blackout => {
                let all: Vec<usize> = (1..=self.fleet.size()).collect();
                processes::kill(&self.fleet, &all, lasts).await
            }
            FaultKind::Pause => {
                let victim = self.victim(&mut random).await;
                processes::pause_for(&self.fleet, victim, lasts).await
            }
            FaultKind::DiskFull => {
                let victim = self.victim(&mut random).await;
                processes::fill(&self.fleet, victim, lasts).await
            }
            FaultKind::PowerLoss => {
                let mut victims = vec![self.victim(&mut random).await];
                if random.gen_bool(0.4) {
                    victims = (1..=self.fleet.size()).collect();
                }
                processes::lose_power(&self.fleet, &victims, lasts, step.seed).await
            }
            FaultKind::SlowDisk => {
                let mut victims = vec![self.victim(&mut random).await];
                if random.gen_bool(0.5) {
                    victims = (1..=self.fleet.size()).collect();
                }
                processes::slow_down(&self.fleet, &victims, lasts, random.gen_range(20..=120)).await
            }
            FaultKind::Flip => {
                let victim = self.victim(&mut random).await;
                rot::flip(&self.fleet, victim, lasts, &mut random).await
            }
            FaultKind::Partition | FaultKind::OneWay | FaultKind::Bridge | FaultKind::Loss => {
                let victim = self.victim(&mut random).await;
                network::cut(&self.fleet, step, victim, &mut random).await
            }
            FaultKind::Latency => latency::hold_up((&self.fleet, &self.recorder), step, &mut random).await,
            FaultKind::Clock => {
                let victim = self.victim(&mut random).await;
                clock::jump(&self.fleet, victim, lasts, &mut random).await
            }
            FaultKind::Drain => {
                let victim = self.victim(&mut random).await;
                members::drain(&self.fleet, victim, lasts).await
            }
            FaultKind::Replace => members::replace(&self.fleet).await,
            FaultKind::Snapshot => members::snapshot(&self.fleet, &mut random).await,
        }
    }

    /// The leader of some group, or any node.
    async fn victim(&self, random: &mut Xoshiro256PlusPlus) -> usize {
        let group = random.gen_range(0..=self.fleet.config().groups);
        let any = random.gen_range(1..=self.fleet.size());
        if random.gen_bool(0.5) {
            return any;
        }
        let leader = leader_of(&self.fleet, group).await;
        leader
            .filter(|number| *number <= self.fleet.size())
            .unwrap_or(any)
    }
}

/// The number of the node that leads a group, as far as the first node that answers knows.
async fn leader_of(fleet: &Fleet, group: u64) -> Option<usize> {
    for number in 1..=fleet.size() {
        let mut client = ClusterClient::new(fleet.channel(number).ok()?);
        let request = v1::ListGroupsRequest { all_nodes: false };
        let Ok(listed) = client.list_groups(request).await else {
            continue;
        };
        let replicas = listed.into_inner().replicas;
        let leader = replicas
            .into_iter()
            .find(|replica| replica.group == group)?
            .leader;
        return fleet.number_of(&leader).await;
    }
    None
}

/// Some of the numbers, at least one and not all.
fn part_of(numbers: &[usize], random: &mut Xoshiro256PlusPlus) -> Vec<usize> {
    let count = random.gen_range(1..numbers.len().max(2));
    numbers.choose_multiple(random, count).copied().collect()
}
