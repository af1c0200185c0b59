//! `covey verify`: compares the replicas of groups and says which one differs, and where first.

use covey_proto::v1;
use covey_proto::v1::verify_group_reply::Reply;
use serde_json::{Value as Json, json};

use super::client::{Access, Client};
use super::group::group_number;
use super::length::Length;
use super::output::{Listing, remark};
use super::progress;
use super::trouble::Trouble;
use super::waiting::{Look, wait_for};

/// Options of `covey verify`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    covey verify                       compare the replicas of every group\n  \
    covey verify --group g3            of one group\n  \
    covey verify --group g3 --repair   and rebuild those that differ from the majority\n\n\
    All replicas of a group are compared as they are at one place in its log, by checksums, while it is written to.\n\
    A replica whose store is damaged is rebuilt without being told. Exit codes: 0 all are the same, 1 some are not,\n\
    3 some could not be compared.")]
pub(super) struct Verify {
    /// Only this group, for instance g3; g0 is the control group
    #[arg(long, value_parser = group_number, value_name = "GROUP")]
    group: Option<u64>,
    /// Have replicas that differ from the majority rebuilt from it
    #[arg(long)]
    repair: bool,
    /// How long to wait for a replica to be rebuilt, before it is compared again
    #[arg(long, default_value = "10m", value_name = "LENGTH")]
    wait: Length,
}

impl Verify {
    pub(super) async fn run(self, access: &Access) -> Result<(), Trouble> {
        let client = access.connect().await?;
        let groups = match self.group {
            Some(group) => vec![group],
            None => all_groups(&client).await?,
        };
        let (mut verdicts, mut missed) = (Vec::new(), None);
        for group in groups {
            match self.verdict(&client, group).await {
                Ok(verdict) => verdicts.push(verdict),
                Err(trouble) if trouble.is_unavailable() => {
                    remark(&trouble.to_string());
                    missed.get_or_insert(trouble);
                }
                Err(trouble) => return Err(trouble),
            }
        }
        listing(&verdicts).print(access.output);
        conclude(&verdicts)?;
        missed.map_or(Ok(()), Err)
    }

    /// How the replicas of a group compare, after those that can be are rebuilt if that was asked for.
    async fn verdict(&self, client: &Client, group: u64) -> Result<v1::GroupVerdict, Trouble> {
        let verdict = compare(client, group, self.repair).await?;
        if !(self.repair && verdict.replicas.iter().any(can_be_rebuilt)) {
            return Ok(verdict);
        }
        remark(&summary(&verdict));
        wait_rebuilt(client, group, self.wait).await?;
        compare(client, group, false).await
    }
}

/// Every group that the cluster has, whether a node that holds it answers or not.
async fn all_groups(client: &Client) -> Result<Vec<u64>, Trouble> {
    let request = client.request(v1::GetStatusRequest {});
    let status = client.cluster().get_status(request).await?.into_inner();
    Ok((0..=status.groups).collect())
}

/// Compares the replicas of one group, with something moving on the screen meanwhile.
async fn compare(client: &Client, group: u64, repair: bool) -> Result<v1::GroupVerdict, Trouble> {
    let doing = format!("comparing the replicas of group g{group}");
    let spinner = progress::spinner(&doing);
    let request = client.long_request(v1::VerifyGroupRequest { group, repair });
    let mut replies = client.cluster().verify_group(request).await?.into_inner();
    while let Some(reply) = replies
        .message()
        .await
        .map_err(|status| Trouble::from(status).during(&doing))?
    {
        match reply.reply {
            Some(Reply::Progress(so_far)) => {
                spinner.set_message(format!("{doing}: {} keys, {} bytes", so_far.keys, so_far.bytes));
                // The size is an estimate that lags behind.
                if so_far.bytes_expected > so_far.bytes {
                    progress::show_part(&spinner, so_far.bytes, so_far.bytes_expected);
                }
            }
            Some(Reply::Verdict(verdict)) => {
                spinner.finish_and_clear();
                return Ok(verdict);
            }
            None => {}
        }
    }
    spinner.finish_and_clear();
    Err(Trouble::unavailable(
        format!("{doing}: it broke off"),
        "repeat the command",
    ))
}

/// Waits until no replica of a group is known to be damaged and all members have caught up.
async fn wait_rebuilt(client: &Client, group: u64, wait: Length) -> Result<(), Trouble> {
    let what = format!("rebuilding a replica of group g{group}");
    wait_for(&what, wait.duration(), async || {
        let request = client.request(v1::GetGroupRequest { group });
        let detail = client.cluster().get_group(request).await?.into_inner();
        if let Some(damaged) = detail.replicas.iter().find(|replica| !replica.damaged.is_empty()) {
            return Ok(Look::NotYet(format!(
                "{} still has the damaged one",
                damaged.node
            )));
        }
        let wanted = detail.placement.unwrap_or_default();
        let leader = detail.replicas.iter().find(|replica| replica.role == "leader");
        let ready = |node: &&String| leader.is_some_and(|leader| leader.caught_up.contains(node));
        let members: Vec<&String> = wanted.voters.iter().chain(&wanted.learners).collect();
        let done = members.iter().filter(|node| ready(node)).count();
        Ok(if detail.settled && done == members.len() {
            Look::Reached(())
        } else {
            Look::Part {
                done: done as u64,
                total: members.len() as u64,
                text: "members in place".to_owned(),
            }
        })
    })
    .await
}

/// Whether the others can take its place.
fn can_be_rebuilt(replica: &v1::ReplicaVerdict) -> bool {
    matches!(replica.verdict.as_str(), "different" | "damaged")
}

fn listing(verdicts: &[v1::GroupVerdict]) -> Listing {
    let mut listing = Listing::new(&[
        "group", "index", "compared", "keys", "bytes", "verdict", "findings",
    ]);
    for verdict in verdicts {
        let compared = verdict
            .replicas
            .iter()
            .filter(|replica| replica.verdict == "equal");
        let compared: Vec<Json> = compared.map(|replica| replica.node.clone().into()).collect();
        let findings = verdict
            .replicas
            .iter()
            .filter(|replica| replica.verdict != "equal");
        let finding = |replica: &v1::ReplicaVerdict| json!({"node": replica.node, "verdict": replica.verdict, "detail": replica.detail});
        listing.row([
            format!("g{}", verdict.group).into(),
            verdict.index.into(),
            compared.into(),
            verdict.keys.into(),
            verdict.bytes.into(),
            word(verdict).into(),
            findings.map(finding).collect::<Vec<_>>().into(),
        ]);
    }
    listing
}

/// The worst of what was found.
fn word(verdict: &v1::GroupVerdict) -> &str {
    let found = |word: &str| verdict.replicas.iter().any(|replica| replica.verdict == word);
    let worst = ["disputed", "different", "damaged", "missed"]
        .into_iter()
        .find(|word| found(word));
    worst.unwrap_or("equal")
}

fn summary(verdict: &v1::GroupVerdict) -> String {
    let troubled = verdict
        .replicas
        .iter()
        .filter(|replica| replica.verdict != "equal");
    let each = troubled.map(|replica| format!("{} is {}: {}", replica.node, replica.verdict, replica.detail));
    format!(
        "group g{}: {}",
        verdict.group,
        each.collect::<Vec<_>>().join("; ")
    )
}

fn conclude(verdicts: &[v1::GroupVerdict]) -> Result<(), Trouble> {
    let with = |word_wanted: &[&str]| {
        let groups = verdicts
            .iter()
            .filter(|verdict| word_wanted.contains(&word(verdict)));
        groups.map(summary).collect::<Vec<_>>().join("\n")
    };
    let wrong = with(&["disputed", "different", "damaged"]);
    if !wrong.is_empty() {
        return Err(Trouble::refused(
            wrong,
            "a damaged replica is rebuilt by itself, so repeat the command in a while; have one that differs rebuilt \
             with --repair; one that is disputed needs you to say which is right, by `covey group move`",
        ));
    }
    let missed = with(&["missed"]);
    if !missed.is_empty() {
        return Err(Trouble::unavailable(
            missed,
            "bring the nodes back and repeat the command",
        ));
    }
    remark(&format!("the replicas of {} groups are the same", verdicts.len()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(words: &[&str]) -> v1::GroupVerdict {
        let replica = |(number, word): (usize, &&str)| v1::ReplicaVerdict {
            node: format!("n{}", number + 1),
            verdict: (*word).to_owned(),
            detail: String::new(),
        };
        v1::GroupVerdict {
            replicas: words.iter().enumerate().map(replica).collect(),
            ..v1::GroupVerdict::default()
        }
    }

    #[test]
    fn a_difference_counts_more_than_a_replica_that_was_not_compared() {
        assert_eq!(word(&verdict(&["equal", "equal"])), "equal");
        assert_eq!(word(&verdict(&["equal", "missed", "different"])), "different");
        assert!(conclude(&[verdict(&["equal"])]).is_ok());
        let missed = conclude(&[verdict(&["equal"]), verdict(&["missed"])]).unwrap_err();
        assert!(missed.is_unavailable());
        let wrong = conclude(&[verdict(&["missed"]), verdict(&["damaged"])]).unwrap_err();
        assert!(!wrong.is_unavailable());
    }
}
