//! `covey label`: labels that have become known.

use std::path::PathBuf;

use covey_proto::v1;
use covey_state::{DataType, Value};

use super::client::Access;
use super::output::Card;
use super::predict::id_text;
use super::progress;
use super::sheet::{Batch, Sheet, Types};
use super::trouble::Trouble;

/// Labels per request.
const LABELS_PER_REQUEST: usize = 1_000;

/// Verbs of `covey label`.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Label {
    /// Send the labels of a file
    #[command(after_help = "Examples:\n  \
        covey label push flight-delay --file outcomes.csv\n  \
        covey label push flight-delay --file outcomes.parquet --id-column flight_id --label-column late")]
    Push {
        /// The deployment that made the predictions
        deployment: String,
        /// The labels: .parquet, .csv or .jsonl
        #[arg(long, value_name = "FILE")]
        file: PathBuf,
        /// The column with the ids that the predictions were made under
        #[arg(long, default_value = "id", value_name = "COLUMN")]
        id_column: String,
        /// The column with the labels: numbers, or true and false
        #[arg(long, default_value = "label", value_name = "COLUMN")]
        label_column: String,
    },
}

impl Label {
    pub(super) async fn run(self, access: &Access) -> Result<(), Trouble> {
        let Self::Push {
            deployment,
            file,
            id_column,
            label_column,
        } = self;
        let client = access.connect().await?;
        // Ids are texts, however much they look like numbers.
        let types = Types::from([(id_column.clone(), DataType::String)]);
        let mut sheet = Sheet::open(&file, types, LABELS_PER_REQUEST)?;
        let bar = sheet.rows.map_or_else(
            || progress::counter("labels"),
            |rows| progress::bar(rows, "labels"),
        );
        let (mut joined, mut unmatched) = (0, 0);
        while let Some(mut batch) = sheet.next_batch()? {
            let labels = labels(&mut batch, &id_column, &label_column)?;
            bar.inc(labels.len() as u64);
            let request_id = uuid::Uuid::new_v4().as_bytes().to_vec().into();
            let request = v1::RecordLabelsRequest {
                deployment: deployment.clone(),
                labels,
                request_id,
            };
            let reply = client
                .monitoring()
                .record_labels(client.request(request))
                .await?
                .into_inner();
            joined += reply.joined;
            unmatched += reply.unmatched;
        }
        bar.finish_and_clear();
        Card::default()
            .with("joined", joined)
            .with("without prediction", unmatched)
            .print(access.output);
        Ok(())
    }
}

fn labels(batch: &mut Batch, id_column: &str, label_column: &str) -> Result<Vec<v1::Label>, Trouble> {
    let mut column = |name: &str, option: &str| {
        batch.take(name).ok_or_else(|| {
            Trouble::refused(
                format!("the file has no column `{name}`"),
                format!("name it with --{option}"),
            )
        })
    };
    let (ids, labels) = (
        column(id_column, "id-column")?,
        column(label_column, "label-column")?,
    );
    let label = |(id, label): (&Value, &Value)| match label.as_number() {
        Some(number) => Ok(v1::Label {
            id: id_text(id),
            label: number,
        }),
        None => Err(Trouble::refused(
            format!("label {label} of `{}` is no number", id_text(id)),
            "leave out rows whose label is not known yet",
        )),
    };
    ids.iter().zip(&labels).map(label).collect()
}
