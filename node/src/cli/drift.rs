//! `covey drift`: how far what is served has moved from what was trained on, and how good it still is.

use covey_proto::v1;
use serde_json::Value as Json;

use super::client::{Access, Client};
use super::output::{Card, Listing, Output, measure, moment};
use super::trouble::Trouble;

/// Verbs of `covey drift`.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Drift {
    /// List the verdicts per window; with --features per feature
    #[command(
        after_help = "Examples:\n  covey drift list flight-delay\n  covey drift list flight-delay --features"
    )]
    List {
        /// The deployment
        deployment: String,
        /// One line per feature of each window
        #[arg(long)]
        features: bool,
    },
    /// List the alerts
    #[command(after_help = "Examples:\n  covey drift alerts flight-delay")]
    Alerts {
        /// The deployment
        deployment: String,
    },
    /// List live metrics per window, from predictions and the labels that came later
    #[command(after_help = "Examples:\n  covey drift performance flight-delay")]
    Performance {
        /// The deployment
        deployment: String,
    },
    /// List the monitors
    #[command(after_help = "Examples:\n  covey drift monitors")]
    Monitors,
    /// Send what has been counted so far through the log and score it now
    #[command(after_help = "Examples:\n  covey drift flush flight-delay")]
    Flush {
        /// The deployment
        deployment: String,
    },
}

impl Drift {
    pub(super) async fn run(self, access: &Access) -> Result<(), Trouble> {
        let client = access.connect().await?;
        let of = |deployment| client.request(v1::ListDriftRequest { deployment });
        match self {
            Self::List { deployment, features } => {
                let reply = client.monitoring().list_drift(of(deployment)).await?.into_inner();
                let listing = if features {
                    per_feature(&reply.reports, access.output)
                } else {
                    per_window(&reply.reports, access.output)
                };
                listing.print(access.output);
            }
            Self::Alerts { deployment } => {
                let reply = client
                    .monitoring()
                    .list_alerts(of(deployment))
                    .await?
                    .into_inner();
                let mut listing = Listing::new(&["at", "monitor", "model", "version", "window", "features"]);
                for alert in reply.alerts {
                    listing.row([
                        moment(alert.at_micros),
                        alert.monitor.into(),
                        alert.model.into(),
                        alert.version.into(),
                        moment(alert.window_start_micros),
                        alert.features.into(),
                    ]);
                }
                listing.print(access.output);
            }
            Self::Performance { deployment } => {
                let reply = client
                    .monitoring()
                    .get_performance(of(deployment))
                    .await?
                    .into_inner();
                performance(&reply.windows, access.output).print(access.output);
            }
            Self::Monitors => monitors(&client).await?.print(access.output),
            Self::Flush { deployment } => {
                let request = client.request(v1::FlushDriftRequest { deployment });
                let reply = client.monitoring().flush_drift(request).await?.into_inner();
                Card::default().with("rows", reply.rows).print(access.output);
            }
        }
        Ok(())
    }
}

fn per_window(reports: &[v1::DriftReport], output: Output) -> Listing {
    let mut listing = Listing::new(&[
        "window",
        "model",
        "version",
        "rows",
        "drifted",
        "features drifted",
        "worst",
        "psi",
        "scored",
    ]);
    for report in reports {
        let worst = report.scores.iter().max_by(|a, b| a.psi.total_cmp(&b.psi));
        listing.row([
            moment(report.window_start_micros),
            report.model.clone().into(),
            report.version.into(),
            report.rows.into(),
            report.drifted.into(),
            report.scores.iter().filter(|score| score.drifted).count().into(),
            worst.map_or(Json::Null, |score| score.feature.clone().into()),
            worst.map_or(Json::Null, |score| measure(score.psi, output)),
            moment(report.scored_at_micros),
        ]);
    }
    listing
}

fn per_feature(reports: &[v1::DriftReport], output: Output) -> Listing {
    let mut listing = Listing::new(&[
        "window",
        "model",
        "version",
        "feature",
        "drifted",
        "psi",
        "js",
        "ks",
        "new categories",
    ]);
    for report in reports {
        for score in &report.scores {
            listing.row([
                moment(report.window_start_micros),
                report.model.clone().into(),
                report.version.into(),
                score.feature.clone().into(),
                score.drifted.into(),
                measure(score.psi, output),
                measure(score.js, output),
                score.ks.map_or(Json::Null, |ks| measure(ks, output)),
                measure(score.new_categories, output),
            ]);
        }
    }
    listing
}

fn performance(windows: &[v1::Performance], output: Output) -> Listing {
    let mut listing = Listing::new(&["window", "model", "version", "labels", "auc", "log loss"]);
    for window in windows {
        listing.row([
            moment(window.window_start_micros),
            window.model.clone().into(),
            window.version.into(),
            window.labels.into(),
            measure(window.auc, output),
            measure(window.log_loss, output),
        ]);
    }
    listing
}

async fn monitors(client: &Client) -> Result<Listing, Trouble> {
    let reply = client
        .monitoring()
        .list_monitors(client.request(v1::ListMonitorsRequest {}))
        .await?
        .into_inner();
    let mut listing = Listing::new(&[
        "monitor",
        "deployment",
        "window",
        "rows min",
        "psi",
        "js",
        "ks",
        "new categories",
        "share",
        "watch",
        "pipeline",
    ]);
    for monitor in reply.monitors {
        listing.row([
            monitor.name.into(),
            monitor.deployment.into(),
            covey_state::window::window_text(monitor.window_micros).into(),
            monitor.rows_min.into(),
            monitor.psi_threshold.into(),
            monitor.js_threshold.into(),
            monitor.ks_threshold.map_or(Json::Null, Json::from),
            monitor.new_category_share.map_or(Json::Null, Json::from),
            monitor.drift_share.into(),
            monitor.watch.into(),
            monitor.pipeline.into(),
        ]);
    }
    Ok(listing)
}
