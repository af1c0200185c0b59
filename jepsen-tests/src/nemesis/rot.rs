//! Bits that flip on one node's disk. The node must name the damage and be rebuilt from the others, by itself or, where it
//! refuses to start, by an operator who replaces it.
//!
//! Invariant: no other bit flips before the node is whole again, so that at most one node is ever damaged.

use std::time::Duration;

use anyhow::{Result, bail, ensure};
use rand::Rng;
use rand_xoshiro::Xoshiro256PlusPlus;
use tokio::time::Instant;

use super::{Effect, members};
use crate::divergence;
use crate::fleet::rot::{Flipped, Node, database_log, flip as flip_in};
use crate::fleet::{Fleet, SETTLE_LIMIT};
use crate::waiting::pause;

/// How often a bit flips under a node that runs.
const RUNNING_SHARE: f64 = 0.3;
/// Starts after which a node that has never answered is said to refuse.
const STARTS_MAX: usize = 3;
/// How often it is looked whether the node is whole.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Characters of a line that are kept as evidence.
const QUOTED_MAX: usize = 240;

/// How a damaged node ended up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Came {
    /// It runs, and holds what the others hold.
    Whole,
    /// It ends as soon as it is started.
    Refused,
}

/// Flips a bit of a node and waits until the node is whole again. It took effect if the node, or its database, said so.
pub(super) async fn flip(
    fleet: &Fleet,
    victim: usize,
    lasts: Duration,
    random: &mut Xoshiro256PlusPlus,
) -> Result<Effect> {
    let state = if random.gen_bool(RUNNING_SHARE) {
        Node::Running
    } else {
        Node::Stopped
    };
    let mut node = fleet.node(victim).await;
    if state == Node::Stopped {
        node.kill().await;
    }
    let logged = node.log().len();
    let flipped = flip_in(&node.disk.data(), state, random);
    drop(node);
    pause(lasts).await;
    if state == Node::Stopped {
        fleet.node(victim).await.start(None).await?;
    }
    let flipped = flipped?;
    let mut came = wait(fleet, victim).await?;
    let mut said = words(fleet, victim, logged, &flipped).await;
    if said.is_none() && state == Node::Running && flipped.is_there()? {
        // It may have read the place before; a node that starts reads it again, and may refuse then.
        came = restart(fleet, victim, || Ok(())).await?;
        said = words(fleet, victim, logged, &flipped).await;
    }
    let outcome = conclude((fleet, victim), &flipped, came, said.is_some()).await?;
    Ok(Effect {
        nodes: vec![victim],
        what: format!(
            "bit {} of byte {} of {} ({}) was flipped; the node was {}",
            flipped.bit,
            flipped.offset,
            flipped.file_name(),
            flipped.part.name(),
            if state == Node::Running {
                "running"
            } else {
                "stopped"
            },
        ),
        took: said.is_some(),
        shown: said.map_or_else(
            || outcome.to_owned(),
            |said| format!("{outcome}; it said: {said}"),
        ),
    })
}

/// Mends what is still to be mended, and tells what became of the bit.
async fn conclude(
    (fleet, victim): (&Fleet, usize),
    flipped: &Flipped,
    came: Came,
    is_named: bool,
) -> Result<&'static str> {
    let unflip = || flipped.undo().map(drop);
    Ok(match (came, is_named) {
        (Came::Refused, false) => bail!("the node ends without naming {}", flipped.path.display()),
        (Came::Refused, true) => {
            replace(fleet, victim).await?;
            "it refused to start, and was replaced"
        }
        (Came::Whole, true) => {
            // That writes a state anew from which a damaged group was erased.
            if restart(fleet, victim, || Ok(())).await? == Came::Refused {
                replace(fleet, victim).await?;
                "it refused to start again, and was replaced"
            } else if flipped.is_there()? {
                is_whole(victim, restart(fleet, victim, unflip).await?)?;
                "all replicas are the same again; the bit was left in its file, and was flipped back"
            } else {
                "all replicas are the same again, and the damaged file is gone"
            }
        }
        (Came::Whole, false) if flipped.is_there()? => {
            is_whole(victim, restart(fleet, victim, unflip).await?)?;
            "nobody has read it, so it was flipped back"
        }
        (Came::Whole, false) => "nobody has read it before the file was dropped or written anew",
    })
}

/// Keeps the node running, as a supervisor would, until all replicas are the same or it is clear that it refuses.
async fn wait(fleet: &Fleet, victim: usize) -> Result<Came> {
    let deadline = Instant::now() + SETTLE_LIMIT;
    let mut starts = 0;
    let mut last = String::from("it has not answered");
    while Instant::now() < deadline {
        pause(LOOK_EVERY).await;
        let mut node = fleet.node(victim).await;
        if !node.runs() {
            if starts == STARTS_MAX {
                return Ok(Came::Refused);
            }
            starts += 1;
            node.start(None).await?;
            continue;
        }
        drop(node);
        if fleet.status_of(victim).await.is_none() {
            continue;
        }
        starts = 0;
        match divergence::compare_groups(fleet).await {
            Ok(()) => return Ok(Came::Whole),
            Err(error) => last = format!("{error:#}"),
        }
    }
    bail!("node {victim} is not whole again after {SETTLE_LIMIT:?}: {last}")
}

/// The line in which the node, or its database, told of the damage since its log was so long.
async fn words(fleet: &Fleet, victim: usize, logged: usize, flipped: &Flipped) -> Option<String> {
    let log = fleet.node(victim).await.log();
    let new = log.get(logged..).unwrap_or_default();
    let in_database = database_log(&flipped.path);
    let file = flipped.file_name();
    let line = of_damage(new, "").or_else(|| of_damage(&in_database, &file))?;
    Some(line.chars().take(QUOTED_MAX).collect())
}

/// The first line that tells of damage and names something.
fn of_damage<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let tells = |line: &&str| {
        ["damage", "orrupt", "checksum mismatch"]
            .iter()
            .any(|word| line.contains(word))
    };
    text.lines().find(|line| tells(line) && line.contains(name))
}

/// Ends a node that is whole, does something, and starts it again until it is whole once more or refuses.
async fn restart(fleet: &Fleet, victim: usize, meanwhile: impl FnOnce() -> Result<()>) -> Result<Came> {
    fleet.node(victim).await.kill().await;
    let done = meanwhile();
    fleet.node(victim).await.start(None).await?;
    done?;
    wait(fleet, victim).await
}

fn is_whole(victim: usize, came: Came) -> Result<()> {
    ensure!(came == Came::Whole, "node {victim} does not start again");
    Ok(())
}

/// What an operator does with a node that refuses to start: a stand-in takes over what it held, it is removed, and comes
/// back empty as a new one.
async fn replace(fleet: &Fleet, victim: usize) -> Result<()> {
    members::join(fleet, members::STAND_IN).await?;
    members::remove(fleet, victim).await?;
    members::join(fleet, victim).await?;
    members::remove(fleet, members::STAND_IN).await?;
    ensure!(
        wait(fleet, victim).await? == Came::Whole,
        "the new node {victim} does not start"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_damage_is_found_and_other_lines_are_not() {
        let log = "INFO started\nERROR table 000012.sst is corrupt: block checksum mismatch\nWARN the damaged replica is erased\n";
        assert!(of_damage(log, "").is_some_and(|line| line.starts_with("ERROR")));
        assert!(of_damage(log, "000012.sst").is_some());
        assert_eq!(of_damage(log, "000013.sst"), None);
        assert_eq!(of_damage("INFO started\n", ""), None);
    }
}
