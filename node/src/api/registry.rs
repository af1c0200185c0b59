//! `covey.v1.Registry`: converts, asks the registry, converts back.

use std::collections::BTreeMap;

use covey_proto::v1;
use covey_proto::v1::registry_server::Registry;
use covey_state::Timestamp;
use covey_state::registry::{Artifact, Model, VersionSpec};
use futures::stream::{BoxStream, StreamExt};
use tonic::{Request, Response, Status, Streaming};

use super::Caller;
use crate::artifacts::Upload;
use crate::context::Context;
use crate::error::Failure;
use crate::registry::{self, AliasChange};

/// The service.
pub struct RegistryApi {
    context: Context,
}

impl RegistryApi {
    /// The service over a running node.
    pub fn new(context: Context) -> Self {
        Self { context }
    }
}

/// A model as clients see it.
fn model_reply(model: Model, aliases: BTreeMap<String, u64>) -> v1::Model {
    let mut reply = v1::Model::from(model);
    reply.aliases = aliases.into_iter().collect();
    reply
}

#[tonic::async_trait]
impl Registry for RegistryApi {
    async fn create_model(
        &self,
        request: Request<v1::CreateModelRequest>,
    ) -> Result<Response<v1::Model>, Status> {
        let caller = Caller::of(&request);
        let v1::CreateModelRequest { name, description } = request.into_inner();
        let model = registry::create_model(&self.context, &caller, &name, &description).await?;
        let aliases = registry::aliases(&self.context, &caller, &name).await?;
        Ok(Response::new(model_reply(model, aliases)))
    }

    async fn create_version(
        &self,
        request: Request<v1::CreateVersionRequest>,
    ) -> Result<Response<v1::ModelVersion>, Status> {
        let caller = Caller::of(&request);
        let v1::CreateVersionRequest { model, spec } = request.into_inner();
        let spec = VersionSpec::try_from(spec.unwrap_or_default()).map_err(Failure::from)?;
        let id = caller.next_request_id();
        let version = registry::create_version(&self.context, &caller, id, (&model, spec)).await?;
        Ok(Response::new(version.into()))
    }

    async fn get_version(
        &self,
        request: Request<v1::GetVersionRequest>,
    ) -> Result<Response<v1::ModelVersion>, Status> {
        let caller = Caller::of(&request);
        let v1::GetVersionRequest { model, which } = request.into_inner();
        let version = match which {
            Some(v1::get_version_request::Which::Number(number)) => {
                registry::version(&self.context, &caller, &model, number).await?
            }
            Some(v1::get_version_request::Which::Alias(alias)) => {
                registry::by_alias(&self.context, &caller, &model, &alias).await?
            }
            None => return Err(Failure::invalid("which", "neither a number nor an alias is given").into()),
        };
        Ok(Response::new(version.into()))
    }

    async fn list_models(
        &self,
        request: Request<v1::ListModelsRequest>,
    ) -> Result<Response<v1::ListModelsReply>, Status> {
        let models = registry::models(&self.context, &Caller::of(&request)).await?;
        let models = models
            .into_iter()
            .map(|(model, aliases)| model_reply(model, aliases))
            .collect();
        Ok(Response::new(v1::ListModelsReply { models }))
    }

    async fn list_versions(
        &self,
        request: Request<v1::ListVersionsRequest>,
    ) -> Result<Response<v1::ListVersionsReply>, Status> {
        let caller = Caller::of(&request);
        let versions = registry::versions(&self.context, &caller, &request.into_inner().model).await?;
        let versions = versions.into_iter().map(v1::ModelVersion::from).collect();
        Ok(Response::new(v1::ListVersionsReply { versions }))
    }

    async fn set_alias(
        &self,
        request: Request<v1::SetAliasRequest>,
    ) -> Result<Response<v1::SetAliasReply>, Status> {
        let caller = Caller::of(&request);
        let v1::SetAliasRequest {
            model,
            alias,
            version,
            expected,
            reason,
        } = request.into_inner();
        let some = |number: u64| (number > 0).then_some(number);
        let expected = expected.map(some);
        let change = AliasChange {
            model,
            alias,
            version: some(version),
            expected,
            reason,
        };
        registry::set_alias(&self.context, &caller, change).await?;
        Ok(Response::new(v1::SetAliasReply {}))
    }

    async fn alias_history(
        &self,
        request: Request<v1::AliasHistoryRequest>,
    ) -> Result<Response<v1::AliasHistoryReply>, Status> {
        let caller = Caller::of(&request);
        let v1::AliasHistoryRequest {
            model,
            alias,
            at_micros,
        } = request.into_inner();
        let moves = registry::alias_history(&self.context, &caller, &model, &alias).await?;
        let moves = match at_micros.map(Timestamp::from_micros) {
            None => moves,
            Some(at) => registry::in_force(moves, at).into_iter().collect(),
        };
        let moves = moves.into_iter().map(v1::AliasMove::from).collect();
        Ok(Response::new(v1::AliasHistoryReply { moves }))
    }

    async fn upload_artifact(
        &self,
        request: Request<Streaming<v1::UploadArtifactRequest>>,
    ) -> Result<Response<v1::Artifact>, Status> {
        let mut parts = request.into_inner();
        let first = parts
            .message()
            .await?
            .ok_or_else(|| Failure::invalid("data", "the stream is empty"))?;
        let mut upload = Upload::new(self.context.artifacts.clone(), &first.name);
        upload.push(first.data).await?;
        while let Some(part) = parts.message().await? {
            upload.push(part.data).await?;
        }
        Ok(Response::new(upload.finish().await?.into()))
    }

    type DownloadArtifactStream = BoxStream<'static, Result<v1::DownloadArtifactReply, Status>>;

    async fn download_artifact(
        &self,
        request: Request<v1::DownloadArtifactRequest>,
    ) -> Result<Response<Self::DownloadArtifactStream>, Status> {
        let artifact = request.into_inner().artifact.unwrap_or_default();
        let artifact = Artifact::try_from(artifact).map_err(Failure::from)?;
        let artifacts = self.context.artifacts.clone();
        let chunks = futures::stream::iter(artifact.chunks).then(move |digest| {
            let artifacts = artifacts.clone();
            async move {
                Ok(v1::DownloadArtifactReply {
                    data: artifacts.chunk(digest).await?,
                })
            }
        });
        Ok(Response::new(chunks.boxed()))
    }
}
