//! A node's part in the membership, and what nodes ask each other about it: a newcomer opens its replica before it is admitted; a
//! stranger erases its own once a leader that was just confirmed says so; a damaged one once its group has let it go.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use covey_cluster::{Consistency, GroupStatus, Host, Peer, Probation, Role, Step, Wipe};
use covey_state::NodeId;
use covey_state::topology::Placement;
use tokio::runtime::Handle;
use tokio::time::{Instant, timeout_at};

use crate::event::Event;
use crate::node::GROUP;
use crate::trace::Trace;

/// How long a step may take on the clock of its node.
const STEP_WITHIN: Duration = Duration::from_secs(3);

/// A node's part in the membership.
#[derive(Clone)]
pub(super) struct Office {
    pub(super) host: Host,
    pub(super) tasks: Handle,
    pub(super) peer: Peer,
    pub(super) incarnation: u64,
    /// What it knows of the decision.
    pub(super) copy: Arc<Mutex<Placement>>,
    /// Whether it is changing the group that it leads.
    pub(super) changing: Arc<AtomicBool>,
    /// Held while its replica is opened or erased.
    pub(super) replica: Arc<tokio::sync::Mutex<()>>,
}

/// A node that changes the group that it leads; ends when dropped.
pub(super) struct Change(Arc<AtomicBool>);

impl Change {
    pub(super) fn begin(office: &Office) -> Option<Self> {
        let began = !office.changing.swap(true, Ordering::Relaxed);
        began.then(|| Self(Arc::clone(&office.changing)))
    }
}

impl Drop for Change {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

/// Takes a step. One that fails is tried again after a later look.
pub(super) async fn take(
    leader: &Host,
    step: Step,
    probation: Probation,
    newcomers: &BTreeMap<NodeId, Office>,
) {
    let deadline = Instant::now() + STEP_WITHIN;
    let tenure = leader.tenure(GROUP, probation.term);
    let taken = match step {
        Step::Admit(node) => {
            let Some(newcomer) = newcomers.get(&node).cloned() else {
                return;
            };
            let confirmed = leader.read(GROUP, Consistency::Linearizable, deadline).await;
            let (peer, tasks) = (newcomer.peer.clone(), newcomer.tasks.clone());
            if confirmed.is_err() || !matches!(tasks.spawn(open(newcomer, probation)).await, Ok(true)) {
                return;
            }
            let admitted = timeout_at(deadline, leader.admit_learner(GROUP, peer, probation)).await;
            return drop(admitted);
        }
        Step::Vote(voters) => tenure.change_voters(voters, true, deadline).await,
        Step::Dismiss(node) => tenure.remove_learner(node, deadline).await,
        Step::HandOver(node) => tenure.transfer_leader(node, deadline).await,
    };
    drop(taken);
}

/// Makes a replica ready to be admitted, unless it leads: then it may be the other leader who is out of date.
async fn open(newcomer: Office, probation: Probation) -> bool {
    let _held = newcomer.replica.lock().await;
    let known = newcomer.host.group(GROUP);
    let leads = known.is_some_and(|status| status.role == Role::Leader);
    !leads && newcomer.host.admit_group(GROUP, probation).await.is_ok()
}

/// Erases a replica if one of the leaders says that it is no member.
pub(super) async fn release(stranger: Office, leaders: Vec<Office>, trace: Trace) {
    let _held = stranger.replica.lock().await;
    for leader in leaders {
        let tasks = leader.tasks.clone();
        if matches!(
            tasks.spawn(is_stranger(leader, stranger.peer.node)).await,
            Ok(true)
        ) {
            return erase(&stranger, &trace).await;
        }
    }
}

/// Whether a node is no member and is not to become one, as the leader surely knows.
async fn is_stranger(leader: Office, node: NodeId) -> bool {
    let leads = |leader: &Office| {
        let status = leader.host.group(GROUP)?;
        (status.role == Role::Leader && !leader.changing.load(Ordering::Relaxed)).then_some(status)
    };
    if leads(&leader).is_none() {
        return false;
    }
    let deadline = Instant::now() + STEP_WITHIN;
    let confirmed = leader.host.read(GROUP, Consistency::Linearizable, deadline).await;
    let wanted = locked(&leader.copy).holds(node);
    confirmed.is_ok() && leads(&leader).is_some_and(|status| !has_member(&status, node) && !wanted)
}

/// Erases a damaged replica once one of the leaders has let it go.
pub(super) async fn rebuild(
    owner: Office,
    leaders: Vec<Office>,
    intact: BTreeSet<NodeId>,
    damaged: Arc<Mutex<BTreeSet<NodeId>>>,
    trace: Trace,
) {
    let _held = owner.replica.lock().await;
    let here = owner.peer.node;
    let Some(status) = owner.host.group(GROUP) else {
        return;
    };
    if status.role == Role::Leader {
        let heir = status.voters.iter().find(|node| intact.contains(*node));
        if let Some(heir) = heir {
            let tenure = owner.host.tenure(GROUP, status.term);
            let handed_over = tenure.transfer_leader(*heir, Instant::now() + STEP_WITHIN);
            drop(handed_over.await);
        }
        return;
    }
    for leader in leaders {
        let tasks = leader.tasks.clone();
        let asked = let_go(leader, here, intact.clone(), trace.clone());
        if matches!(tasks.spawn(asked).await, Ok(true)) {
            erase(&owner, &trace).await;
            locked(&damaged).remove(&here);
            return;
        }
    }
}

/// Lets a damaged replica go, if a majority of the voters is intact without it. True once it is no member.
async fn let_go(leader: Office, node: NodeId, intact: BTreeSet<NodeId>, trace: Trace) -> bool {
    let deadline = Instant::now() + STEP_WITHIN;
    let confirmed = leader.host.read(GROUP, Consistency::Linearizable, deadline).await;
    let (true, Some(_change)) = (confirmed.is_ok(), Change::begin(&leader)) else {
        return false;
    };
    let Some(status) = leader
        .host
        .group(GROUP)
        .filter(|status| status.role == Role::Leader)
    else {
        return false;
    };
    // An entry that is not committed may be lost with its leader, and with it what was promised.
    if status.joint || status.members_index > status.committed_index {
        return false;
    }
    if !has_member(&status, node) {
        return true;
    }
    let tenure = leader.host.tenure(GROUP, status.term);
    if !status.voters.contains(&node) {
        return tenure.remove_learner(node, deadline).await.is_ok();
    }
    let others: BTreeSet<NodeId> = status
        .voters
        .iter()
        .copied()
        .filter(|voter| *voter != node)
        .collect();
    if others.intersection(&intact).count() * 2 <= status.voters.len() {
        return false;
    }
    trace.event(Event::LetGo { node });
    let voters = others.clone();
    trace.event(Event::VotersAsked { voters });
    tenure.change_voters(others, false, deadline).await.is_ok()
}

async fn erase(office: &Office, trace: &Trace) {
    if office.host.close_group(GROUP, Wipe::Erase).await.is_ok() {
        let node = office.peer.node;
        trace.event(Event::Forgot { node });
    }
}

fn has_member(status: &GroupStatus, node: NodeId) -> bool {
    status.voters.contains(&node) || status.learners.contains(&node)
}

pub(super) fn locked<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
