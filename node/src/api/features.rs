//! The gRPC service `Features`.

use std::pin::Pin;

use covey_proto::convert::{each, required};
use covey_proto::v1;
use covey_proto::v1::features_server::{Features, FeaturesServer};
use covey_state::Timestamp;
use futures::{Stream, StreamExt};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use tracing::Instrument;
use uuid::Uuid;

use super::Caller;
use crate::context::Context;
use crate::error::Failure;
use crate::features::catalog::{self, Declarations};
use crate::features::consistency::Freshness;
use crate::features::group::FeatureStatus;
use crate::features::online::{self, OnlineRead, OnlineRows};
use crate::features::push::{self, Push, PushId, Pushed};
use crate::features::rows::TableRows;
use crate::features::{dataset, dead_letters};

/// One request's bytes: a push of many rows.
const REQUEST_BYTES_MAX: usize = 64 << 20;
/// Progress messages of a build that its caller has not read yet.
const PROGRESS_MAX: usize = 16;

/// The service.
#[derive(Clone)]
pub(crate) struct FeaturesApi {
    ctx: Context,
}

impl FeaturesApi {
    /// The service of a running node.
    pub(crate) fn server(ctx: Context) -> FeaturesServer<Self> {
        FeaturesServer::new(Self { ctx }).max_decoding_message_size(REQUEST_BYTES_MAX)
    }
}

#[tonic::async_trait]
impl Features for FeaturesApi {
    async fn apply_catalog(
        &self,
        request: Request<v1::ApplyCatalogRequest>,
    ) -> Result<Response<v1::ApplyCatalogReply>, Status> {
        let caller = Caller::of(&request);
        let applied = catalog::apply(&self.ctx, &caller, declarations(request.into_inner())?).await?;
        let applied = applied.into_iter().map(|it| v1::Applied {
            kind: it.kind.to_owned(),
            name: it.name,
            version: it.version,
        });
        Ok(Response::new(v1::ApplyCatalogReply {
            applied: applied.collect(),
        }))
    }

    async fn get_catalog(
        &self,
        request: Request<v1::GetCatalogRequest>,
    ) -> Result<Response<v1::Catalog>, Status> {
        let declared = catalog::read(&self.ctx, &Caller::of(&request)).await?;
        Ok(Response::new(v1::Catalog {
            entities: declared.entities.into_iter().map(Into::into).collect(),
            views: declared.views.into_iter().map(Into::into).collect(),
            services: declared.services.into_iter().map(Into::into).collect(),
        }))
    }

    async fn remove_service(
        &self,
        request: Request<v1::RemoveServiceRequest>,
    ) -> Result<Response<v1::RemoveServiceReply>, Status> {
        let caller = Caller::of(&request);
        catalog::remove_service(&self.ctx, &caller, request.into_inner().name).await?;
        Ok(Response::new(v1::RemoveServiceReply {}))
    }

    async fn push(&self, request: Request<v1::PushRequest>) -> Result<Response<v1::PushReply>, Status> {
        let caller = Caller::of(&request);
        let batch = push_of(request.into_inner(), caller.request_id)?;
        let pushed = push::push(&self.ctx, &caller, batch).await?;
        Ok(Response::new(push_reply(pushed)))
    }

    async fn push_stream(
        &self,
        request: Request<Streaming<v1::PushRequest>>,
    ) -> Result<Response<v1::PushReply>, Status> {
        let caller = Caller::of(&request);
        // Each batch is a request of its own: without an id from the client it gets a fresh one.
        let batches = request.into_inner().map(|batch| match batch {
            Ok(batch) => push_of(batch, Uuid::new_v4().as_u128()),
            Err(status) => Err(broken_stream(status)),
        });
        let pushed = push::push_all(&self.ctx, &caller, batches).await?;
        Ok(Response::new(push_reply(pushed)))
    }

    async fn get_online_features(
        &self,
        request: Request<v1::GetOnlineFeaturesRequest>,
    ) -> Result<Response<v1::GetOnlineFeaturesReply>, Status> {
        let caller = Caller::of(&request);
        let request = request.into_inner();
        let wanted = OnlineRead {
            service: &request.service,
            rows: &TableRows::from_wire("entities", request.entities.unwrap_or_default())?,
            as_of: request
                .as_of_micros
                .into_iter()
                .map(Timestamp::from_micros)
                .collect(),
            consistency: Freshness::from_wire(request.consistency),
        };
        let rows = online::read(&self.ctx, &caller, wanted).await?;
        Ok(Response::new(online_reply(rows)))
    }

    async fn list_dead_letters(
        &self,
        request: Request<v1::ListDeadLettersRequest>,
    ) -> Result<Response<v1::ListDeadLettersReply>, Status> {
        let caller = Caller::of(&request);
        let v1::ListDeadLettersRequest { view, limit } = request.into_inner();
        let letters = dead_letters::list(&self.ctx, &caller, &view, limit as usize).await?;
        let letters = letters.into_iter().map(letter).collect::<Result<_, _>>()?;
        Ok(Response::new(v1::ListDeadLettersReply { letters }))
    }

    type BuildDatasetStream = Pin<Box<dyn Stream<Item = Result<v1::BuildDatasetProgress, Status>> + Send>>;

    async fn build_dataset(
        &self,
        request: Request<v1::BuildDatasetRequest>,
    ) -> Result<Response<Self::BuildDatasetStream>, Status> {
        let caller = Caller::of(&request);
        let spec = required(request.into_inner().spec, "spec").map_err(Failure::from)?;
        let spec = spec.try_into().map_err(Failure::from)?;
        let (sender, receiver) = tokio::sync::mpsc::channel(PROGRESS_MAX);
        let ctx = self.ctx.clone();
        let building = async move {
            let last = build(&ctx, &caller, spec, &sender).await;
            // A caller that has gone away needs no answer.
            let _ = sender.send(last.map_err(Status::from)).await;
        };
        tokio::spawn(building.in_current_span());
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn verify_dataset(
        &self,
        request: Request<v1::VerifyDatasetRequest>,
    ) -> Result<Response<v1::VerifyDatasetReply>, Status> {
        let caller = Caller::of(&request);
        let v1::VerifyDatasetRequest { name, version } = request.into_inner();
        let manifest = dataset::manifest(&self.ctx, &caller, &name, (version > 0).then_some(version)).await?;
        let rebuilt = dataset::rebuild(&self.ctx, &caller, &manifest).await?;
        Ok(Response::new(v1::VerifyDatasetReply {
            identical: rebuilt == manifest.content,
            recorded_sha256: manifest.content.to_string(),
            rebuilt_sha256: rebuilt.to_string(),
        }))
    }

    async fn list_datasets(
        &self,
        request: Request<v1::ListDatasetsRequest>,
    ) -> Result<Response<v1::ListDatasetsReply>, Status> {
        let caller = Caller::of(&request);
        let datasets = dataset::list(&self.ctx, &caller, &request.into_inner().name).await?;
        let datasets = datasets.into_iter().map(Into::into).collect();
        Ok(Response::new(v1::ListDatasetsReply { datasets }))
    }
}

type ProgressSender = tokio::sync::mpsc::Sender<Result<v1::BuildDatasetProgress, Status>>;

/// Builds while telling the caller how far it is; the last message.
async fn build(
    ctx: &Context,
    caller: &Caller,
    spec: covey_state::dataset::DatasetSpec,
    sender: &ProgressSender,
) -> Result<v1::BuildDatasetProgress, Failure> {
    let progress = |rows_done, rows_total| {
        // Progress that nobody has room for is no loss: the next one says more.
        let _ = sender.try_send(Ok(v1::BuildDatasetProgress {
            rows_done,
            rows_total,
            manifest: None,
        }));
    };
    let manifest = dataset::build(ctx, caller, spec, progress).await?;
    let rows = manifest.rows;
    Ok(v1::BuildDatasetProgress {
        rows_done: rows,
        rows_total: rows,
        manifest: Some(manifest.into()),
    })
}

/// The stream ended before its end: the batches before were carried out, so the caller has to repeat the rest.
fn broken_stream(status: Status) -> Failure {
    Failure::Unavailable {
        what: "the rest of the stream".to_owned(),
        source: Some(status.into()),
    }
}

fn declarations(request: v1::ApplyCatalogRequest) -> Result<Declarations, Failure> {
    let v1::ApplyCatalogRequest {
        entities,
        views,
        services,
    } = request;
    Ok(Declarations {
        entities: each(entities, "entities").map_err(Failure::from)?,
        views: each(views, "views").map_err(Failure::from)?,
        services: each(services, "services").map_err(Failure::from)?,
    })
}

fn push_of(request: v1::PushRequest, fallback: u128) -> Result<Push, Failure> {
    let v1::PushRequest {
        view,
        rows,
        producer,
        sequence,
        request_id,
    } = request;
    let rows = TableRows::from_wire("rows", rows.unwrap_or_default())?;
    let id = match (producer.is_empty(), request_id.is_empty()) {
        (false, _) => PushId::Producer(producer, sequence),
        (true, true) => PushId::Unique(fallback),
        (true, false) => {
            let bytes: [u8; 16] = request_id.as_ref().try_into().map_err(|_| {
                Failure::invalid(
                    "request_id",
                    format!("{} bytes; it must have 16 or none", request_id.len()),
                )
            })?;
            PushId::Unique(u128::from_be_bytes(bytes))
        }
    };
    Ok(Push { view, rows, id })
}

fn push_reply(pushed: Pushed) -> v1::PushReply {
    let refused = pushed
        .refused
        .into_iter()
        .map(|(row, reason)| v1::RefusedRow { row, reason });
    let positions = pushed.positions.into_iter();
    v1::PushReply {
        accepted: pushed.accepted,
        refused: refused.collect(),
        positions: positions
            .map(|(group, index)| v1::LogPosition {
                group: group.get(),
                index,
            })
            .collect(),
    }
}

fn online_reply(rows: OnlineRows) -> v1::GetOnlineFeaturesReply {
    let list = |statuses: Vec<FeatureStatus>| v1::FeatureStatuses {
        statuses: statuses
            .into_iter()
            .map(|status| i32::from(wire_status(status)))
            .collect(),
    };
    v1::GetOnlineFeaturesReply {
        features: Some(rows.features.into_wire()),
        statuses: rows.statuses.into_iter().map(list).collect(),
        read_point: Some(rows.read_point.into_wire()),
    }
}

fn wire_status(status: FeatureStatus) -> v1::FeatureStatus {
    match status {
        FeatureStatus::Present => v1::FeatureStatus::Present,
        FeatureStatus::Null => v1::FeatureStatus::Null,
        FeatureStatus::NotFound => v1::FeatureStatus::NotFound,
        FeatureStatus::OutsideMaxAge => v1::FeatureStatus::OutsideMaxAge,
    }
}

fn letter(letter: dead_letters::Letter) -> Result<v1::DeadLetter, Failure> {
    let values = letter.values.into_iter().map(|value| vec![value]).collect();
    Ok(v1::DeadLetter {
        reason: letter.reason,
        at_micros: letter.at.micros(),
        event_time_micros: letter.event_time.micros(),
        row: Some(TableRows::new("row", letter.names, values)?.into_wire()),
    })
}
