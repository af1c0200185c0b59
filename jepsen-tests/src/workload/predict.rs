//! Predictions with one's own writes: a client writes a feature and asks for a prediction that sees it, at any node; the
//! prediction must be that of the feature which it was made from.

use std::time::Duration;

use anyhow::{Result, bail};
use covey_proto::v1;
use covey_proto::v1::consistency::{AtLeast, Kind};
use covey_proto::v1::serving_client::ServingClient;

use super::catalog::CELL_VALUE;
use super::growing::{Growing, TRIES_MAX, TRY_EVERY};
use super::versions::MODELS;
use super::{Workload, WorkloadKind};
use crate::client::{Client, Trouble, column, consistency, integer_of, text};
use crate::fleet::Fleet;
use crate::history::{Answer, Call, Fresh, Outcome};
use crate::waiting::{answered, pause, until};

/// The deployment.
const DEPLOYMENT: &str = "line";
/// How long its replicas may take to be ready.
const LIMIT: Duration = Duration::from_secs(60);

/// Deploys the first version of a model on all nodes.
pub(super) async fn deploy(fleet: &Fleet) -> Result<()> {
    let replicas = u32::try_from(fleet.size())?;
    let spec = v1::DeploymentSpec {
        name: DEPLOYMENT.to_owned(),
        model: MODELS[0].to_owned(),
        target: Some(v1::deployment_spec::Target::Version(1)),
        replicas,
        ..v1::DeploymentSpec::default()
    };
    let request = v1::ApplyDeploymentRequest { spec: Some(spec) };
    answered("the model is deployed", LIMIT, async || {
        let mut serving = ServingClient::new(fleet.channel(1)?);
        Ok(serving.apply_deployment(request.clone()).await?)
    })
    .await?;
    until("the replicas of the model are ready", LIMIT, async || {
        let mut serving = ServingClient::new(fleet.channel(1).ok()?);
        let request = v1::ListDeploymentsRequest {
            name: DEPLOYMENT.to_owned(),
        };
        let listed = serving.list_deployments(request).await.ok()?.into_inner();
        let replicas = &listed.deployments.first()?.replicas;
        let ready = replicas.iter().filter(|replica| replica.state == "ready").count();
        (ready == fleet.size()).then_some(())
    })
    .await
}

/// The items.
pub(super) struct Predictions(Growing);

impl Predictions {
    /// Items for so many clients.
    pub(super) fn new(clients: usize) -> Self {
        Self(Growing::new(WorkloadKind::Predict.name(), clients))
    }

    async fn predict(&self, client: &mut Client) -> bool {
        let item = self.0.item(client.number());
        let positions = self.0.written(client.number()).positions.clone();
        let called = client.now_us();
        let outcome = match ask(client, &item, positions).await {
            Ok(answer) => Outcome::Ok { answer },
            Err(trouble) => trouble.of_read(),
        };
        let good = matches!(outcome, Outcome::Ok { .. });
        let call = Call::Read {
            fresh: Fresh::OwnWrites,
        };
        client.record((WorkloadKind::Predict.name(), &item), call, called, outcome);
        good
    }
}

#[tonic::async_trait]
impl Workload for Predictions {
    async fn step(&self, client: &mut Client) -> bool {
        client.turn();
        if !self.0.write(client).await {
            return false;
        }
        client.turn();
        self.predict(client).await
    }

    async fn finish(&self, client: &mut Client) -> Result<()> {
        self.0.settle(client).await;
        for _ in 0..TRIES_MAX {
            client.turn();
            if self.0.written(client.number()).positions.is_empty() || self.predict(client).await {
                return Ok(());
            }
            pause(TRY_EVERY).await;
        }
        bail!("no prediction was made when the cluster was whole again")
    }
}

async fn ask(client: &mut Client, item: &str, positions: Vec<v1::LogPosition>) -> Result<Answer, Trouble> {
    let request = v1::PredictRequest {
        deployment: DEPLOYMENT.to_owned(),
        rows: Some(v1::Table {
            columns: vec![column("item", vec![text(item)])],
        }),
        consistency: Some(consistency(Kind::AtLeast(AtLeast { positions }))),
        return_features: true,
        ..v1::PredictRequest::default()
    };
    let reply = client
        .ask(async |channel| {
            ServingClient::new(channel)
                .predict(Client::request(request))
                .await
        })
        .await?;
    let features = reply.features.unwrap_or_default().columns;
    let column = features.iter().find(|column| column.name == CELL_VALUE);
    let feature = column.and_then(|column| integer_of(column.values.first()?));
    let feature = feature.and_then(|feature| u64::try_from(feature).ok());
    match (feature, reply.predictions.first()) {
        (Some(feature), Some(prediction)) => Ok(Answer::Prediction {
            feature,
            prediction: *prediction,
        }),
        _ => Err(Trouble::NotDone(
            "the answer has no feature or no prediction".to_owned(),
        )),
    }
}
