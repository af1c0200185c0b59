//! As of when each member accepts this leader.
//!
//! Whoever answers a message of a leader had not turned to a later one by then, so it accepts the leader as of the moment
//! in which the message was sent. What a quorum accepts so, linearizable reads, leases and the ages of bounded reads may
//! rely on.
//!
//! The consensus library keeps an account of this too, but dates an answer by the newest message that ends with the
//! same entry, even one that was sent after the member had answered an earlier one. A leader that was replaced meanwhile
//! would take itself for confirmed. So its account decides nothing here.
//!
//! Invariant: a moment is never later than the sending of the message that was answered.

use std::collections::{BTreeMap, BTreeSet};

use tokio::sync::watch;
use tokio::time::Instant;

use crate::consensus::{LeaderId, Membership};

/// The leader that a member answered last, and when that message was sent.
type Accepted = BTreeMap<u64, (LeaderId, Instant)>;

/// The account of one group.
#[derive(Debug, Default)]
pub(crate) struct Contacts(watch::Sender<Accepted>);

impl Contacts {
    /// A member has answered a message that was sent at `sent`.
    pub(crate) fn accepted(&self, member: u64, leader: LeaderId, sent: Instant) {
        self.0.send_if_modified(|accepted| {
            let last = accepted.entry(member).or_insert((leader, sent));
            let newer = (leader.term, sent) > (last.0.term, last.1);
            if newer {
                *last = (leader, sent);
            }
            newer
        });
    }

    /// The moment as of which a quorum of `members` accepts `leader`, which is on this node: now, if it has the only vote.
    pub(crate) fn quorum(&self, leader: LeaderId, members: &Membership) -> Option<Instant> {
        quorum_of(&self.0.borrow(), leader, members)
    }

    /// Waits until a quorum accepts `leader` as of `since` or later.
    pub(crate) async fn wait(&self, leader: LeaderId, members: &Membership, since: Instant) {
        let mut accepted = self.0.subscribe();
        let confirmed = |accepted: &Accepted| quorum_of(accepted, leader, members) >= Some(since);
        // The sender is borrowed, so it cannot be gone.
        let _ = accepted.wait_for(confirmed).await;
    }
}

/// During a change of voters, the earlier of both sides.
fn quorum_of(accepted: &Accepted, leader: LeaderId, members: &Membership) -> Option<Instant> {
    let sides = members.get_joint_config().iter();
    sides
        .map(|voters| majority_of(accepted, leader, voters))
        .min()
        .flatten()
}

fn majority_of(accepted: &Accepted, leader: LeaderId, voters: &BTreeSet<u64>) -> Option<Instant> {
    let now = Instant::now();
    let moment = |voter: &u64| match accepted.get(voter) {
        _ if *voter == leader.node_id => Some(now),
        Some((accepted, sent)) if *accepted == leader => Some(*sent),
        _ => None,
    };
    let mut moments: Vec<_> = voters.iter().map(moment).collect();
    moments.sort_unstable_by(|a, b| b.cmp(a));
    moments.get(voters.len() / 2).copied().flatten()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::consensus::Address;

    const LEADER: LeaderId = LeaderId { term: 2, node_id: 1 };
    const EARLIER: LeaderId = LeaderId { term: 1, node_id: 1 };

    fn members(sides: &[&[u64]]) -> Membership {
        let sides: Vec<BTreeSet<u64>> = sides.iter().map(|side| side.iter().copied().collect()).collect();
        let nodes: BTreeMap<u64, Address> = sides
            .iter()
            .flatten()
            .map(|node| (*node, Address::default()))
            .collect();
        Membership::new(sides, nodes).unwrap()
    }

    #[tokio::test]
    async fn a_quorum_accepts_as_of_the_moment_of_its_latest_majority() {
        let (contacts, begun) = (Contacts::default(), Instant::now());
        // All of these moments are over when the account is asked.
        let at = |nanos| begun + Duration::from_nanos(nanos);
        let (three, five) = (members(&[&[1, 2, 3]]), members(&[&[1, 2, 3, 4, 5]]));
        assert_eq!(contacts.quorum(LEADER, &three), None, "nobody has answered");
        contacts.accepted(2, LEADER, at(5));
        assert_eq!(contacts.quorum(LEADER, &three), Some(at(5)));
        assert_eq!(contacts.quorum(LEADER, &five), None, "two of five");
        contacts.accepted(3, LEADER, at(3));
        assert_eq!(contacts.quorum(LEADER, &three), Some(at(5)));
        assert_eq!(contacts.quorum(LEADER, &five), Some(at(3)));
        contacts.accepted(2, LEADER, at(1));
        contacts.accepted(3, LEADER, at(4));
        assert_eq!(
            contacts.quorum(LEADER, &three),
            Some(at(5)),
            "an older answer takes nothing back"
        );
        assert_eq!(contacts.quorum(LEADER, &five), Some(at(4)));
    }

    #[tokio::test]
    async fn an_answer_to_an_earlier_reign_counts_for_nothing() {
        let contacts = Contacts::default();
        let two = members(&[&[1, 2]]);
        contacts.accepted(2, EARLIER, Instant::now());
        assert_eq!(contacts.quorum(LEADER, &two), None);
        contacts.accepted(2, LEADER, Instant::now());
        contacts.accepted(2, EARLIER, Instant::now() + Duration::from_secs(1));
        assert!(contacts.quorum(LEADER, &two).is_some());
    }

    #[tokio::test]
    async fn both_sides_of_a_change_must_accept() {
        let contacts = Contacts::default();
        let changing = members(&[&[1, 2, 3], &[1, 4, 5]]);
        contacts.accepted(2, LEADER, Instant::now());
        contacts.accepted(3, LEADER, Instant::now());
        assert_eq!(contacts.quorum(LEADER, &changing), None);
        contacts.accepted(5, LEADER, Instant::now());
        assert!(contacts.quorum(LEADER, &changing).is_some());
    }

    #[tokio::test]
    async fn whoever_votes_alone_accepts_itself() {
        let alone = members(&[&[1]]);
        assert!(Contacts::default().quorum(LEADER, &alone).is_some());
    }
}
