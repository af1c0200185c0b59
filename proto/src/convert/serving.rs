//! Deployments.

use covey_state::deployment::{Deployment, DeploymentRecord, Target};

use super::{InvalidField, required};
use crate::v1;

/// Replicas of a deployment that names no number.
const REPLICAS_DEFAULT: u32 = 1;
/// Requests that may wait at one replica of a deployment that names no number.
const QUEUE_LIMIT_DEFAULT: u32 = 1024;

impl TryFrom<v1::DeploymentSpec> for Deployment {
    type Error = InvalidField;

    fn try_from(spec: v1::DeploymentSpec) -> Result<Self, InvalidField> {
        let target = match required(spec.target, "target")? {
            v1::deployment_spec::Target::Alias(alias) => Target::Alias(alias),
            v1::deployment_spec::Target::Version(version) => Target::Version(version),
        };
        let or_default = |number, default| if number == 0 { default } else { number };
        Ok(Self {
            name: spec.name,
            model: spec.model,
            target,
            replicas: or_default(spec.replicas, REPLICAS_DEFAULT),
            queue_limit: or_default(spec.queue_limit, QUEUE_LIMIT_DEFAULT),
            log_predictions: spec.log_predictions,
        })
    }
}

impl From<Deployment> for v1::DeploymentSpec {
    fn from(deployment: Deployment) -> Self {
        let target = match deployment.target {
            Target::Alias(alias) => v1::deployment_spec::Target::Alias(alias),
            Target::Version(version) => v1::deployment_spec::Target::Version(version),
        };
        Self {
            name: deployment.name,
            model: deployment.model,
            target: Some(target),
            replicas: deployment.replicas,
            queue_limit: deployment.queue_limit,
            log_predictions: deployment.log_predictions,
        }
    }
}

/// The declaration and its revision; how its replicas are is known to nodes, not to the record.
impl From<DeploymentRecord> for v1::Deployment {
    fn from(record: DeploymentRecord) -> Self {
        Self {
            spec: Some(record.spec.into()),
            revision: record.revision,
            replicas: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deployments_survive_the_way_to_the_wire_and_back() {
        for target in [Target::Alias("champion".to_owned()), Target::Version(3)] {
            let (name, model) = ("flights".to_owned(), "delay".to_owned());
            let deployment = Deployment {
                name,
                model,
                target,
                replicas: 2,
                queue_limit: 9,
                log_predictions: true,
            };
            assert_eq!(
                Deployment::try_from(v1::DeploymentSpec::from(deployment.clone())),
                Ok(deployment)
            );
        }
    }

    #[test]
    fn numbers_left_out_get_their_defaults_and_a_target_must_be_there() {
        let target = Some(v1::deployment_spec::Target::Version(1));
        let deployment = Deployment::try_from(v1::DeploymentSpec {
            target,
            ..Default::default()
        })
        .unwrap();
        assert_eq!((deployment.replicas, deployment.queue_limit), (1, 1024));
        assert_eq!(
            Deployment::try_from(v1::DeploymentSpec::default())
                .unwrap_err()
                .field,
            "target"
        );
    }
}
