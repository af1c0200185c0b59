//! Files on their way into the artifact store and out of it.

use std::fs::{File, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use covey_proto::v1;
use covey_state::Digest;
use sha2::{Digest as _, Sha256};
use tokio_stream::wrappers::ReceiverStream;

use super::client::Client;
use super::progress;
use super::trouble::Trouble;

/// Bytes per message.
const PART_BYTES: usize = 256 << 10;
/// Messages that may wait between the file and the connection.
const PARTS_WAITING: usize = 4;

/// Stores a local file and answers with its manifest.
pub(super) async fn upload(client: &Client, path: &Path) -> Result<v1::Artifact, Trouble> {
    let mut file = File::open(path).map_err(|error| Trouble::file(path, &error))?;
    let length = file
        .metadata()
        .map_err(|error| Trouble::file(path, &error))?
        .len();
    let name = path
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    let bar = progress::bar(length, "uploading");
    let (parts, waiting) = tokio::sync::mpsc::channel(PARTS_WAITING);
    let shown = path.to_owned();
    let reading = tokio::task::spawn_blocking(move || -> Result<(), Trouble> {
        let mut name = Some(name);
        loop {
            let mut data = vec![0; PART_BYTES];
            let read = file
                .read(&mut data)
                .map_err(|error| Trouble::file(&shown, &error))?;
            data.truncate(read);
            if read == 0 && name.is_none() {
                return Ok(());
            }
            bar.inc(read as u64);
            let part = v1::UploadArtifactRequest {
                name: name.take().unwrap_or_default(),
                data: data.into(),
            };
            // The other side has hung up: its own answer says why.
            if parts.blocking_send(part).is_err() {
                return Ok(());
            }
        }
    });
    let request = client.long_request(ReceiverStream::new(waiting));
    let reply = client.registry().upload_artifact(request).await;
    reading
        .await
        .map_err(|error| Trouble::refused(format!("reading stopped: {error}"), "repeat the command"))??;
    Ok(reply?.into_inner())
}

/// Fetches a stored file, checks it, and moves it to its place only when it is whole.
pub(super) async fn download(client: &Client, artifact: &v1::Artifact, to: &Path) -> Result<(), Trouble> {
    let trouble = |error: std::io::Error| Trouble::file(to, &error);
    let folder = to
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    // What was asked for by name is an ordinary file, not a private one.
    let ordinary = Permissions::from_mode(0o666);
    let mut file = tempfile::Builder::new()
        .permissions(ordinary)
        .tempfile_in(folder)
        .map_err(trouble)?;
    let bar = progress::bar(artifact.bytes, "downloading");
    let request = v1::DownloadArtifactRequest {
        artifact: Some(artifact.clone()),
    };
    let mut parts = client
        .registry()
        .download_artifact(client.long_request(request))
        .await?
        .into_inner();
    let mut hasher = Sha256::new();
    while let Some(part) = parts.message().await? {
        hasher.update(&part.data);
        file.write_all(&part.data).map_err(trouble)?;
        bar.inc(part.data.len() as u64);
    }
    bar.finish_and_clear();
    let found = Digest::new(hasher.finalize().into()).to_string();
    if found != artifact.sha256 {
        let what = format!(
            "`{}` came with SHA-256 {found} instead of {}",
            artifact.name, artifact.sha256
        );
        return Err(Trouble::refused(
            what,
            "repeat the command with another --endpoint; nothing was written",
        ));
    }
    file.persist(to).map_err(|error| trouble(error.error))?;
    Ok(())
}
