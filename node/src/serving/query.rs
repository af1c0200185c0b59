//! What is asked of a deployment and what it answers, between the wire and the replicas.

use covey_proto::v1;
use covey_state::{NodeId, Timestamp};

use crate::error::Failure;
use crate::features::consistency::{Freshness, ReadPoints};
use crate::features::online::READ_ROWS_MAX;
use crate::features::rows::TableRows;

/// A request for predictions. It is well formed: times and ids fit the rows.
#[derive(Debug, Clone)]
pub(crate) struct PredictQuery {
    /// The deployment's name.
    pub(crate) deployment: String,
    /// Join keys and request features, or the model's inputs themselves.
    pub(crate) rows: TableRows,
    /// Whether `rows` holds the model's inputs.
    pub(crate) raw: bool,
    /// One event time per row, or one for all, or none for now.
    pub(crate) as_of: Vec<Timestamp>,
    /// One id per row, or none at all.
    pub(crate) ids: Vec<String>,
    /// How fresh the features must be.
    pub(crate) consistency: Freshness,
    /// Whether the features are wanted in the answer.
    pub(crate) return_features: bool,
    /// The request as it came, without rows and ids, to be passed on to another node.
    rest: v1::PredictRequest,
}

/// The answer.
#[derive(Debug, Clone)]
pub(crate) struct Prediction {
    /// One per row.
    pub(crate) predictions: Vec<f64>,
    /// The model's name.
    pub(crate) model: String,
    /// The version that answered.
    pub(crate) version: u64,
    /// What the features were read from.
    pub(crate) read_point: ReadPoints,
    /// The node of the replica.
    pub(crate) node: NodeId,
    /// The features as they were scored, if they were asked for.
    pub(crate) features: Option<TableRows>,
    /// Rows answered from the cache.
    pub(crate) cached: u32,
}

impl PredictQuery {
    /// Reads and checks a request.
    pub(crate) fn from_wire(mut wire: v1::PredictRequest) -> Result<Self, Failure> {
        let rows = TableRows::from_wire("rows", wire.rows.take().unwrap_or_default())?;
        let ids = std::mem::take(&mut wire.ids);
        let count = rows.len();
        if count == 0 || count > READ_ROWS_MAX {
            let reason = format!("{count} rows in one request; give 1 to {READ_ROWS_MAX}");
            return Err(Failure::invalid("rows", reason));
        }
        let as_of: Vec<Timestamp> = wire
            .as_of_micros
            .iter()
            .copied()
            .map(Timestamp::from_micros)
            .collect();
        if as_of.len() > 1 && as_of.len() != count {
            let reason = format!(
                "{} times for {count} rows: give one per row, one for all, or none",
                as_of.len()
            );
            return Err(Failure::invalid("as_of", reason));
        }
        if !ids.is_empty() && ids.len() != count {
            let reason = format!("{} ids for {count} rows: give one per row, or none", ids.len());
            return Err(Failure::invalid("ids", reason));
        }
        Ok(Self {
            deployment: wire.deployment.clone(),
            rows,
            raw: wire.raw,
            as_of,
            ids,
            consistency: Freshness::from_wire(wire.consistency.clone()),
            return_features: wire.return_features,
            rest: wire,
        })
    }

    /// The request as it came.
    pub(super) fn to_wire(&self) -> v1::PredictRequest {
        v1::PredictRequest {
            rows: Some(self.rows.clone().into_wire()),
            ids: self.ids.clone(),
            ..self.rest.clone()
        }
    }
}

impl Prediction {
    /// The answer as it goes over the wire.
    pub(crate) fn into_wire(self) -> v1::PredictReply {
        v1::PredictReply {
            predictions: self.predictions,
            model: self.model,
            version: self.version,
            read_point: Some(self.read_point.into_wire()),
            node: self.node.to_string(),
            features: self.features.map(TableRows::into_wire),
            cached: self.cached,
        }
    }
}

#[cfg(test)]
mod tests {
    use covey_state::Value;

    use super::*;

    fn request(as_of: usize, ids: usize) -> v1::PredictRequest {
        let rows = TableRows::new("rows", vec!["x".into()], vec![vec![Value::Int64(1); 3]]).unwrap();
        v1::PredictRequest {
            rows: Some(rows.into_wire()),
            as_of_micros: vec![7; as_of],
            ids: vec!["id".to_owned(); ids],
            ..v1::PredictRequest::default()
        }
    }

    #[test]
    fn times_and_ids_must_fit_the_rows() {
        for (as_of, ids) in [(0, 0), (1, 3), (3, 0)] {
            assert!(
                PredictQuery::from_wire(request(as_of, ids)).is_ok(),
                "{as_of} {ids}"
            );
        }
        let error = PredictQuery::from_wire(request(2, 0)).unwrap_err().to_string();
        assert!(error.contains("2 times for 3 rows"), "{error}");
        let error = PredictQuery::from_wire(request(1, 2)).unwrap_err().to_string();
        assert!(error.contains("2 ids for 3 rows"), "{error}");
        assert!(PredictQuery::from_wire(v1::PredictRequest::default()).is_err());
    }
}
