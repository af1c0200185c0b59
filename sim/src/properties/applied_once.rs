//! A request is carried out once, however often it is sent: it makes one version, and every answer names that one.

use std::collections::BTreeMap;

use super::{Property, Scene, appends};
use crate::event::Event;

/// See the page's head.
#[derive(Default)]
pub(super) struct AppliedOnce {
    /// The version that each request has made.
    made: BTreeMap<String, (String, u64)>,
    /// The request that has made each version.
    makers: BTreeMap<(String, u64), String>,
}

impl Property for AppliedOnce {
    fn name(&self) -> &'static str {
        "applied once"
    }

    fn check(&mut self, scene: &Scene<'_>) -> Result<(), String> {
        for event in scene.events {
            if let Event::Applied(applied) = event
                && let Some(made) = &applied.made
            {
                self.note(&applied.request, made.clone())?;
            }
        }
        for appended in appends(scene) {
            self.note(&appended.request, (appended.model.clone(), appended.number))?;
        }
        Ok(())
    }
}

impl AppliedOnce {
    fn note(&mut self, request: &str, made: (String, u64)) -> Result<(), String> {
        let first = self
            .made
            .entry(request.to_owned())
            .or_insert_with(|| made.clone());
        if *first != made {
            return Err(format!("request {request} made {first:?} and {made:?}"));
        }
        let maker = self
            .makers
            .entry(made.clone())
            .or_insert_with(|| request.to_owned());
        if maker != request {
            return Err(format!(
                "version {made:?} was made by request {maker} and by request {request}"
            ));
        }
        Ok(())
    }
}
