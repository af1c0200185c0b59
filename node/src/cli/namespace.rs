//! `covey namespace`: groups of their own for some entities, and what those are to survive.

use std::time::Duration;

use covey_proto::v1;

use super::client::{Access, Client};
use super::length::Length;
use super::output::{Card, Listing, remark};
use super::trouble::Trouble;
use super::waiting::{Look, wait_for};

/// What a namespace is to survive, as it is typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Survive {
    /// The loss of a zone of the home region: at least three voters at home, a learner in every other region
    Zone,
    /// The loss of a region: at least five voters, two at home and at most two in any region
    Region,
}

/// Home and goal.
#[derive(Debug, clap::Args)]
pub(super) struct Policy {
    /// The region in which its groups are led
    #[arg(long, value_name = "REGION", requires = "survive")]
    home: Option<String>,
    /// What its groups are to survive
    #[arg(long, value_enum, requires = "home")]
    survive: Option<Survive>,
}

/// Verbs of `covey namespace`.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Namespace {
    /// List the namespaces
    #[command(after_help = "Examples:\n  covey namespace list\n  covey namespace list --output json")]
    List,
    /// Show one namespace, and whether it would survive what it is to survive
    #[command(after_help = "Examples:\n  covey namespace show default")]
    Show {
        /// Its name
        name: String,
    },
    /// Make a namespace with groups of its own
    #[command(after_help = "Examples:\n  \
        covey namespace create payments --home eu --survive region --groups 8\n  \
        covey namespace create scratch\n\n\
        An entity names its namespace (`namespace: payments` in its YAML); its rows then live in these groups only.")]
    Create {
        /// Its name
        name: String,
        #[command(flatten)]
        policy: Policy,
        /// Groups that its rows are split into, a power of two; fixed for ever
        #[arg(long, default_value_t = 1, value_name = "NUMBER")]
        groups: u64,
        /// How long to wait until its groups are made; 0s does not wait
        #[arg(long, default_value = "2m", value_name = "LENGTH")]
        wait: Length,
    },
    /// Change what a namespace is to survive; without options it has no home any more
    #[command(after_help = "Examples:\n  \
        covey namespace set default --home eu --survive zone\n  \
        covey namespace set payments --home us --survive region")]
    Set {
        /// Its name
        name: String,
        #[command(flatten)]
        policy: Policy,
    },
}

impl Namespace {
    pub(super) async fn run(self, access: &Access) -> Result<(), Trouble> {
        let client = access.connect().await?;
        match self {
            Self::List => {
                let mut listing = Listing::new(&["namespace", "groups", "home", "survive", "made", "broken"]);
                for namespace in list(&client).await? {
                    listing.row([
                        namespace.name.clone().into(),
                        groups_text(&namespace).into(),
                        namespace.home.clone().into(),
                        survive_text(&namespace).into(),
                        namespace.made.into(),
                        namespace.broken.clone().into(),
                    ]);
                }
                listing.print(access.output);
            }
            Self::Show { name } => card(&find(&client, &name).await?).print(access.output),
            Self::Create {
                name,
                policy,
                groups,
                wait,
            } => {
                if list(&client).await?.iter().any(|known| known.name == name) {
                    let what = format!("namespace `{name}` exists already");
                    return Err(Trouble::refused(what, "change it with `covey namespace set`"));
                }
                put(&client, &name, policy, groups).await?;
                if wait.micros() > 0 {
                    wait_made(&client, &name, wait.duration()).await?;
                }
                card(&find(&client, &name).await?).print(access.output);
            }
            Self::Set { name, policy } => {
                find(&client, &name).await?;
                card(&put(&client, &name, policy, 0).await?).print(access.output);
                remark("replicas move by themselves; see `covey status`");
            }
        }
        Ok(())
    }
}

/// All namespaces.
pub(crate) async fn list(client: &Client) -> Result<Vec<v1::Namespace>, Trouble> {
    let request = client.request(v1::ListNamespacesRequest {});
    Ok(client
        .cluster()
        .list_namespaces(request)
        .await?
        .into_inner()
        .namespaces)
}

/// Waits until all groups of a namespace are made.
pub(crate) async fn wait_made(client: &Client, name: &str, wait: Duration) -> Result<(), Trouble> {
    wait_for(
        &format!("making the groups of namespace {name}"),
        wait,
        async || {
            let made = find(client, name).await?.made;
            Ok(if made {
                Look::Reached(())
            } else {
                Look::NotYet("not all of them yet".to_owned())
            })
        },
    )
    .await
}

async fn find(client: &Client, name: &str) -> Result<v1::Namespace, Trouble> {
    let known = list(client).await?.into_iter().find(|known| known.name == name);
    known.ok_or_else(|| {
        let what = format!("namespace `{name}` does not exist");
        Trouble::refused(
            what,
            "see `covey namespace list`, or make it with `covey namespace create`",
        )
    })
}

async fn put(client: &Client, name: &str, policy: Policy, groups: u64) -> Result<v1::Namespace, Trouble> {
    let survive = match policy.survive {
        None => v1::Survival::Unspecified,
        Some(Survive::Zone) => v1::Survival::Zone,
        Some(Survive::Region) => v1::Survival::Region,
    };
    let request = v1::PutNamespaceRequest {
        name: name.to_owned(),
        home: policy.home.unwrap_or_default(),
        survive: survive.into(),
        groups,
    };
    let reply = client.cluster().put_namespace(client.request(request)).await?;
    Ok(reply.into_inner().namespace.unwrap_or_default())
}

fn card(namespace: &v1::Namespace) -> Card {
    Card::default()
        .with("namespace", namespace.name.clone())
        .with("groups", groups_text(namespace))
        .with("home", namespace.home.clone())
        .with("survive", survive_text(namespace))
        .with("made", namespace.made)
        .with("broken", namespace.broken.clone())
}

fn groups_text(namespace: &v1::Namespace) -> String {
    let last = namespace.first_group + namespace.groups.max(1) - 1;
    format!("{}-{last}", namespace.first_group)
}

fn survive_text(namespace: &v1::Namespace) -> &'static str {
    match namespace.survive() {
        v1::Survival::Unspecified => "",
        v1::Survival::Zone => "zone",
        v1::Survival::Region => "region",
    }
}
