//! Two minutes of faults on three real nodes under every workload. As root in network namespaces and on disks that lose power,
//! otherwise on loopback with the faults that are possible there.

#![allow(
    clippy::unwrap_used,
    reason = "a test that finds something else than it expects fails"
)]

use std::path::Path;
use std::process::Command;

use covey_jepsen::evidence::Verdict;

/// The binary under test lies beside the one that breaks it; cargo builds it for the tests of its own crate.
fn covey() -> std::path::PathBuf {
    let covey = Path::new(env!("CARGO_BIN_EXE_covey-jepsen")).with_file_name("covey");
    assert!(
        covey.is_file(),
        "{} is not there; build it with `cargo build --workspace`",
        covey.display()
    );
    covey
}

/// What two minutes are sure to show an effect of. Nobody may happen to read a flipped bit, or to write while nodes are far from
/// each other, and then a run proves nothing; `make jepsen` has time for both.
const FAULTS: &str =
    "kill,blackout,pause,disk-full,power-loss,partition,one-way,bridge,loss,clock,drain,replace,snapshot";

/// A disk that loses power is a file system of our own, which takes root and FUSE.
fn disk() -> &'static str {
    let may_mount = rustix::process::geteuid().is_root() && Path::new("/dev/fuse").exists();
    if may_mount { "volatile" } else { "directory" }
}

#[test]
fn every_promise_is_kept_while_nodes_die_pause_and_are_cut_off() {
    let evidence = tempfile::tempdir().unwrap();
    let output = evidence.path().join("run");
    let run = Command::new(env!("CARGO_BIN_EXE_covey-jepsen"))
        .args([
            "run",
            "--seconds",
            "120",
            "--seed",
            "4",
            "--clients",
            "3",
            "--where-possible",
        ])
        .args(["--faults", FAULTS, "--disk", disk()])
        .arg("--covey")
        .arg(covey())
        .arg("--output")
        .arg(&output)
        .output()
        .unwrap();
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&run.stdout),
        String::from_utf8_lossy(&run.stderr)
    );
    if !run.status.success() {
        let kept = evidence.keep();
        panic!("evidence in {}\n{said}", kept.display());
    }
    let verdict = std::fs::read_to_string(output.join("verdict.json")).unwrap();
    let verdict: Verdict = serde_json::from_str(&verdict).unwrap();
    assert!(verdict.passed && verdict.findings.len() == 8, "{said}");
    assert!(verdict.findings.iter().all(|found| found.checked > 0), "{said}");
    let judged_again = Command::new(env!("CARGO_BIN_EXE_covey-jepsen"))
        .arg("check")
        .arg(&output)
        .status()
        .unwrap();
    assert!(judged_again.success());
}
