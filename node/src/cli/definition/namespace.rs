//! Namespaces as they are written in YAML.

use covey_proto::v1;
use serde::Deserialize;
use serde::de::IgnoredAny;

/// What is to be survived.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Survive {
    Zone,
    Region,
}

/// `kind: Namespace`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NamespaceDefinition {
    #[serde(rename = "kind")]
    _kind: IgnoredAny,
    name: String,
    home: Option<String>,
    survive: Option<Survive>,
    #[serde(default)]
    groups: u64,
}

impl TryFrom<NamespaceDefinition> for v1::PutNamespaceRequest {
    type Error = String;

    fn try_from(namespace: NamespaceDefinition) -> Result<Self, String> {
        if namespace.home.is_some() != namespace.survive.is_some() {
            return Err("fields `home` and `survive` belong together; give both, or none".to_owned());
        }
        let survive = match namespace.survive {
            None => v1::Survival::Unspecified,
            Some(Survive::Zone) => v1::Survival::Zone,
            Some(Survive::Region) => v1::Survival::Region,
        };
        Ok(Self {
            name: namespace.name,
            home: namespace.home.unwrap_or_default(),
            survive: survive.into(),
            groups: namespace.groups,
        })
    }
}
