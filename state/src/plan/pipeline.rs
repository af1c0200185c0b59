//! Decides retraining pipelines: what they are, when a run starts, and how it moves on.
//!
//! Invariants: at most one run of a pipeline is open; a run's stage only moves up; the open runs are in their index.

use std::ops::ControlFlow;

use crate::answer::Answer;
use crate::id::Timestamp;
use crate::key::Key;
use crate::pipeline::{Pipeline, PipelineRun, Stage};
use crate::plan::draft::{Decided, Draft, Stop};
use crate::plan::field::{
    check_finite, check_name, check_text, check_token, conflict, ensure, invalid, within, wrong_state,
};
use crate::plan::registry::check_numbers;
use crate::plan::topology;
use crate::record::Record;
use crate::rejection::Rejection;

/// The most features that a pipeline leaves out.
const EXCLUDED_MAX: usize = 10_000;

/// Declares or changes a pipeline.
pub(super) fn put(draft: &mut Draft<'_>, pipeline: &Pipeline) -> Decided {
    topology::cluster(draft)?;
    check(pipeline)?;
    let place = Key::Pipeline(pipeline.name.clone());
    if draft.get::<Pipeline>(&place)?.as_ref() != Some(pipeline) {
        draft.put(place, pipeline.clone());
    }
    Ok(Answer::Done)
}

/// Takes a pipeline away, unless a monitor starts it.
pub(super) fn remove(draft: &mut Draft<'_>, name: &str) -> Decided {
    let place = Key::Pipeline(name.to_owned());
    draft.need::<Pipeline>(&place, "pipeline", name)?;
    let mut starter = None;
    draft.scan(&Key::Monitor(String::new()), &mut |_, record| {
        let Record::Monitor(monitor) = record else {
            return ControlFlow::Break(());
        };
        if monitor.pipeline.as_deref() == Some(name) {
            starter = Some(monitor.name);
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    })?;
    if let Some(monitor) = starter {
        let state = format!("started by monitor `{monitor}`");
        return Err(wrong_state("pipeline", name, state, "remove the monitor first").into());
    }
    draft.delete(place);
    Ok(Answer::Done)
}

/// Starts a run, unless one is open or the last one is too recent.
pub(super) fn start(draft: &mut Draft<'_>, pipeline: &Pipeline, trigger: &str, as_of: Timestamp) -> Decided {
    check(pipeline)?;
    check_text("trigger", trigger)?;
    let name = &pipeline.name;
    let last = newest_run(draft, name)?;
    if let Some(last) = &last {
        check_may_follow(last, pipeline, as_of)?;
    }
    let number = last.map_or(0, |last| last.number) + 1;
    let run = PipelineRun {
        pipeline: pipeline.clone(),
        number,
        trigger: trigger.to_owned(),
        as_of,
        stage: Stage::Dataset,
        started_at: draft.now,
        updated_at: draft.now,
    };
    draft.put(Key::PipelineRun(name.clone(), number), run);
    draft.put(Key::OpenRun(name.clone(), number), Record::Marker);
    Ok(Answer::Number(number))
}

/// Moves a run on, if it is still where the caller believes it is.
pub(super) fn advance(
    draft: &mut Draft<'_>,
    (name, number): (&str, u64),
    from: u8,
    stage: &Stage,
) -> Decided {
    let place = Key::PipelineRun(name.to_owned(), number);
    let full_name = format!("{name}/{number}");
    let mut run: PipelineRun = draft.need(&place, "pipeline run", &full_name)?;
    if run.stage.is_final() {
        return Err(wrong_state(
            "pipeline run",
            &full_name,
            stage_name(&run.stage),
            "start a new run",
        )
        .into());
    }
    if run.stage.rank() != from {
        let (expected, found) = (format!("stage {from}"), format!("stage {}", run.stage.rank()));
        return Err(conflict("pipeline run", &full_name, expected, found).into());
    }
    ensure(stage.rank() > from, "stage", || {
        format!(
            "{} does not come after {}",
            stage_name(stage),
            stage_name(&run.stage)
        )
    })?;
    check_stage(stage)?;
    run.stage = stage.clone();
    run.updated_at = draft.now;
    if run.stage.is_final() {
        draft.delete(Key::OpenRun(name.to_owned(), number));
    }
    draft.put(place, run);
    Ok(Answer::Done)
}

fn newest_run(draft: &Draft<'_>, name: &str) -> Result<Option<PipelineRun>, Stop> {
    let mut newest = None;
    draft.scan(&Key::PipelineRun(name.to_owned(), 0), &mut |_, record| {
        let Record::PipelineRun(run) = record else {
            return ControlFlow::Break(());
        };
        if run.pipeline.name != name {
            return ControlFlow::Break(());
        }
        newest = Some(run);
        ControlFlow::Continue(())
    })?;
    Ok(newest)
}

fn check_may_follow(last: &PipelineRun, pipeline: &Pipeline, as_of: Timestamp) -> Result<(), Rejection> {
    let name = &pipeline.name;
    if !last.stage.is_final() {
        let state = format!("at stage {} of run {}", stage_name(&last.stage), last.number);
        return Err(wrong_state(
            "pipeline",
            name,
            state,
            "wait until the run has ended",
        ));
    }
    let next = last.as_of.plus_micros(pipeline.cooldown_micros);
    if as_of < next {
        let state = format!("cooling down after run {}", last.number);
        let hint = format!("the next run may be as of {}us or later", next.micros());
        return Err(wrong_state("pipeline", name, state, hint));
    }
    Ok(())
}

fn check_stage(stage: &Stage) -> Result<(), Rejection> {
    match stage {
        Stage::Promoted {
            evidence: (candidate, champion),
            ..
        }
        | Stage::Kept {
            evidence: (candidate, champion),
            ..
        } => {
            check_finite("stage.evidence", *candidate)?;
            check_finite("stage.evidence", *champion)
        }
        Stage::Failed { reason } => check_text("stage.reason", reason),
        Stage::Training { job, .. } => check_token("stage.job", job),
        Stage::Dataset | Stage::Gate { .. } => Ok(()),
    }
}

fn stage_name(stage: &Stage) -> &'static str {
    match stage {
        Stage::Dataset => "dataset",
        Stage::Training { .. } => "training",
        Stage::Gate { .. } => "gate",
        Stage::Promoted { .. } => "promoted",
        Stage::Kept { .. } => "kept",
        Stage::Failed { .. } => "failed",
    }
}

fn check(pipeline: &Pipeline) -> Result<(), Rejection> {
    check_name("name", &pipeline.name)?;
    check_name("model", &pipeline.model)?;
    check_name("alias", &pipeline.alias)?;
    check_name("dataset", &pipeline.dataset)?;
    check_token("algorithm", &pipeline.algorithm)?;
    check_numbers("parameters", &pipeline.parameters)?;
    within(
        pipeline.exclude.len(),
        EXCLUDED_MAX,
        "features that a pipeline leaves out",
    )?;
    if let Some(lookback) = pipeline.lookback_micros {
        ensure(lookback > 0, "lookback_micros", || {
            format!("{lookback} is not above zero")
        })?;
    }
    let holdout = pipeline.holdout_micros;
    ensure(holdout > 0, "holdout_micros", || {
        format!("{holdout} is not above zero")
    })?;
    let cooldown = pipeline.cooldown_micros;
    ensure(cooldown >= 0, "cooldown_micros", || {
        format!("{cooldown} is below zero")
    })?;
    check_finite("gate_margin", pipeline.gate_margin)?;
    match pipeline.gate_metric.as_str() {
        "auc" | "log_loss" => Ok(()),
        other => Err(invalid(
            "gate_metric",
            format!("`{other}` is neither `auc` nor `log_loss`"),
        )),
    }
}
