//! The decision: from a view of the map and a request to the changes and the answer.
//!
//! The envelope (who has asked what before, and the group's clock) is decided here and in `requests`; each command is
//! decided in the file of its noun. Nothing is changed while deciding: a decision is a list of changes.

mod catalog;
mod dataset;
mod deployment;
mod draft;
mod drift;
mod field;
mod job;
mod namespace;
mod pipeline;
mod placement;
mod registry;
mod requests;
mod rows;
mod topology;

use serde::{Deserialize, Serialize};

use self::draft::{Decided, Draft, Stop};
use crate::answer::Answer;
use crate::change::Change;
use crate::command::{Command, Removable};
use crate::id::GroupId;
use crate::rejection::Rejection;
use crate::request::Request;
use crate::view::{Fault, View};

pub use self::catalog::{AGGREGATES_MAX, COLUMNS_MAX, JOIN_KEYS_MAX, ONE_OF_MAX};
pub use self::deployment::{QUEUE_LIMIT_MAX, REPLICAS_MAX};
pub use self::drift::{
    LABELS_MAX, OUTCOMES_KEPT_MAX, PREDICTIONS_KEPT_MAX, PREDICTIONS_MAX, WINDOWS_KEPT_MAX, WINDOWS_MAX,
};
pub use self::field::{NAME_LENGTH_MAX, TEXT_BYTES_MAX};
pub use self::job::{CHECKPOINT_BYTES_MAX, STEPS_MAX};
pub use self::rows::{AGGREGATED_MAGNITUDE_MAX, KEY_BYTES_MAX, ROWS_MAX, VALUE_BYTES_MAX};
pub use self::topology::REPLICATION_FACTOR_MAX;

/// Where a log entry stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The group.
    pub group: GroupId,
    /// The index in the group's log.
    pub index: u64,
}

/// What a request comes to.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// What the caller is told.
    pub outcome: Result<Answer, Rejection>,
    /// What changes; for a repeat, nothing.
    pub changes: Vec<Change>,
}

/// Decides one committed request. Deterministic in its arguments.
pub fn plan(view: &dyn View, position: Position, request: &Request) -> Result<Decision, Fault> {
    let now = match requests::admit(view, request)? {
        requests::Admission::New(now) => now,
        requests::Admission::Settled(outcome) => {
            return Ok(Decision {
                outcome,
                changes: Vec::new(),
            });
        }
    };
    let mut draft = Draft::new(view, position, now, &request.by);
    let outcome = match decide(&mut draft, &request.command) {
        Ok(answer) => Ok(answer),
        Err(Stop::Rejected(rejection)) => {
            draft.discard();
            Err(rejection)
        }
        Err(Stop::Fault(fault)) => return Err(fault),
    };
    requests::remember(&mut draft, &request.id, &outcome)?;
    Ok(Decision {
        outcome,
        changes: draft.into_changes(),
    })
}

/// One line per command: who decides it. A table, so it is laid out by hand.
#[rustfmt::skip]
fn decide(draft: &mut Draft<'_>, command: &Command) -> Decided {
    match command {
        Command::InitCluster { id, name, groups, replication_factor, first } => {
            let cluster = topology::founded(draft, *id, name, (*groups, *replication_factor));
            topology::init(draft, cluster, first)
        }
        Command::RegisterNode(spec) => topology::register(draft, spec),
        Command::UpdateNode(id, spec) => topology::update(draft, *id, spec),
        Command::SetNodeState(id, state) => topology::set_state(draft, *id, *state),
        Command::SetPlacement { group, expected, placement } => {
            placement::set(draft, *group, *expected, placement)
        }
        Command::PutNamespace { name, policy, groups } => namespace::put(draft, name, policy, *groups),
        Command::FoundGroup { group, node } => placement::found(draft, *group, *node),
        Command::PutEntity(entity) => catalog::put_entity(draft, entity),
        Command::PutView(view) => catalog::put_view(draft, view),
        Command::ActivateView { name, schema_version } => catalog::activate_view(draft, name, *schema_version),
        Command::PutService(service) => catalog::put_service(draft, service),
        Command::PutDeployment(deployment) => deployment::put(draft, deployment),
        Command::PlaceDeployment { name, expected, placement } => deployment::place(draft, name, *expected, placement),
        Command::PutMonitor(monitor) => drift::put_monitor(draft, monitor),
        Command::PutPipeline(pipeline) => pipeline::put(draft, pipeline),
        Command::Remove(Removable::Service, name) => catalog::remove_service(draft, name),
        Command::Remove(Removable::Deployment, name) => deployment::remove(draft, name),
        Command::Remove(Removable::Monitor, name) => drift::remove_monitor(draft, name),
        Command::Remove(Removable::Pipeline, name) => pipeline::remove(draft, name),

        Command::InstallSchema(schema) => catalog::install_schema(draft, schema),
        Command::PushRows { view, schema_version, rows } => rows::push(draft, *view, *schema_version, rows),
        Command::CreateModel { name, description } => registry::create_model(draft, name, description),
        Command::CreateVersion { model, spec } => registry::create_version(draft, model, spec),
        Command::SetAlias { model, alias, version, expected, reason } => {
            registry::set_alias(draft, (model, alias), *version, *expected, reason)
        }
        Command::PutDataset(manifest) => dataset::put(draft, manifest),
        Command::SubmitJob { id, spec } => job::submit(draft, id, spec),
        Command::ClaimJob { id, node } => job::claim(draft, id, *node),
        Command::AdvanceJob { id, epoch, step, checkpoint, loss } => {
            job::advance(draft, (id, *epoch), *step, checkpoint, *loss)
        }
        Command::FinishJob { id, epoch, version, metrics } => job::finish(draft, (id, *epoch), *version, metrics),
        Command::FailJob { id, epoch, reason } => job::fail(draft, (id, *epoch), reason),
        Command::CancelJob { id } => job::cancel(draft, id),
        Command::FlushDrift { deployment, source, sequence, windows, predictions } => {
            drift::flush(draft, deployment, (*source, *sequence), windows, predictions)
        }
        Command::ReportDrift { deployment, version, window, report, alert } => {
            drift::report(draft, deployment, (*window, version), report, alert.as_ref())
        }
        Command::RecordLabels { deployment, window_micros, labels } => {
            drift::record_labels(draft, deployment, *window_micros, labels)
        }
        Command::StartPipeline { pipeline, trigger, as_of } => pipeline::start(draft, pipeline, trigger, *as_of),
        Command::AdvancePipeline { name, number, from, stage } => {
            pipeline::advance(draft, (name, *number), *from, stage)
        }
    }
}
