//! Training on real nodes: the same model from one node and from three, also when the coordinator's node is killed while
//! the job runs; the registry's refusals; artifacts that come back as they were stored.

#![allow(
    clippy::unwrap_used,
    reason = "a test that finds something else than it expects fails"
)]

mod lesson;
#[path = "../support/nodes.rs"]
mod nodes;

use covey_proto::v1;
use lesson::Lesson;
use nodes::{Nodes, until};
use tonic::Code;

/// How often a job is tried until its coordinator has been caught in the middle of it.
const TRIES: usize = 8;

#[tokio::test(flavor = "multi_thread")]
async fn one_node_three_nodes_and_a_killed_coordinator_train_the_same_model() {
    let one = Nodes::start(1, 4).await;
    let alone = Lesson::prepare(&one, 0).await;
    let expected = alone.train("alone", "logistic_regression").await;
    let expected_linear = alone.train("alone-linear", "linear_regression").await;
    drop(one);

    let mut three = Nodes::start(3, 4).await;
    let lesson = Lesson::prepare(&three, 0).await;
    assert_eq!(lesson.train("together", "logistic_regression").await, expected);
    assert_eq!(
        lesson.train("together-linear", "linear_regression").await,
        expected_linear
    );

    let mut interrupted = false;
    for number in 0..TRIES {
        let id = format!("interrupted-{number}");
        lesson.submit(&id, "logistic_regression").await;
        let running = until("the job has a step or is done", || async {
            lesson.job(&id).await.filter(|job| job.step >= 1)
        })
        .await;
        let status = three.status().await.expect("the cluster's status");
        let coordinator = status
            .nodes
            .iter()
            .find(|node| node.id == running.coordinator)
            .expect("the coordinator");
        let victim = (0..3)
            .find(|at| three.node(*at).api() == coordinator.api_addr)
            .expect("the victim's process");
        three.node_mut(victim).kill();
        let lesson = Lesson::through(&three, (victim + 1) % 3);
        assert_eq!(lesson.finished(&id).await, expected, "the model of job {id}");
        let job = lesson.job(&id).await.expect("the job");
        interrupted |= job.epoch > 1;
        three.node_mut(victim).start(None);
        three.settled(3).await;
        if interrupted {
            break;
        }
    }
    assert!(
        interrupted,
        "no coordinator was caught in the middle of a job in {TRIES} tries"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn algorithms_of_one_node_make_versions_that_can_be_downloaded() {
    let nodes = Nodes::start(1, 2).await;
    let lesson = Lesson::prepare(&nodes, 0).await;
    for algorithm in ["decision_tree", "random_forest", "naive_bayes", "k_means"] {
        let id = format!("local-{}", algorithm.replace('_', "-"));
        let digest = lesson.train(&id, algorithm).await;
        let version = lesson
            .version(lesson.job(&id).await.expect("the job").version)
            .await;
        let mut spec = version.spec.expect("a specification");
        let lineage = spec.lineage.take().expect("where it came from");
        assert_eq!(
            (
                lineage.job.as_str(),
                lineage.dataset.as_str(),
                lineage.dataset_version
            ),
            (id.as_str(), "trips", 1)
        );
        assert_eq!(lineage.view_versions, [("trips".to_owned(), 1)].into());
        let artifact = spec.artifacts.remove(0);
        assert_eq!(artifact.sha256, digest);
        let bytes = lesson.download(artifact.clone()).await;
        assert_eq!(bytes.len() as u64, artifact.bytes);
        assert_eq!(covey_ml::sha256_hex(&bytes), artifact.sha256);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alias_moves_only_from_where_it_is_expected() {
    let nodes = Nodes::start(1, 2).await;
    let lesson = Lesson::prepare(&nodes, 0).await;
    lesson.train("first", "logistic_regression").await;
    lesson.train("second", "linear_regression").await;
    lesson
        .set_alias(1, Some(0))
        .await
        .expect("the alias pointed nowhere");
    let refused = lesson
        .set_alias(2, Some(0))
        .await
        .expect_err("it points to 1 now");
    assert_eq!(refused.code(), Code::Aborted, "{refused}");
    lesson.set_alias(2, Some(1)).await.expect("it points to 1");
    let missing = lesson
        .set_alias(9, None)
        .await
        .expect_err("there is no version 9");
    assert_eq!(missing.code(), Code::NotFound, "{missing}");
    let history = lesson.alias_history(None).await;
    let versions = |moves: &[v1::AliasMove]| -> Vec<(u64, u64)> {
        moves
            .iter()
            .map(|moved| (moved.version, moved.previous))
            .collect()
    };
    assert_eq!(versions(&history), [(1, 0), (2, 1)]);
    let at = [
        history[0].at_micros - 1,
        history[1].at_micros - 1,
        history[1].at_micros,
    ];
    let mut champions = Vec::new();
    for at in at {
        champions.push(versions(&lesson.alias_history(Some(at)).await));
    }
    assert_eq!(champions, [vec![], vec![(1, 0)], vec![(2, 1)]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_with_the_wrong_signature_is_refused_by_the_name_of_the_field() {
    let nodes = Nodes::start(1, 2).await;
    let lesson = Lesson::prepare(&nodes, 0).await;
    lesson.train("first", "logistic_regression").await;
    let version = lesson.version(1).await;
    let mut spec = version.spec.expect("a specification");
    spec.signature[0].name = "wind__gust".to_owned();
    let refused = lesson
        .create_version(spec.clone())
        .await
        .expect_err("the model reads another feature");
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(
        refused.message().contains("signature[0]") && refused.message().contains("wind__gust"),
        "{refused}"
    );
    spec.artifacts[0].chunks[0] = "00".repeat(32);
    let refused = lesson
        .create_version(spec)
        .await
        .expect_err("the chunk was never uploaded");
    assert!(refused.message().contains("artifacts"), "{refused}");
    assert_eq!(lesson.versions().await, 1, "a refusal changes nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_submission_that_is_repeated_finds_its_job_also_if_the_first_try_only_made_the_model() {
    // One group, so that the job and the model are remembered in the same place.
    let nodes = Nodes::start(1, 1).await;
    let lesson = Lesson::prepare(&nodes, 0).await;
    let request = "00000000000000000000000000000abc";
    lesson.create_model(request).await;
    let first = lesson.submit_as(request).await;
    let again = lesson.submit_as(request).await;
    assert_eq!(first.id, again.id);
    lesson.finished(&first.id).await;
    assert_eq!(lesson.versions().await, 1, "one submission, one version");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_cannot_be_done_says_why_and_changes_nothing() {
    let nodes = Nodes::start(1, 2).await;
    let lesson = Lesson::prepare(&nodes, 0).await;
    let refused = lesson
        .try_submit("odd", |spec| spec.algorithm = "gradient_magic".to_owned())
        .await;
    assert!(
        refused
            .expect_err("no such algorithm")
            .message()
            .contains("gradient_magic")
    );
    let refused = lesson
        .try_submit("odd", |spec| spec.dataset = "nothing".to_owned())
        .await;
    assert_eq!(refused.expect_err("no such dataset").code(), Code::NotFound);
    let refused = lesson
        .try_submit("odd", |spec| {
            spec.parameters.insert("depth".to_owned(), 3.0);
        })
        .await;
    assert!(
        refused
            .expect_err("no such parameter")
            .message()
            .contains("parameters.depth")
    );
    let refused = lesson
        .try_submit("odd", |spec| spec.exclude = vec!["wind__gust".to_owned()])
        .await;
    assert!(
        refused
            .expect_err("no such feature")
            .message()
            .contains("wind__gust")
    );
    assert!(lesson.job("odd").await.is_none());
}
