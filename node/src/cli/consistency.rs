//! How fresh a read must be, as people write it: `linearizable`, `local`, `bounded=500ms`, `at-least=g1:120,g3:88`.

use std::collections::BTreeMap;

use covey_proto::v1;
use covey_proto::v1::consistency::{AtLeast, Kind, Linearizable, Local};

use super::group::group_number;
use super::length::Length;

/// What the option `--consistency` asks for.
pub(super) fn consistency(text: &str) -> Result<v1::Consistency, String> {
    let (name, rest) = text.split_once('=').unwrap_or((text, ""));
    let kind = match (name, rest) {
        ("linearizable", "") => Kind::Linearizable(Linearizable {}),
        ("local", "") => Kind::Local(Local {}),
        ("bounded", length) if !length.is_empty() => Kind::BoundedMs(bound(length)?),
        ("at-least", positions) if !positions.is_empty() => Kind::AtLeast(AtLeast {
            positions: positions.split(',').map(position).collect::<Result<_, _>>()?,
        }),
        _ => {
            let known = "linearizable, local, bounded=500ms or at-least=g1:120,g3:88";
            return Err(format!("`{text}` is no consistency such as {known}"));
        }
    };
    Ok(v1::Consistency { kind: Some(kind) })
}

fn bound(text: &str) -> Result<u64, String> {
    let length: Length = text.parse()?;
    u64::try_from(length.duration().as_millis()).map_err(|_| format!("`{text}` is too long"))
}

fn position(text: &str) -> Result<v1::LogPosition, String> {
    let wrong = || format!("`{text}` is no place in a group's log such as g1:120");
    let (group, index) = text.split_once(':').ok_or_else(wrong)?;
    Ok(v1::LogPosition {
        group: group_number(group)?,
        index: index.parse().map_err(|_| wrong())?,
    })
}

/// Places in logs, group by group, as `at-least` takes them.
pub(super) fn places(positions: &BTreeMap<u64, u64>) -> String {
    let places = positions.iter().map(|(group, index)| format!("g{group}:{index}"));
    places.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_read_can_be_written() {
        let kind = |text: &str| consistency(text).unwrap().kind.unwrap();
        assert_eq!(kind("linearizable"), Kind::Linearizable(Linearizable {}));
        assert_eq!(kind("local"), Kind::Local(Local {}));
        assert_eq!(kind("bounded=2s"), Kind::BoundedMs(2_000));
        let position = |group, index| v1::LogPosition { group, index };
        let positions = vec![position(1, 120), position(3, 88)];
        assert_eq!(kind("at-least=g1:120,3:88"), Kind::AtLeast(AtLeast { positions }));
        assert_eq!(places(&BTreeMap::from([(3, 88), (1, 120)])), "g1:120,g3:88");
    }

    #[test]
    fn what_is_no_consistency_is_named() {
        for text in [
            "",
            "bounded",
            "bounded=soon",
            "at-least",
            "at-least=g1",
            "local=1",
            "at-least=g1:x",
        ] {
            let reason = consistency(text).unwrap_err();
            let named = text.split_once('=').map_or(text, |(_, rest)| rest);
            assert!(reason.contains(named), "{text}: {reason}");
        }
    }
}
