//! A process killed in the midst of appending: what it acknowledged is there, and there is no hole.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;

use bytes::Bytes;
use covey_state::GroupId;
use covey_storage::{LogEntry, RaftDb, RaftDbConfig};
use tempfile::TempDir;

use crate::sample::noise;

/// Tells the child where to append; absent in the parent.
const DIRECTORY: &str = "COVEY_LOG_CRASH_DIRECTORY";
const GROUPS: u64 = 3;
const ROUNDS: usize = 8;
/// Jobs that the child keeps in flight.
const IN_FLIGHT: usize = 40;

fn entry(group: GroupId, index: u64) -> LogEntry {
    let length = usize::try_from(index % 13 * 97).unwrap();
    LogEntry {
        index,
        bytes: noise(group, index, length),
    }
}

/// The child's part: appends until it is killed, and prints each entry that is durable. Does nothing in the parent.
#[test]
fn child_that_appends_until_it_is_killed() {
    let Ok(directory) = std::env::var(DIRECTORY) else {
        return;
    };
    let db = RaftDb::open(Path::new(&directory), RaftDbConfig::default()).unwrap();
    let logs: Vec<_> = (1..=GROUPS)
        .map(|number| db.group(GroupId::new(number)))
        .collect();
    let mut next: Vec<u64> = logs.iter().map(|log| next_index(&db, log.id())).collect();
    let (sender, durable) = mpsc::channel();
    for job in 0.. {
        let which = job % logs.len();
        let (log, index) = (&logs[which], next[which]);
        let (sender, group) = (sender.clone(), log.id().get());
        let done = Box::new(move |outcome: Result<(), _>| {
            outcome.unwrap();
            writeln!(std::io::stdout().lock(), "durable {group} {}", index + 1).unwrap();
            sender.send(()).unwrap();
        });
        log.append(vec![entry(log.id(), index), entry(log.id(), index + 1)], done)
            .unwrap();
        next[which] += 2;
        if job % 50 == 49 && index > 30 {
            log.purge(
                index - 30,
                Bytes::from_static(b"purged"),
                Box::new(|outcome| outcome.unwrap()),
            )
            .unwrap();
        }
        if job >= IN_FLIGHT {
            durable.recv().unwrap();
        }
    }
}

fn next_index(db: &RaftDb, group: GroupId) -> u64 {
    let bounds = db.group(group).bounds().unwrap();
    bounds.last.map_or(bounds.first_index, |last| last.index + 1)
}

/// Runs the child until it has printed `lines` lines, kills it, and gives the last durable index of every group.
fn run_and_kill(directory: &Path, lines: usize) -> BTreeMap<u64, u64> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "log_crash::child_that_appends_until_it_is_killed",
            "--nocapture",
        ])
        .env(DIRECTORY, directory)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut durable = BTreeMap::new();
    let mut seen = 0;
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        let mut words = line.split(' ').skip_while(|word| *word != "durable").skip(1);
        // The last line may be cut by the kill; then it was never acknowledged to anybody.
        let (Some(Ok(group)), Some(Ok(index))) = (words.next().map(str::parse), words.next().map(str::parse))
        else {
            continue;
        };
        durable.insert(group, index);
        seen += 1;
        if seen == lines {
            child.kill().unwrap();
        }
    }
    assert!(!child.wait().unwrap().success(), "the child ends by being killed");
    assert!(seen >= lines, "the child ended after {seen} lines");
    durable
}

#[test]
fn a_killed_process_loses_nothing_that_it_acknowledged() {
    let directory = TempDir::new().unwrap();
    let mut durable = BTreeMap::new();
    for round in 0..ROUNDS {
        // Primes apart, so that the kill meets the committer at another step every time.
        durable.extend(run_and_kill(directory.path(), 37 + round * 101));
        let db = RaftDb::open(directory.path(), RaftDbConfig::default()).unwrap();
        for number in 1..=GROUPS {
            let log = db.group(GroupId::new(number));
            let bounds = log.bounds().unwrap();
            let last = bounds.last.expect("every group was written").index;
            let acknowledged = durable.get(&number).copied().unwrap_or(0);
            assert!(
                last >= acknowledged,
                "round {round}: group {number} ends at {last}, not {acknowledged}"
            );
            assert_eq!(last % 2, 1, "a job is there as a whole or not at all");
            let expected: Vec<_> = (bounds.first_index..=last)
                .map(|index| entry(log.id(), index))
                .collect();
            assert_eq!(log.read(0..u64::MAX, usize::MAX).unwrap(), expected);
        }
    }
}
