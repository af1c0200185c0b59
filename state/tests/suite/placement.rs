//! The wanted properties of a placement, over clusters that grow, drain, lose nodes and change their minds.

mod clusters;
mod stories;
mod wanted;

use std::collections::BTreeSet;

use proptest::prelude::*;

use covey_state::id::NodeId;
use covey_state::placement::{is_close, moves, place};
use covey_state::topology::{NodeState, Pins, Placement, Weight};

use clusters::{Placements, grown, history, node, plain, state};
use wanted::costs;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_200))]

    #[test]
    fn a_placement_has_every_wanted_property(history in history()) {
        let mut before = Placements::new();
        for problem in history {
            let after = place(&problem, &before);
            wanted::all(&problem, &before, &after)?;
            before = after;
        }
    }

    #[test]
    fn planning_again_changes_nothing_and_revisions_move_only_with_content(history in history()) {
        let mut before = Placements::new();
        for problem in history {
            let after = place(&problem, &before);
            prop_assert_eq!(&place(&problem, &after), &after);
            prop_assert_eq!(moves(&problem, &after, &place(&problem, &after)), []);
            for (group, placement) in &after {
                let known = before.get(group).cloned().unwrap_or_default();
                let same = Placement { revision: known.revision, ..placement.clone() } == known;
                prop_assert_eq!(placement.revision, known.revision + u64::from(!same));
            }
            before = after;
        }
    }

    #[test]
    fn what_is_pinned_is_calm_too(history in history(), pinned in prop::collection::vec(any::<(bool, bool)>(), 33)) {
        let mut before = Placements::new();
        for problem in history {
            let mut after = place(&problem, &before);
            prop_assert_eq!(&place(&problem, &after), &after);
            for (placement, (replicas, leader)) in after.values_mut().zip(&pinned) {
                placement.pins = Pins { replicas: *replicas, leader: *leader };
            }
            let again = place(&problem, &after);
            for (group, placement) in &again {
                prop_assert_eq!(&placement.voters, &after[group].voters);
                let led = placement.preferred_leader == after[group].preferred_leader;
                prop_assert!(led && (placement.pins.leader || !after[group].pins.leader || placement.preferred_leader.is_none()));
            }
            before = again;
        }
    }

    #[test]
    fn a_small_change_of_bytes_and_load_moves_nothing(
        history in history(),
        changes in prop::collection::vec((850u64..1_150, 850u64..1_150), 33),
    ) {
        let mut before = Placements::new();
        for problem in &history {
            before = place(problem, &before);
        }
        let mut problem = history.last().expect("a history has moments").clone();
        for (demand, (bytes, load)) in problem.groups.values_mut().zip(changes) {
            let was = demand.weight;
            demand.weight = Weight { bytes: was.bytes / 1_000 * bytes, load: was.load * load / 1_000 };
        }
        let calm = problem.groups.iter().all(|(group, demand)| is_close(before[group].weight, demand.weight));
        prop_assume!(calm);
        prop_assert_eq!(place(&problem, &before), before);
    }

    #[test]
    fn without_labels_the_counts_differ_by_one_at_most(
        states in prop::collection::vec(state(), 0..8),
        power in 0u32..7,
        joins in 1u64..4,
    ) {
        let mut problem = plain(1, 1 << power);
        problem.nodes.extend((2..).zip(states).map(|(id, state)| node(id, state, 0, 0)));
        let mut placements = place(&problem, &Placements::new());
        for _ in 0..joins {
            let costs = costs(&problem, &placements);
            let (least, most) = (costs.values().min().copied(), costs.values().max().copied());
            prop_assert!(most <= least.map(|least| least + wanted::BASE), "{costs:?}");
            problem = grown(problem);
            placements = place(&problem, &placements);
        }
    }

    #[test]
    fn a_node_that_joins_gets_its_share_and_nothing_else_moves(count in 3u64..8, power in 0u32..6) {
        let problem = plain(count, 1 << power);
        let before = place(&problem, &Placements::new());
        let newcomer = NodeId::new(count + 1);
        let after = place(&grown(problem), &before);
        for (group, placement) in &after {
            let others: BTreeSet<NodeId> = placement.voters.iter().copied().filter(|id| *id != newcomer).collect();
            prop_assert!(others.is_subset(&before[group].voters), "{} moved between old nodes", group);
        }
    }

    #[test]
    fn a_node_that_leaves_or_dies_gives_up_its_replicas_and_little_else_moves(
        count in 4u64..8,
        power in 0u32..6,
        dies in any::<bool>(),
    ) {
        let mut problem = plain(count, 1 << power);
        let before = place(&problem, &Placements::new());
        if dies {
            problem.dead.insert(NodeId::new(1));
        } else {
            problem.nodes[0].state = NodeState::Decommissioning;
        }
        let after = place(&problem, &before);
        let moved = |group| before[group].voters.difference(&after[group].voters).count();
        let held = before.values().filter(|placement| placement.voters.contains(&NodeId::new(1))).count();
        prop_assert!(after.values().all(|placement| !placement.voters.contains(&NodeId::new(1))));
        // Evening out may take one more move per node: replicas are placed group by group, not by an optimum over all.
        prop_assert!(after.keys().map(moved).sum::<usize>() <= held + count as usize, "{held} had to move");
    }
}
