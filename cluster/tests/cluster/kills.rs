//! Nodes killed with SIGKILL at each durable step of taking, receiving and keeping a snapshot: nothing acknowledged is
//! lost, and nothing unfinished is left.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::harness::{Cluster, GROUP, config, deadline, eventually, ids};

/// Tell the child where to work and at which point it dies; absent in the parent.
const DIRECTORY: &str = "COVEY_KILL_DIRECTORY";
const POINT: &str = "COVEY_KILL_POINT";

/// The child's part: a leader that takes snapshots and a learner that needs one, in one process, which dies at the
/// point. Does nothing in the parent.
#[tokio::test(flavor = "multi_thread")]
async fn child_that_is_killed_at_a_step_of_a_snapshot() {
    let Ok(directory) = std::env::var(DIRECTORY) else {
        return;
    };
    let cluster = Cluster::within(Path::new(&directory), 2, config()).await;
    let (leader, learner) = (&cluster.nodes[0], &cluster.nodes[1]);
    let founder = vec![leader.peer.clone()];
    leader.host().bootstrap_group(GROUP, founder).await.unwrap();
    cluster.leader().await;
    leader.put("first", 1).await;
    fail::cfg_callback(std::env::var(POINT).unwrap(), || {
        let id = std::process::id().to_string();
        Command::new("kill").args(["-9", &id]).status().unwrap();
        // The signal may take a moment; nothing may happen in it.
        loop {
            std::thread::park();
        }
    })
    .unwrap();
    learner.host().open_group(GROUP).await.unwrap();
    for number in 0.. {
        leader.put("last", number).await;
        writeln!(std::io::stdout().lock(), "acknowledged {number}").unwrap();
        if number == 200 {
            leader
                .host()
                .add_learner(GROUP, learner.peer.clone(), deadline())
                .await
                .unwrap();
        }
    }
}

/// Runs the child until it has died; the last number that it acknowledged.
fn run(directory: &Path, point: &str) -> u64 {
    let output = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "kills::child_that_is_killed_at_a_step_of_a_snapshot",
            "--nocapture",
        ])
        .env(DIRECTORY, directory)
        .env(POINT, point)
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    let signal = std::os::unix::process::ExitStatusExt::signal(&output.status);
    assert_eq!(signal, Some(9), "{point}: the child has to die at the point");
    let said = String::from_utf8(output.stdout).unwrap();
    let last = said
        .lines()
        .filter_map(|line| line.split_once("acknowledged "))
        .next_back();
    last.expect("something was acknowledged").1.parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_killed_at_any_step_of_a_snapshot_lose_nothing_and_leave_nothing_unfinished() {
    for point in [
        "snapshot::exported",
        "snapshot::drafted",
        "snapshot::recorded",
        "snapshot::received_one_file",
        "snapshot::linked",
    ] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().to_owned();
        let acknowledged = tokio::task::spawn_blocking(move || run(&path, point))
            .await
            .unwrap();
        let cluster = Cluster::within(directory.path(), 2, config()).await;
        let leader = &cluster.nodes[0];
        cluster.leader().await;
        let last = leader.read("last").await.unwrap();
        assert!(
            last >= acknowledged,
            "{point}: {acknowledged} was acknowledged, {last} is there"
        );
        assert_eq!(leader.read("first").await, Some(1), "{point}");
        for node in ["1", "2"] {
            let group = directory
                .path()
                .join(node)
                .join("snapshots")
                .join(GROUP.to_string());
            // The leader may be sending it anew already; then it is finished in a moment.
            eventually(
                &format!("{point}: nothing unfinished is left on node {node}"),
                || {
                    let kept = std::fs::read_dir(&group).into_iter().flatten().flatten();
                    let mut unfinished = kept.filter(|entry| !entry.path().join("record").exists());
                    unfinished.next().is_none().then_some(())
                },
            )
            .await;
        }
        // What was interrupted can be done now.
        cluster.nodes[1].host().open_group(GROUP).await.unwrap();
        let learner = cluster.nodes[1].peer.clone();
        leader
            .host()
            .add_learner(GROUP, learner, deadline())
            .await
            .unwrap();
        leader
            .host()
            .change_voters(GROUP, ids([1, 2]), true, deadline())
            .await
            .unwrap();
        eventually("the same state on both", || {
            (cluster.nodes[1].number("last") == Some(last)).then_some(())
        })
        .await;
    }
}
