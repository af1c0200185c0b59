//! Measuring a registered version on rows of a dataset: what the gate of a pipeline compares.

use std::collections::BTreeMap;
use std::ops::Range;

use covey_ml::evaluation::EvaluationSums;
use covey_ml::metrics;
use covey_ml::model::Model;
use covey_state::dataset::DatasetManifest;
use covey_state::registry::ModelVersion;

use crate::context::Context;
use crate::error::Failure;
use crate::features::frames;

/// The metrics of `version` on the rows `rows` of `dataset`, which must have labels. Classes are scored exactly.
pub async fn evaluate(
    context: &Context,
    version: &ModelVersion,
    dataset: &DatasetManifest,
    rows: Range<u64>,
) -> Result<BTreeMap<String, f64>, Failure> {
    let label = dataset
        .spec
        .label
        .clone()
        .ok_or_else(|| Failure::invalid("dataset.label", "the dataset has none"))?;
    let artifact = version
        .spec
        .artifacts
        .first()
        .ok_or_else(|| Failure::not_found("artifact", "model.json"))?;
    let model = context.artifacts.load(artifact).await?;
    let data = context.artifacts.load(&dataset.artifact).await?;
    let sizes = vec![dataset.rows];
    context
        .compute
        .run(move || {
            let invalid = |error: covey_ml::Error| Failure::invalid("dataset", error.to_string());
            let model = Model::from_bytes(&model).map_err(invalid)?;
            let frames = frames::partitions(data, &sizes)?;
            let whole = frames
                .first()
                .ok_or_else(|| Failure::invalid("dataset", "it has no rows"))?;
            let range = usize::try_from(rows.start).unwrap_or(usize::MAX)
                ..usize::try_from(rows.end).unwrap_or(usize::MAX);
            let part = whole.slice(range).map_err(invalid)?;
            let labels = part.floats(&label).map_err(invalid)?;
            let predictions = model.predict(&part).map_err(invalid)?;
            let sums = EvaluationSums::of(model.artifact().output, labels, &predictions).map_err(invalid)?;
            let mut measured = sums.metrics();
            if let Ok(exact) = metrics::auc(labels, &predictions) {
                measured.insert("auc".to_owned(), exact);
            }
            Ok(measured)
        })
        .await
}
