//! `covey.v1.Monitoring`: converts, asks drift monitoring and the pipelines, converts back.

use covey_proto::v1;
use covey_proto::v1::monitoring_server::Monitoring;
use covey_state::Timestamp;
use covey_state::monitor::Monitor;
use covey_state::pipeline::Pipeline;
use tonic::{Request, Response, Status};

use super::Caller;
use crate::context::Context;
use crate::error::Failure;
use crate::{drift, pipelines};

/// The service.
pub(crate) struct MonitoringApi {
    context: Context,
}

impl MonitoringApi {
    /// The service over a running node.
    pub(crate) fn new(context: Context) -> Self {
        Self { context }
    }
}

#[tonic::async_trait]
impl Monitoring for MonitoringApi {
    async fn apply_monitor(
        &self,
        request: Request<v1::ApplyMonitorRequest>,
    ) -> Result<Response<v1::Monitor>, Status> {
        let caller = Caller::of(&request);
        let monitor = Monitor::from(request.into_inner().monitor.unwrap_or_default());
        let monitor = drift::apply_monitor(&self.context, &caller, monitor).await?;
        Ok(Response::new(monitor.into()))
    }

    async fn list_monitors(
        &self,
        _: Request<v1::ListMonitorsRequest>,
    ) -> Result<Response<v1::ListMonitorsReply>, Status> {
        let monitors = drift::monitors(&self.context)
            .into_iter()
            .map(v1::Monitor::from)
            .collect();
        Ok(Response::new(v1::ListMonitorsReply { monitors }))
    }

    async fn list_drift(
        &self,
        request: Request<v1::ListDriftRequest>,
    ) -> Result<Response<v1::ListDriftReply>, Status> {
        let caller = Caller::of(&request);
        let reports = drift::reports(&self.context, &caller, &request.into_inner().deployment).await?;
        Ok(Response::new(v1::ListDriftReply { reports }))
    }

    async fn list_alerts(
        &self,
        request: Request<v1::ListDriftRequest>,
    ) -> Result<Response<v1::ListAlertsReply>, Status> {
        let caller = Caller::of(&request);
        let alerts = drift::alerts(&self.context, &caller, &request.into_inner().deployment).await?;
        Ok(Response::new(v1::ListAlertsReply { alerts }))
    }

    async fn flush_drift(
        &self,
        request: Request<v1::FlushDriftRequest>,
    ) -> Result<Response<v1::FlushDriftReply>, Status> {
        let caller = Caller::of(&request);
        let rows = drift::flush_everywhere(&self.context, &caller, &request.into_inner().deployment).await?;
        Ok(Response::new(v1::FlushDriftReply { rows }))
    }

    async fn record_labels(
        &self,
        request: Request<v1::RecordLabelsRequest>,
    ) -> Result<Response<v1::RecordLabelsReply>, Status> {
        let caller = Caller::of(&request);
        let v1::RecordLabelsRequest {
            deployment,
            labels,
            request_id,
        } = request.into_inner();
        let id = request_id_of(&request_id, &caller)?;
        let labels = labels.into_iter().map(|label| (label.id, label.label)).collect();
        let (joined, unmatched) =
            drift::record_labels(&self.context, &caller, &deployment, labels, id).await?;
        Ok(Response::new(v1::RecordLabelsReply { joined, unmatched }))
    }

    async fn get_performance(
        &self,
        request: Request<v1::ListDriftRequest>,
    ) -> Result<Response<v1::GetPerformanceReply>, Status> {
        let caller = Caller::of(&request);
        let windows = drift::performance(&self.context, &caller, &request.into_inner().deployment).await?;
        Ok(Response::new(v1::GetPerformanceReply { windows }))
    }

    async fn apply_pipeline(
        &self,
        request: Request<v1::ApplyPipelineRequest>,
    ) -> Result<Response<v1::Pipeline>, Status> {
        let caller = Caller::of(&request);
        let pipeline = Pipeline::from(request.into_inner().pipeline.unwrap_or_default());
        let pipeline = pipelines::apply(&self.context, &caller, pipeline).await?;
        Ok(Response::new(pipeline.into()))
    }

    async fn list_pipelines(
        &self,
        _: Request<v1::ListPipelinesRequest>,
    ) -> Result<Response<v1::ListPipelinesReply>, Status> {
        let pipelines = pipelines::list(&self.context)
            .into_iter()
            .map(v1::Pipeline::from)
            .collect();
        Ok(Response::new(v1::ListPipelinesReply { pipelines }))
    }

    async fn start_pipeline(
        &self,
        request: Request<v1::StartPipelineRequest>,
    ) -> Result<Response<v1::PipelineRun>, Status> {
        let caller = Caller::of(&request);
        let v1::StartPipelineRequest {
            name,
            as_of_micros,
            reason,
        } = request.into_inner();
        let given = Some(as_of_micros)
            .filter(|micros| *micros != 0)
            .map(Timestamp::from_micros);
        let as_of = given.unwrap_or_else(|| self.context.clock.now());
        let trigger = if reason.is_empty() {
            format!("started by {}", caller.by)
        } else {
            reason
        };
        let run = pipelines::start(&self.context, &caller, &name, as_of, trigger).await?;
        Ok(Response::new(run.into()))
    }

    async fn list_pipeline_runs(
        &self,
        request: Request<v1::ListPipelineRunsRequest>,
    ) -> Result<Response<v1::ListPipelineRunsReply>, Status> {
        let caller = Caller::of(&request);
        let runs = pipelines::runs(&self.context, &caller, &request.into_inner().pipeline).await?;
        let runs = runs.into_iter().map(v1::PipelineRun::from).collect();
        Ok(Response::new(v1::ListPipelineRunsReply { runs }))
    }
}

/// The id in the request, or the caller's if there is none.
fn request_id_of(bytes: &[u8], caller: &Caller) -> Result<u128, Failure> {
    if bytes.is_empty() {
        return Ok(caller.request_id);
    }
    let id = <[u8; 16]>::try_from(bytes);
    let id = id.map_err(|_| Failure::invalid("request_id", format!("{} bytes are not 16", bytes.len())))?;
    Ok(u128::from_be_bytes(id))
}
