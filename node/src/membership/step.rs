//! From the members that a group has to the members that it should have: one short list of steps, purely decided.
//!
//! Wanted properties, in this order: never fewer voters than the group has now until the new ones have caught up; a
//! group that is as desired gets no step; steps that were carried out need not be remembered.

use std::collections::BTreeSet;

use covey_state::NodeId;
use covey_state::topology::Placement;

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
    /// Who only follows.
    pub learners: BTreeSet<NodeId>,
    /// Who has nearly all of the leader's log.
    pub caught_up: BTreeSet<NodeId>,
}

/// What the leader does next, in order; nothing if all is as desired or must wait.
pub fn next_steps(members: &Members, desired: &Placement) -> Vec<Step> {
    let present: BTreeSet<NodeId> = members.voters.union(&members.learners).copied().collect();
    let wanted: BTreeSet<NodeId> = desired.voters.union(&desired.learners).copied().collect();
    if desired.voters.is_empty() {
        return Vec::new();
    }
    let mut steps: Vec<Step> = wanted.difference(&present).copied().map(Step::Admit).collect();
    if members.voters != desired.voters {
        let newcomers = desired.voters.difference(&members.voters);
        if newcomers.clone().all(|node| members.caught_up.contains(node)) {
            steps.push(Step::Vote(desired.voters.clone()));
        }
        return steps;
    }
    steps.extend(present.difference(&wanted).copied().map(Step::Dismiss));
    if steps.is_empty() {
        steps.extend(hand_over(members, desired));
    }
    steps
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
