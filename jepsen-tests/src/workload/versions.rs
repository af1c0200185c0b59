//! The models whose aliases are registers and lists, with enough versions that each value is written once.
//!
//! The model is a line: it predicts `1 + 2 x` of the service `cell`'s value, which the workload `predict` can recompute.

use std::time::Duration;

use anyhow::{Result, bail};
use covey_proto::v1;
use covey_proto::v1::registry_client::RegistryClient;
use futures::stream::{self, StreamExt, TryStreamExt};
use serde_json::json;

use super::catalog::{CELL_VALUE, CELLS};
use crate::fleet::Fleet;
use crate::waiting::answered;

/// The models; their names decide in which groups they live.
pub(super) const MODELS: [&str; 3] = ["north", "east", "south"];
/// Versions of each, numbered from 1.
pub(super) const VERSIONS: u64 = 24;
/// Versions that are made at the same time.
const MADE_AT_ONCE: usize = 4;
/// How long one may take to be made.
const LIMIT: Duration = Duration::from_secs(60);

/// Makes them.
pub(super) async fn make(fleet: &Fleet) -> Result<()> {
    let artifact = upload(fleet).await?;
    stream::iter(MODELS)
        .map(|model| make_model(fleet, model, &artifact))
        .buffer_unordered(MADE_AT_ONCE)
        .try_collect::<Vec<()>>()
        .await
        .map(|_| ())
}

async fn make_model(fleet: &Fleet, model: &'static str, artifact: &v1::Artifact) -> Result<()> {
    let what = format!("model `{model}` is made");
    answered(&what, LIMIT, async || {
        let request = v1::CreateModelRequest {
            name: model.to_owned(),
            description: String::new(),
        };
        Ok(RegistryClient::new(fleet.channel(1)?)
            .create_model(request)
            .await?)
    })
    .await?;
    for wanted in 1..=VERSIONS {
        let what = format!("version {wanted} of `{model}` is made");
        let made = answered(&what, LIMIT, async || {
            let request = v1::CreateVersionRequest {
                model: model.to_owned(),
                spec: Some(spec(artifact)),
            };
            Ok(RegistryClient::new(fleet.channel(1)?)
                .create_version(request)
                .await?)
        })
        .await?;
        if made.number < wanted {
            bail!(
                "version {wanted} of `{model}` was given the number {}",
                made.number
            );
        }
    }
    Ok(())
}

fn spec(artifact: &v1::Artifact) -> v1::VersionSpec {
    v1::VersionSpec {
        artifacts: vec![artifact.clone()],
        algorithm: "linear_regression".to_owned(),
        signature: vec![v1::SignatureField {
            name: CELL_VALUE.to_owned(),
            kind: v1::FeatureKind::Numeric.into(),
        }],
        service: CELLS.to_owned(),
        ..v1::VersionSpec::default()
    }
}

async fn upload(fleet: &Fleet) -> Result<v1::Artifact> {
    let bytes = line().to_string();
    answered("the model's file is stored", LIMIT, async || {
        let part = v1::UploadArtifactRequest {
            name: "model.json".to_owned(),
            data: bytes.clone().into(),
        };
        let mut registry = RegistryClient::new(fleet.channel(1)?);
        Ok(registry.upload_artifact(stream::iter([part])).await?)
    })
    .await
}

/// The line as a model's file.
fn line() -> serde_json::Value {
    json!({
        "format_version": 1,
        "algorithm": {"LinearRegression": {"l2": 0.0}},
        "features": [{"name": CELL_VALUE, "kind": "Numeric"}],
        "label": null,
        "output": "Number",
        "preprocessor": {
            "features": [{"Numeric": {"name": CELL_VALUE, "mean": 0.0, "scale": 1.0, "missing": false}}]
        },
        "parameters": {"Linear": {"intercept": 1.0, "weights": [2.0]}},
        "metrics": {}
    })
}
