//! Which columns of a dataset a model reads, and how: the features of its service, text as categories.

use covey_ml::feature::FeatureSpec;
use covey_state::DataType;
use covey_state::dataset::DatasetManifest;

use crate::catalog::CatalogCopy;
use crate::error::Failure;

/// The inputs of a model trained on `dataset`, in service order, without the excluded ones.
pub(super) fn features(
    catalog: &CatalogCopy,
    dataset: &DatasetManifest,
    exclude: &[String],
) -> Result<Vec<FeatureSpec>, Failure> {
    let known = service_features(catalog, &dataset.spec.service)?;
    if let Some(unknown) = exclude
        .iter()
        .find(|name| !known.iter().any(|(feature, _)| feature == *name))
    {
        let reason = format!(
            "`{unknown}` is not a feature of service `{}`",
            dataset.spec.service
        );
        return Err(Failure::invalid("exclude", reason));
    }
    let kept: Vec<FeatureSpec> = known
        .into_iter()
        .filter(|(name, _)| dataset.columns.contains(name) && !exclude.contains(name))
        .map(|(name, data_type)| spec(name, data_type))
        .collect();
    if kept.is_empty() {
        return Err(Failure::invalid("exclude", "no feature is left to train on"));
    }
    Ok(kept)
}

/// The features of a service with their types: the views' as `view__feature`, then the request's.
pub(super) fn service_features(
    catalog: &CatalogCopy,
    name: &str,
) -> Result<Vec<(String, DataType)>, Failure> {
    let service = catalog
        .services
        .get(name)
        .ok_or_else(|| Failure::not_found("feature service", name))?;
    let mut features = Vec::new();
    for selection in &service.views {
        let installed = catalog
            .views
            .get(&selection.view)
            .ok_or_else(|| Failure::not_found("feature view", &selection.view))?;
        let view = &installed.definition;
        let wanted = |feature: &String| selection.features.is_empty() || selection.features.contains(feature);
        let columns = view
            .columns
            .iter()
            .map(|column| (column.name.clone(), column.data_type));
        let aggregates = view
            .aggregates
            .iter()
            .map(|aggregate| (aggregate.name(), DataType::Float64));
        let mut of_view: Vec<_> = columns
            .chain(aggregates)
            .filter(|(feature, _)| wanted(feature))
            .collect();
        // A selection names its features in the order in which they are served.
        of_view
            .sort_by_key(|(feature, _)| selection.features.iter().position(|selected| selected == feature));
        features.extend(
            of_view
                .into_iter()
                .map(|(feature, kind)| (format!("{}__{feature}", view.name), kind)),
        );
    }
    features.extend(
        service
            .request
            .iter()
            .map(|feature| (feature.name.clone(), feature.data_type)),
    );
    Ok(features)
}

fn spec(name: String, data_type: DataType) -> FeatureSpec {
    match data_type {
        DataType::String => FeatureSpec::categorical(name),
        DataType::Bool | DataType::Int64 | DataType::Float64 | DataType::Timestamp => {
            FeatureSpec::numeric(name)
        }
    }
}
