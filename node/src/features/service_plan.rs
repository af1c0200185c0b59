//! A feature service with its names resolved: which positions of which views make up a vector.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use covey_state::DataType;
use covey_state::catalog::{FeatureService, InstalledView, RequestFeature, ViewSelection};
use covey_state::window::Function;
use serde::{Deserialize, Serialize};

use crate::api::Caller;
use crate::catalog::CatalogCopy;
use crate::context::Context;
use crate::error::Failure;
use crate::features::rows::quoted;
use crate::features::schema;

/// Where a feature's value comes from within its view.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum FeatureSource {
    /// The column at this position of the row.
    Column(usize),
    /// The aggregate at this position of the declaration.
    Aggregate(usize),
}

/// The features of a vector that come from one view.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ViewPlan {
    /// The view, at the schema version that is read.
    pub(crate) view: Arc<InstalledView>,
    /// Its features, in vector order.
    pub(crate) sources: Arc<[FeatureSource]>,
    /// The position in the vector of the first of them.
    pub(crate) first: usize,
}

/// A service with its names resolved. A vector holds the features of the views, then those of the request.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ServicePlan {
    /// The feature names in vector order: `view__feature`, then request features by their own names.
    pub(crate) names: Vec<String>,
    /// The types of the features, in the same order.
    pub(crate) data_types: Vec<DataType>,
    /// What is read.
    pub(crate) views: Vec<ViewPlan>,
    /// What the caller gives.
    pub(crate) request: Vec<RequestFeature>,
}

/// Schemas by view name.
pub(crate) type Schemas = BTreeMap<String, Arc<InstalledView>>;

/// The plan of a service as the catalog declares it now, with the schemas that are in use.
pub(crate) async fn current(
    ctx: &Context,
    caller: &Caller,
    service: &str,
) -> Result<Arc<ServicePlan>, Failure> {
    let catalog = ctx.catalog.current();
    if let Some(plan) = ctx.plans.find(&catalog, service) {
        return Ok(plan);
    }
    let service = declared(ctx, service)?;
    let mut schemas = Schemas::new();
    for selection in &service.views {
        if !schemas.contains_key(&selection.view) {
            schemas.insert(
                selection.view.clone(),
                schema::usable(ctx, caller, &selection.view).await?,
            );
        }
    }
    let plan = Arc::new(ServicePlan::resolve(&service, &schemas)?);
    ctx.plans.keep(catalog, service.name, Arc::clone(&plan));
    Ok(plan)
}

/// The plans made from the latest copy of the catalog; they go when it changes. Clones share them.
#[derive(Clone, Default)]
pub struct Plans {
    kept: Arc<Mutex<Kept>>,
}

#[derive(Default)]
struct Kept {
    of: Arc<CatalogCopy>,
    plans: BTreeMap<String, Arc<ServicePlan>>,
}

impl Plans {
    fn find(&self, catalog: &Arc<CatalogCopy>, service: &str) -> Option<Arc<ServicePlan>> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let plan = kept.plans.get(service).cloned();
        plan.filter(|_| Arc::ptr_eq(&kept.of, catalog))
    }

    fn keep(&self, catalog: Arc<CatalogCopy>, service: String, plan: Arc<ServicePlan>) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if !Arc::ptr_eq(&kept.of, &catalog) {
            *kept = Kept {
                of: catalog,
                plans: BTreeMap::new(),
            };
        }
        kept.plans.insert(service, plan);
    }
}

/// A service's declaration.
pub(crate) fn declared(ctx: &Context, service: &str) -> Result<FeatureService, Failure> {
    let found = ctx.catalog.current().services.get(service).cloned();
    found.ok_or_else(|| Failure::not_found("service", service))
}

impl ServicePlan {
    /// Resolves the names of a service against the schemas of its views.
    pub(crate) fn resolve(service: &FeatureService, schemas: &Schemas) -> Result<Self, Failure> {
        let mut plan = Self {
            names: Vec::new(),
            data_types: Vec::new(),
            views: Vec::new(),
            request: service.request.clone(),
        };
        for selection in &service.views {
            let view = schemas
                .get(&selection.view)
                .ok_or_else(|| Failure::not_found("view", &selection.view))?;
            plan.select(view, selection)?;
        }
        for feature in &service.request {
            plan.names.push(feature.name.clone());
            plan.data_types.push(feature.data_type);
        }
        Ok(plan)
    }

    fn select(&mut self, view: &Arc<InstalledView>, selection: &ViewSelection) -> Result<(), Failure> {
        let known = view.definition.feature_names();
        let wanted = if selection.features.is_empty() {
            &known
        } else {
            &selection.features
        };
        let first = self.names.len();
        let mut sources = Vec::with_capacity(wanted.len());
        for feature in wanted {
            let position = known.iter().position(|name| name == feature).ok_or_else(|| {
                let (view, known) = (&selection.view, quoted(&known));
                Failure::invalid(
                    "service",
                    format!("`{feature}` is no feature of view `{view}`; known: {known}"),
                )
            })?;
            let (source, data_type) = source_of(view, position);
            sources.push(source);
            self.data_types.push(data_type);
            self.names.push(format!("{}__{feature}", selection.view));
        }
        self.views.push(ViewPlan {
            view: Arc::clone(view),
            sources: sources.into(),
            first,
        });
        Ok(())
    }

    /// The names of all columns that a caller has to give: join keys, then request features, each once.
    pub(crate) fn inputs(&self) -> Vec<&str> {
        let join_keys = self
            .views
            .iter()
            .flat_map(|plan| &plan.view.join_keys)
            .map(|key| key.name.as_str());
        let mut inputs: Vec<&str> = Vec::new();
        for name in join_keys.chain(self.request.iter().map(|feature| feature.name.as_str())) {
            if !inputs.contains(&name) {
                inputs.push(name);
            }
        }
        inputs
    }
}

/// The source and the type of the feature at `position` of [`covey_state::catalog::FeatureView::feature_names`].
fn source_of(view: &InstalledView, position: usize) -> (FeatureSource, DataType) {
    let columns = &view.definition.columns;
    match columns.get(position) {
        Some(column) => (FeatureSource::Column(position), column.data_type),
        None => {
            let position = position - columns.len();
            let data_type = match view.definition.aggregates[position].function {
                Function::Count => DataType::Int64,
                Function::Sum | Function::Mean | Function::Min | Function::Max | Function::Last => {
                    DataType::Float64
                }
            };
            (FeatureSource::Aggregate(position), data_type)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::push::sample;

    fn service(features: &[&str]) -> FeatureService {
        FeatureService {
            name: "delays".to_owned(),
            description: String::new(),
            views: vec![ViewSelection {
                view: "weather".to_owned(),
                features: features.iter().map(|name| (*name).to_owned()).collect(),
            }],
            request: vec![RequestFeature {
                name: "hour".to_owned(),
                data_type: DataType::Int64,
            }],
        }
    }

    fn schemas() -> Schemas {
        Schemas::from([("weather".to_owned(), Arc::new(sample::weather()))])
    }

    #[test]
    fn a_vector_holds_the_views_features_and_then_the_request() {
        let plan = ServicePlan::resolve(&service(&["wind_mean_3h", "gust"]), &schemas()).unwrap();
        assert_eq!(plan.names, ["weather__wind_mean_3h", "weather__gust", "hour"]);
        assert_eq!(
            plan.data_types,
            [DataType::Float64, DataType::Float64, DataType::Int64]
        );
        assert_eq!(
            *plan.views[0].sources,
            [FeatureSource::Aggregate(0), FeatureSource::Column(1)]
        );
        assert_eq!(plan.inputs(), ["origin", "hour"]);
    }

    #[test]
    fn no_names_mean_all_features() {
        let plan = ServicePlan::resolve(&service(&[]), &schemas()).unwrap();
        assert_eq!(
            plan.names,
            ["weather__wind", "weather__gust", "weather__wind_mean_3h", "hour"]
        );
    }

    #[test]
    fn an_unknown_feature_is_named_with_the_known_ones() {
        assert_eq!(
            ServicePlan::resolve(&service(&["rain"]), &schemas())
                .unwrap_err()
                .to_string(),
            "service is invalid: `rain` is no feature of view `weather`; known: `wind`, `gust`, `wind_mean_3h`"
        );
    }
}
