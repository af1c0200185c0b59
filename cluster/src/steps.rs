//! From the members that a group has to the members that it should have: one short list of steps, purely decided.
//!
//! Wanted properties, in this order: never fewer voters than the group has now until the new ones have caught up; a
//! group that is as desired gets no step; steps that were carried out need not be remembered; a leader never takes its
//! own vote away, because it would lead on without one, and who asks the voters would find no leader.

use std::collections::BTreeSet;

use covey_state::NodeId;
use covey_state::topology::Placement;

use crate::status::GroupStatus;

/// A follower that misses at most this many entries has caught up.
const LAG_MAX: u64 = 500;

/// What a group's leader does next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Add a node that follows without a vote.
    Admit(NodeId),
    /// Replace the voters; those who leave stay as learners.
    Vote(BTreeSet<NodeId>),
    /// Remove a learner.
    Dismiss(NodeId),
    /// Hand leadership over.
    HandOver(NodeId),
}

/// The members of a group as its leader knows them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Members {
    /// The leader.
    pub leader: Option<NodeId>,
    /// Who votes; during a change, before and after it.
    pub voters: BTreeSet<NodeId>,
    /// Whether a change of voters is half done, so that those before it still count.
    pub joint: bool,
    /// Who only follows.
    pub learners: BTreeSet<NodeId>,
    /// Who has nearly all of the leader's log.
    pub caught_up: BTreeSet<NodeId>,
}

impl Members {
    /// The members of a group that `leader` leads, by its own status.
    pub fn of(leader: NodeId, status: &GroupStatus) -> Self {
        Self {
            leader: Some(leader),
            voters: status.voters.iter().copied().collect(),
            joint: status.joint,
            learners: status.learners.iter().copied().collect(),
            caught_up: caught_up(leader, status),
        }
    }
}

/// The members that have nearly all of the log and know who takes part, as their leader knows.
fn caught_up(leader: NodeId, status: &GroupStatus) -> BTreeSet<NodeId> {
    let last = status.last_log_index.unwrap_or(0);
    let near = |held: &Option<u64>| {
        held.is_some_and(|index| last.saturating_sub(index) <= LAG_MAX && Some(index) >= status.members_index)
    };
    let followers = status
        .replication
        .iter()
        .filter(|(_, held)| near(held))
        .map(|(node, _)| *node);
    followers.chain([leader]).collect()
}

/// What the leader does next, in order; nothing if all is as desired or must wait.
pub fn next_steps(members: &Members, desired: &Placement) -> Vec<Step> {
    let present: BTreeSet<NodeId> = members.voters.union(&members.learners).copied().collect();
    let wanted: BTreeSet<NodeId> = desired.voters.union(&desired.learners).copied().collect();
    if desired.voters.is_empty() {
        return Vec::new();
    }
    let mut steps: Vec<Step> = wanted.difference(&present).copied().map(Step::Admit).collect();
    if members.voters != desired.voters || members.joint {
        let newcomers = desired.voters.difference(&members.voters);
        if newcomers.clone().all(|node| members.caught_up.contains(node)) {
            steps.push(Step::Vote(next_voters(members, desired)));
        }
        return steps;
    }
    steps.extend(present.difference(&wanted).copied().map(Step::Dismiss));
    if steps.is_empty() {
        steps.extend(hand_over(members, desired));
    }
    steps
}

/// The desired voters. Where none of them votes yet, the leader could hand over to nobody before it loses its vote, so
/// it keeps it for one more step.
fn next_voters(members: &Members, desired: &Placement) -> BTreeSet<NodeId> {
    let heir_is_there = !members.voters.is_disjoint(&desired.voters);
    let kept = members.leader.filter(|_| !heir_is_there);
    desired.voters.iter().copied().chain(kept).collect()
}

fn hand_over(members: &Members, desired: &Placement) -> Option<Step> {
    let preferred = desired.preferred_leader?;
    let fit = members.voters.contains(&preferred) && members.caught_up.contains(&preferred);
    (members.leader != Some(preferred) && fit).then_some(Step::HandOver(preferred))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(ids: &[u64]) -> BTreeSet<NodeId> {
        ids.iter().copied().map(NodeId::new).collect()
    }

    fn members(voters: &[u64], learners: &[u64], caught_up: &[u64]) -> Members {
        Members {
            leader: Some(NodeId::new(1)),
            voters: nodes(voters),
            joint: false,
            learners: nodes(learners),
            caught_up: nodes(caught_up),
        }
    }

    fn desired(voters: &[u64], learners: &[u64], leader: u64) -> Placement {
        let preferred_leader = Some(NodeId::new(leader));
        Placement {
            revision: 1,
            voters: nodes(voters),
            learners: nodes(learners),
            preferred_leader,
            ..Placement::default()
        }
    }

    #[test]
    fn a_group_that_is_as_desired_gets_no_step() {
        assert_eq!(
            next_steps(
                &members(&[1, 2, 3], &[4], &[1, 2, 3]),
                &desired(&[1, 2, 3], &[4], 1)
            ),
            []
        );
    }

    #[test]
    fn a_change_of_voters_that_was_cut_off_half_way_is_ended() {
        let half_done = Members {
            joint: true,
            ..members(&[1, 2, 3], &[], &[1, 2, 3])
        };
        let wanted = desired(&[1, 2, 3], &[], 2);
        assert_eq!(next_steps(&half_done, &wanted), [Step::Vote(nodes(&[1, 2, 3]))]);
    }

    #[test]
    fn new_voters_are_admitted_first_and_vote_when_they_have_caught_up() {
        let wanted = desired(&[1, 2, 3], &[], 1);
        let admit = [Step::Admit(NodeId::new(2)), Step::Admit(NodeId::new(3))];
        assert_eq!(next_steps(&members(&[1], &[], &[1]), &wanted), admit);
        assert_eq!(next_steps(&members(&[1], &[2, 3], &[1, 2]), &wanted), []);
        assert_eq!(
            next_steps(&members(&[1], &[2, 3], &[1, 2, 3]), &wanted),
            [Step::Vote(nodes(&[1, 2, 3]))]
        );
    }

    #[test]
    fn a_voter_is_dismissed_only_after_the_new_voters_vote() {
        let wanted = desired(&[1, 2, 4], &[], 1);
        assert_eq!(next_steps(&members(&[1, 2, 3], &[4], &[1, 2, 3]), &wanted), []);
        let caught_up = members(&[1, 2, 3], &[4], &[1, 2, 3, 4]);
        assert_eq!(next_steps(&caught_up, &wanted), [Step::Vote(nodes(&[1, 2, 4]))]);
        let voted = members(&[1, 2, 4], &[3], &[1, 2, 3, 4]);
        assert_eq!(next_steps(&voted, &wanted), [Step::Dismiss(NodeId::new(3))]);
    }

    #[test]
    fn a_group_of_one_moves_by_way_of_two_voters_so_that_its_leader_can_hand_over() {
        let wanted = desired(&[2], &[], 2);
        let caught_up = members(&[1], &[2], &[1, 2]);
        assert_eq!(next_steps(&caught_up, &wanted), [Step::Vote(nodes(&[1, 2]))]);
        let both = members(&[1, 2], &[], &[1, 2]);
        assert_eq!(next_steps(&both, &wanted), [Step::Vote(nodes(&[2]))]);
        let mut handed_over = members(&[2], &[1], &[1, 2]);
        handed_over.leader = Some(NodeId::new(2));
        assert_eq!(next_steps(&handed_over, &wanted), [Step::Dismiss(NodeId::new(1))]);
    }

    #[test]
    fn a_group_that_moves_as_a_whole_keeps_its_leader_until_one_of_the_new_voters_can_lead() {
        let wanted = desired(&[4, 5, 6], &[], 4);
        let caught_up = members(&[1, 2, 3], &[4, 5, 6], &[1, 2, 3, 4, 5, 6]);
        assert_eq!(
            next_steps(&caught_up, &wanted),
            [Step::Vote(nodes(&[1, 4, 5, 6]))]
        );
    }

    #[test]
    fn a_change_that_was_cut_short_is_finished() {
        let joint = members(&[1, 2, 3, 4], &[], &[1, 2, 3, 4]);
        assert_eq!(
            next_steps(&joint, &desired(&[1, 2, 4], &[], 1)),
            [Step::Vote(nodes(&[1, 2, 4]))]
        );
    }

    #[test]
    fn leadership_goes_to_a_preferred_leader_that_has_caught_up() {
        let wanted = desired(&[1, 2, 3], &[], 2);
        assert_eq!(next_steps(&members(&[1, 2, 3], &[], &[1, 3]), &wanted), []);
        let ready = members(&[1, 2, 3], &[], &[1, 2, 3]);
        assert_eq!(next_steps(&ready, &wanted), [Step::HandOver(NodeId::new(2))]);
    }
}
