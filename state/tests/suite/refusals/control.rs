//! Bad input to the control group.

use std::collections::BTreeSet;

use covey_state::catalog::Rule;
use covey_state::command::Removable;
use covey_state::id::{GroupId, NodeId};
use covey_state::namespace::Policy;
use covey_state::topology::{NodeState, Placement};
use covey_state::window::{DAY, Function, MINUTE};
use covey_state::{Command, DataType};

use crate::samples;
use crate::world::World;

fn init_with(groups: u64, replication_factor: u32) -> Command {
    let name = "birds".to_owned();
    Command::InitCluster {
        id: 1,
        name,
        groups,
        replication_factor,
        first: samples::node(1),
    }
}

fn set_state(node: u64, state: NodeState) -> Command {
    Command::SetNodeState(NodeId::new(node), state)
}

fn placed(group: u64, expected: u64, voters: &[u64], learners: &[u64]) -> Command {
    let ids = |ids: &[u64]| ids.iter().copied().map(NodeId::new).collect::<BTreeSet<_>>();
    let placement = Placement {
        revision: 0,
        voters: ids(voters),
        learners: ids(learners),
        preferred_leader: None,
        ..Placement::default()
    };
    Command::SetPlacement {
        group: GroupId::new(group),
        expected,
        placement,
    }
}

#[test]
fn a_second_init_is_told_which_cluster_is_there() {
    let mut world = World::after([samples::init()]);
    assert_eq!(world.refusal(samples::init()), "cluster `birds` exists already");
}

#[test]
fn groups_must_be_a_power_of_two_and_the_replication_factor_odd() {
    let mut world = World::default();
    assert_eq!(
        world.refusal(init_with(6, 3)),
        "groups is invalid: 6 is not a power of two from 1 to 16384"
    );
    assert_eq!(
        world.refusal(init_with(0, 3)),
        "groups is invalid: 0 is not a power of two from 1 to 16384"
    );
    assert_eq!(
        world.refusal(init_with(8, 2)),
        "replication_factor is invalid: 2 is not an odd number from 1 to 7"
    );
    assert_eq!(
        world.refusal(init_with(8, 9)),
        "replication_factor is invalid: 9 is not an odd number from 1 to 7"
    );
}

#[test]
fn nothing_is_declared_before_there_is_a_cluster() {
    let mut world = World::default();
    let told = "cluster `-` is not initialised: make it with `covey init` on one node first";
    assert_eq!(world.refusal(Command::RegisterNode(samples::node(2))), told);
    assert_eq!(world.refusal(Command::PutEntity(samples::card())), told);
}

#[test]
fn a_node_whose_peer_address_is_taken_is_refused() {
    let mut world = World::after([samples::init()]);
    assert_eq!(
        world.refusal(Command::RegisterNode(samples::node(1))),
        "node with peer address `10.0.0.1:7401` exists already"
    );
}

#[test]
fn a_node_is_removed_only_after_it_holds_nothing_and_then_for_good() {
    let mut world = World::after([samples::init(), Command::RegisterNode(samples::node(2))]);
    assert_eq!(
        world.refusal(set_state(1, NodeState::Removed)),
        "node `n1` is active: decommission it and wait until it holds no replicas"
    );
    world
        .ask(set_state(1, NodeState::Decommissioning))
        .expect("an active node may leave");
    assert_eq!(
        world.refusal(set_state(1, NodeState::Removed)),
        "node `n1` is still a member of 3 group(s): g0, g1, g2: wait until its replicas have moved"
    );
    for group in 0..3 {
        world
            .ask(placed(group, 1, &[2], &[]))
            .expect("the other node can take it");
    }
    world
        .ask(set_state(1, NodeState::Removed))
        .expect("it holds nothing");
    let told = "node n1 has been removed from the cluster; its id is never used again";
    assert_eq!(world.refusal(set_state(1, NodeState::Active)), told);
    assert_eq!(
        world.refusal(Command::UpdateNode(NodeId::new(1), samples::node(1))),
        told
    );
    assert_eq!(world.refusal(placed(0, 2, &[1], &[])), told);
    let again = world
        .ask(Command::RegisterNode(samples::node(1)))
        .expect("its address is free again");
    assert_eq!(again, covey_state::answer::Answer::Node(NodeId::new(3)));
}

#[test]
fn a_placement_must_be_sound_and_replace_the_one_that_is_there() {
    let mut world = World::after([samples::init(), Command::RegisterNode(samples::node(2))]);
    assert_eq!(
        world.refusal(placed(1, 7, &[1], &[])),
        "placement `g1` has changed: expected 7, found 1"
    );
    assert_eq!(
        world.refusal(placed(9, 0, &[1], &[])),
        "group `g9` does not exist"
    );
    let told = "placement.voters is invalid: 0 voters are not an odd number";
    assert_eq!(world.refusal(placed(1, 1, &[], &[1])), told);
    let told = "placement.voters is invalid: 2 voters are not an odd number";
    assert_eq!(world.refusal(placed(1, 1, &[1, 2], &[])), told);
    assert_eq!(
        world.refusal(placed(1, 1, &[1], &[1])),
        "placement.learners is invalid: n1 is a voter too"
    );
    assert_eq!(world.refusal(placed(1, 1, &[5], &[])), "node `n5` does not exist");
}

#[test]
fn a_namespace_has_a_power_of_two_of_groups_for_ever() {
    let put = |name: &str, groups| Command::PutNamespace {
        name: name.to_owned(),
        policy: Policy::Anywhere,
        groups: Some(groups),
    };
    let mut world = World::after([samples::init(), put("cards", 2)]);
    let told = "groups is invalid: 4, but namespace `cards` has 2 for ever";
    assert_eq!(world.refusal(put("cards", 4)), told);
    let told = "groups is invalid: 3 is not a power of two from 1 to 16384";
    assert_eq!(world.refusal(put("shops", 3)), told);
    let told = "data groups of all namespaces would exceed its limit of 16384";
    assert_eq!(world.refusal(put("shops", 16_384)), told);
}

#[test]
fn names_are_lower_case_and_have_no_double_underscore() {
    let mut world = World::after([samples::init()]);
    let mut entity = samples::card();
    entity.name = "Card".to_owned();
    assert_eq!(
        world.refusal(Command::PutEntity(entity.clone())),
        "name is invalid: `Card` is not a name: it must start with a lower-case letter, go on with lower-case \
         letters, digits, `_` and `-`, and have at most 63 characters"
    );
    entity.name = "my__card".to_owned();
    assert_eq!(
        world.refusal(Command::PutEntity(entity)),
        "name is invalid: `my__card` has two underscores in a row, which separate view and feature in feature names"
    );
}

#[test]
fn join_keys_are_int64_or_string_and_never_change() {
    let mut world = World::after([samples::init(), Command::PutEntity(samples::card())]);
    let mut entity = samples::card();
    entity.join_keys[0].data_type = DataType::Float64;
    assert_eq!(
        world.refusal(Command::PutEntity(entity.clone())),
        "join_keys[0].data_type is invalid: `card_id` is float64, a join key must be int64 or string"
    );
    entity.join_keys[0].data_type = DataType::Int64;
    assert_eq!(
        world.refusal(Command::PutEntity(entity)),
        "join_keys is invalid: entity `card` has join keys `card_id` (string), which cannot change"
    );
}

#[test]
fn a_view_must_make_sense() {
    let mut world = World::after([samples::init(), Command::PutEntity(samples::card())]);
    let mut refused = |change: fn(&mut covey_state::catalog::FeatureView)| {
        let mut view = samples::payments();
        change(&mut view);
        world.refusal(Command::PutView(view))
    };
    assert_eq!(
        refused(|view| view.entity = "shop".to_owned()),
        "entity `shop` does not exist"
    );
    assert_eq!(
        refused(|view| view.columns[1].name = "amount".to_owned()),
        "columns[1].name is invalid: `amount` names another column, aggregate or join key too"
    );
    assert_eq!(
        refused(|view| view.columns[0].name = "card_id".to_owned()),
        "columns[0].name is invalid: `card_id` names another column, aggregate or join key too"
    );
    assert_eq!(
        refused(|view| view.columns[2].rules = vec![Rule::Min(1.0)]),
        "columns[2].rules[0] is invalid: `country` is string, only int64 and float64 have bounds"
    );
    assert_eq!(
        refused(|view| view.aggregates[0].column = "country".to_owned()),
        "aggregates[0].column is invalid: `country` is string, aggregates need a number or a truth value"
    );
    assert_eq!(
        refused(|view| view.aggregates[0].window_micros = 7 * MINUTE),
        "aggregates[0].window_micros is invalid: 7m is not a multiple of 5m, the width of its tiles"
    );
    assert_eq!(
        refused(|view| view.aggregates[0].window_micros = 91 * DAY),
        "aggregates[0].window_micros is invalid: 91d is not a window from 1m to 90d"
    );
    assert_eq!(
        refused(|view| view.ttl_micros = Some(0)),
        "ttl_micros is invalid: 0 is not a positive length of time of at most a hundred years"
    );
    assert_eq!(
        refused(|view| view.aggregates = vec![view.aggregates[0].clone(); 201]),
        "aggregates of a feature view would exceed its limit of 200"
    );
}

#[test]
fn a_view_may_grow_but_what_is_there_stays() {
    let mut world = World::after(samples::catalog());
    let mut refused = |change: fn(&mut covey_state::catalog::FeatureView)| {
        let mut view = samples::payments();
        change(&mut view);
        world.refusal(Command::PutView(view))
    };
    assert_eq!(
        refused(|view| view.columns.swap(0, 1)),
        "columns[0] is invalid: `amount` (float64) must stay where it is: columns can only be appended; declare a \
         new view for another shape"
    );
    assert_eq!(
        refused(|view| view.aggregates.swap(0, 2)),
        "aggregates is invalid: the aggregated columns were amount, count in this order; others can only follow them"
    );
    assert_eq!(
        refused(|view| view
            .aggregates
            .push(samples::aggregate("missing", Function::Sum, MINUTE))),
        "aggregates[3].column is invalid: there is no column `missing`"
    );
    assert_eq!(
        refused(|view| view.aggregates[1].function = Function::Min),
        "aggregates is invalid: feature `amount_mean_1d` is missing, which feature service `fraud` lists"
    );
    let mut view = samples::payments();
    view.name = "visits".to_owned();
    view.aggregates.clear();
    world
        .ask(Command::PutView(view.clone()))
        .expect("a view needs no aggregates");
    view.aggregates
        .push(samples::aggregate("amount", Function::Sum, DAY));
    assert_eq!(
        world.refusal(Command::PutView(view)),
        "aggregates[0].window_micros is invalid: amount_sum_1d needs tiles of 1h, which this view does not keep; \
         declare a new view for it"
    );
}

#[test]
fn a_service_lists_features_that_exist() {
    let mut world = World::after(samples::catalog());
    let mut service = samples::service();
    service.views[0].features = vec!["colour".to_owned()];
    assert_eq!(
        world.refusal(Command::PutService(service.clone())),
        "feature of view `payments` `colour` does not exist"
    );
    service.views[0].features = vec!["amount".to_owned(), "amount".to_owned()];
    assert_eq!(
        world.refusal(Command::PutService(service.clone())),
        "views[0] is invalid: feature `amount` of view `payments` is there twice"
    );
    service.views.clear();
    service.request.clear();
    assert_eq!(
        world.refusal(Command::PutService(service)),
        "views is invalid: a feature service needs at least one feature"
    );
}

#[test]
fn only_the_newest_schema_version_is_activated() {
    let mut world = World::after(samples::catalog());
    let activate = Command::ActivateView {
        name: "payments".to_owned(),
        schema_version: 2,
    };
    assert_eq!(
        world.refusal(activate),
        "schema version of feature view `payments` has changed: expected 2, found 1"
    );
}

#[test]
fn a_deployment_has_replicas_and_a_place_in_its_queue() {
    let mut world = World::after([samples::init()]);
    let told = "replicas is invalid: 0 is not a number from 1 to 64";
    assert_eq!(
        world.refusal(Command::PutDeployment(samples::deployment(0))),
        told
    );
    let mut deployment = samples::deployment(1);
    deployment.queue_limit = 0;
    let told = "queue_limit is invalid: 0 is not a number from 1 to 1000000";
    assert_eq!(world.refusal(Command::PutDeployment(deployment)), told);
}

#[test]
fn a_deployment_is_placed_at_its_revision_on_active_nodes() {
    let mut world = World::after([samples::init(), Command::PutDeployment(samples::deployment(1))]);
    let place = |expected, nodes: &[u64]| Command::PlaceDeployment {
        name: "fraud-live".to_owned(),
        expected,
        placement: nodes.iter().copied().map(NodeId::new).collect(),
    };
    assert_eq!(
        world.refusal(place(2, &[1])),
        "deployment `fraud-live` has changed: expected revision 2, found revision 1"
    );
    assert_eq!(
        world.refusal(place(1, &[1, 1])),
        "placed replicas would exceed its limit of 1"
    );
    world
        .ask(set_state(1, NodeState::Draining))
        .expect("an active node may drain");
    assert_eq!(
        world.refusal(place(1, &[1])),
        "node `n1` is draining: replicas are placed on active nodes"
    );
}

#[test]
fn what_a_monitor_needs_cannot_be_taken_away() {
    let mut world = World::after([samples::init()]);
    assert_eq!(
        world.refusal(Command::PutMonitor(samples::monitor())),
        "deployment `fraud-live` does not exist"
    );
    world
        .ask(Command::PutDeployment(samples::deployment(1)))
        .expect("it is sound");
    assert_eq!(
        world.refusal(Command::PutMonitor(samples::monitor())),
        "pipeline `retrain` does not exist"
    );
    world
        .ask(Command::PutPipeline(samples::pipeline()))
        .expect("it is sound");
    world
        .ask(Command::PutMonitor(samples::monitor()))
        .expect("everything is there");
    assert_eq!(
        world.refusal(Command::Remove(Removable::Deployment, "fraud-live".to_owned())),
        "deployment `fraud-live` is watched by monitor `fraud-drift`: remove the monitor first"
    );
    assert_eq!(
        world.refusal(Command::Remove(Removable::Pipeline, "retrain".to_owned())),
        "pipeline `retrain` is started by monitor `fraud-drift`: remove the monitor first"
    );
    assert_eq!(
        world.refusal(Command::Remove(Removable::Service, "fraud".to_owned())),
        "feature service `fraud` does not exist"
    );
}
