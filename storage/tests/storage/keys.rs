//! Laws of the keys: bytes sort as keys do, and come back as the key they were.

use std::cmp::Reverse;

use covey_state::entity::{EntityKey, KeyPart};
use covey_state::registry::VersionId;
use covey_state::row::RowVersion;
use covey_state::window::Hop;
use covey_state::{GroupId, Key, NodeId, RequestId, Timestamp, ViewId};
use covey_storage::key::{decode, encode};
use proptest::prelude::*;

/// Texts that share prefixes and hold the bytes that escaping treats.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => prop::collection::vec(prop::sample::select(vec!['\0', '\u{1}', 'a', 'b', '\u{ff}', '\u{10ffff}']), 0..4)
            .prop_map(String::from_iter),
        1 => any::<String>(),
    ]
}

fn number() -> impl Strategy<Value = u64> {
    prop_oneof![
        prop::sample::select(vec![0, 1, 255, 256, 1 << 32, u64::MAX - 1, u64::MAX]),
        any::<u64>()
    ]
}

fn small() -> impl Strategy<Value = u32> {
    prop_oneof![prop::sample::select(vec![0, 1, 255, 256, u32::MAX]), any::<u32>()]
}

fn time() -> impl Strategy<Value = Timestamp> {
    prop_oneof![
        prop::sample::select(vec![i64::MIN, -256, -1, 0, 1, 255, i64::MAX]),
        any::<i64>()
    ]
    .prop_map(Timestamp::from_micros)
}

fn view() -> impl Strategy<Value = ViewId> {
    small().prop_map(ViewId::new)
}

fn request() -> impl Strategy<Value = RequestId> {
    prop_oneof![
        (any::<u128>(), small()).prop_map(|(id, part)| RequestId::Unique(id, part)),
        (text(), number(), small()).prop_map(|(by, number, part)| RequestId::Producer(by, number, part)),
    ]
}

fn part() -> impl Strategy<Value = KeyPart> {
    prop_oneof![
        time().prop_map(|at| KeyPart::Int64(at.micros())),
        text().prop_map(KeyPart::String)
    ]
}

fn entity() -> impl Strategy<Value = EntityKey> {
    prop::collection::vec(part(), 0..4).prop_map(EntityKey)
}

prop_compose! {
    fn row_version()(event_time in time(), created_time in time(), log_index in number(), ordinal in small())
        -> RowVersion {
        RowVersion { event_time, created_time, log_index, ordinal }
    }
}

fn hop() -> impl Strategy<Value = Hop> {
    prop::sample::select(vec![Hop::FiveMinutes, Hop::Hour, Hop::Day])
}

fn version() -> impl Strategy<Value = VersionId> {
    (text(), number()).prop_map(|(model, number)| VersionId { model, number })
}

fn control_key() -> impl Strategy<Value = Key> {
    prop_oneof![
        Just(Key::Clock),
        request().prop_map(Key::Request),
        (time(), request()).prop_map(|(at, id)| Key::RequestAge(at, id)),
        text().prop_map(Key::ProducerFloor),
        Just(Key::Cluster),
        number().prop_map(|node| Key::Node(NodeId::new(node))),
        number().prop_map(|group| Key::Placement(GroupId::new(group))),
        text().prop_map(Key::Entity),
        text().prop_map(Key::View),
        text().prop_map(Key::Service),
        text().prop_map(Key::Deployment),
        text().prop_map(Key::Monitor),
        text().prop_map(Key::Pipeline),
        text().prop_map(Key::Namespace),
    ]
}

fn data_key() -> impl Strategy<Value = Key> {
    prop_oneof![
        (view(), small()).prop_map(|(view, version)| Key::Schema(view, version)),
        view().prop_map(Key::SchemaHead),
        (view(), number(), small()).prop_map(|(view, index, ordinal)| Key::DeadLetter(view, index, ordinal)),
        text().prop_map(Key::Model),
        (text(), number()).prop_map(|(name, version)| Key::ModelVersion(name, version)),
        (text(), text()).prop_map(|(model, alias)| Key::Alias(model, alias)),
        (text(), text(), number()).prop_map(|(model, alias, index)| Key::AliasMove(model, alias, index)),
        (text(), number()).prop_map(|(name, version)| Key::Dataset(name, version)),
        text().prop_map(Key::Job),
        (text(), time(), version()).prop_map(|(name, start, version)| Key::DriftWindow(name, start, version)),
        (text(), number()).prop_map(|(name, node)| Key::DriftFlush(name, NodeId::new(node))),
        (text(), time(), version()).prop_map(|(name, start, version)| Key::DriftReport(name, start, version)),
        (text(), time(), version()).prop_map(|(name, start, version)| Key::Alert(name, start, version)),
        (text(), text()).prop_map(|(name, id)| Key::Prediction(name, id)),
        (text(), time(), text()).prop_map(|(name, start, id)| Key::Outcome(name, start, id)),
        (text(), number()).prop_map(|(name, number)| Key::PipelineRun(name, number)),
        text().prop_map(Key::DriftBook),
        (text(), time(), version()).prop_map(|(name, start, version)| Key::DriftOpen(name, start, version)),
        (text(), time(), text()).prop_map(|(name, at, id)| Key::PredictionAge(name, at, id)),
        text().prop_map(Key::OpenJob),
        (text(), number()).prop_map(|(name, number)| Key::OpenRun(name, number)),
        prop::collection::vec(any::<u8>(), 0..12).prop_map(Key::Plain),
    ]
}

fn row_key() -> impl Strategy<Value = Key> {
    prop_oneof![
        (entity(), view()).prop_map(|(entity, view)| Key::Latest(entity, view)),
        (entity(), view(), row_version()).prop_map(|(entity, view, version)| Key::History(
            entity,
            view,
            Reverse(version)
        )),
        (entity(), view(), hop(), time())
            .prop_map(|(entity, view, hop, start)| Key::Tile(entity, view, hop, start)),
    ]
}

fn any_key() -> impl Strategy<Value = Key> {
    prop_oneof![control_key(), data_key(), row_key()]
}

/// Two keys, often of the same variant, where the order is decided by the fields.
fn two_keys() -> impl Strategy<Value = (Key, Key)> {
    prop_oneof![
        (any_key(), any_key()),
        (row_key(), row_key()),
        (any::<bool>(), text(), text(), number(), number()).prop_map(|(same, a, b, one, two)| {
            let second = if same { a.clone() } else { b };
            (Key::ModelVersion(a, one), Key::ModelVersion(second, two))
        }),
        (entity(), view(), row_version(), row_version()).prop_map(|(entity, view, one, two)| {
            (
                Key::History(entity.clone(), view, Reverse(one)),
                Key::History(entity, view, Reverse(two)),
            )
        }),
        (request(), request()).prop_map(|(one, two)| (Key::Request(one), Key::Request(two))),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn a_key_comes_back(key in any_key()) {
        prop_assert_eq!(decode(&encode(Vec::new(), &key)), Ok(key));
    }

    #[test]
    fn bytes_sort_as_keys_do((one, two) in two_keys()) {
        let (a, b) = (encode(Vec::new(), &one), encode(Vec::new(), &two));
        prop_assert_eq!(a.cmp(&b), one.cmp(&two));
    }

    #[test]
    fn no_key_is_the_beginning_of_another((one, two) in two_keys()) {
        prop_assume!(one != two);
        prop_assert!(!encode(Vec::new(), &two).starts_with(&encode(Vec::new(), &one)));
    }

    #[test]
    fn all_history_of_an_entity_shares_a_prefix_that_nothing_else_has(
        (one, two) in (entity(), entity()),
        view in view(),
        versions in (row_version(), row_version()),
    ) {
        let key = |entity: &EntityKey, version| Key::History(entity.clone(), view, Reverse(version));
        let (a, b) = (encode(Vec::new(), &key(&one, versions.0)), encode(Vec::new(), &key(&two, versions.1)));
        let prefix = a.len() - 28;
        prop_assert_eq!(b.starts_with(&a[..prefix]), one == two);
    }

    #[test]
    fn an_as_of_read_begins_at_the_newest_row_not_after_it(version in row_version(), at in time()) {
        let entity = EntityKey::integer(5);
        let from = Key::history_from(entity.clone(), ViewId::new(1), at);
        let key = Key::History(entity, ViewId::new(1), Reverse(version));
        let seen = encode(Vec::new(), &key) >= encode(Vec::new(), &from);
        prop_assert_eq!(seen, version.event_time <= at);
    }

    #[test]
    fn damaged_keys_are_refused_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        if let Ok(key) = decode(&bytes) {
            prop_assert_eq!(encode(Vec::new(), &key), bytes);
        }
    }
}
