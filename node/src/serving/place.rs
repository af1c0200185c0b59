//! Where replicas run: a pure function of the nodes that can take them and of where they are now.
//!
//! Wanted, in this order: a replica only on an eligible node; no two nodes of which one has more than one replica more
//! than the other; what is there stays there; new replicas go where the fewest replicas of all deployments are.

use std::collections::BTreeMap;

use covey_state::NodeId;

/// Nodes that can take replicas, each with the number of replicas of other deployments that it has.
pub(super) type Eligible = BTreeMap<NodeId, usize>;

/// The placement of a deployment with that many replicas: as many entries, in ascending order; none without a node.
pub(super) fn place(replicas: usize, eligible: &Eligible, current: &[NodeId]) -> Vec<NodeId> {
    if eligible.is_empty() || replicas == 0 {
        return Vec::new();
    }
    let most = replicas.div_ceil(eligible.len());
    let full = replicas - (most - 1) * eligible.len();
    let mut counts: BTreeMap<NodeId, usize> = eligible.keys().map(|node| (*node, 0)).collect();
    let mut at_most = 0;
    for node in current {
        let Some(count) = counts.get_mut(node) else {
            continue;
        };
        // Only so many nodes may have one replica more than the rest.
        if *count + 1 < most || (*count + 1 == most && at_most < full) {
            *count += 1;
            at_most += usize::from(*count == most);
        }
    }
    for _ in counts.values().sum::<usize>()..replicas {
        let fewest = counts
            .iter()
            .min_by_key(|(node, count)| (**count, eligible[*node], **node));
        let node = *fewest.expect("there is an eligible node").0;
        *counts.entry(node).or_default() += 1;
    }
    counts
        .into_iter()
        .flat_map(|(node, count)| std::iter::repeat_n(node, count))
        .collect()
}

/// Whether two placements are the same, whatever the order of their entries.
pub(super) fn same(left: &[NodeId], right: &[NodeId]) -> bool {
    let sorted = |nodes: &[NodeId]| {
        let mut nodes = nodes.to_vec();
        nodes.sort_unstable();
        nodes
    };
    sorted(left) == sorted(right)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(ids: &[u64]) -> Vec<NodeId> {
        ids.iter().copied().map(NodeId::new).collect()
    }

    fn eligible(ids: &[u64]) -> Eligible {
        nodes(ids).into_iter().map(|node| (node, 0)).collect()
    }

    #[test]
    fn replicas_are_spread_evenly() {
        assert_eq!(place(3, &eligible(&[1, 2, 3]), &[]), nodes(&[1, 2, 3]));
        assert_eq!(place(5, &eligible(&[1, 2, 3]), &[]), nodes(&[1, 1, 2, 2, 3]));
    }

    #[test]
    fn what_is_there_stays_when_a_node_joins_that_is_not_needed() {
        assert_eq!(place(2, &eligible(&[1, 2, 3]), &nodes(&[2, 3])), nodes(&[2, 3]));
    }

    #[test]
    fn a_lost_node_gives_its_replicas_to_the_others_and_nothing_else_moves() {
        assert_eq!(place(2, &eligible(&[2, 3]), &nodes(&[1, 3])), nodes(&[2, 3]));
        assert_eq!(
            place(3, &eligible(&[2, 3]), &nodes(&[1, 2, 3])),
            nodes(&[2, 2, 3])
        );
    }

    #[test]
    fn a_crowded_node_gives_up_what_is_too_much() {
        assert_eq!(
            place(3, &eligible(&[1, 2, 3]), &nodes(&[1, 1, 2])),
            nodes(&[1, 2, 3])
        );
        assert_eq!(
            place(4, &eligible(&[1, 2]), &nodes(&[1, 1, 1, 1])),
            nodes(&[1, 1, 2, 2])
        );
        assert_eq!(
            place(4, &eligible(&[1, 2, 3]), &nodes(&[1, 1, 2, 2])),
            nodes(&[1, 1, 2, 3])
        );
    }

    #[test]
    fn new_replicas_go_where_the_fewest_others_are() {
        let busy: Eligible = [(NodeId::new(1), 4), (NodeId::new(2), 1), (NodeId::new(3), 2)].into();
        assert_eq!(place(2, &busy, &[]), nodes(&[2, 3]));
    }

    #[test]
    fn placing_again_changes_nothing() {
        for replicas in 1..9 {
            let first = place(replicas, &eligible(&[1, 2, 3, 4]), &nodes(&[4, 4, 2]));
            assert_eq!(first.len(), replicas);
            assert_eq!(place(replicas, &eligible(&[1, 2, 3, 4]), &first), first);
        }
    }

    #[test]
    fn without_a_node_there_is_no_placement() {
        assert_eq!(place(2, &Eligible::new(), &nodes(&[1])), []);
    }
}
