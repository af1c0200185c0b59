//! A way to a node that can be slow and can break.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Connections to `address` go on to a node; what is sent there arrives late, the answers do not.
pub(crate) struct Proxy {
    pub(crate) address: String,
    connections: Arc<Mutex<JoinSet<()>>>,
}

impl Proxy {
    pub(crate) async fn to(target: String, delay: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let connections = Arc::new(Mutex::new(JoinSet::new()));
        let theirs = Arc::clone(&connections);
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let Ok(far) = TcpStream::connect(&target).await else {
                    continue;
                };
                near.set_nodelay(true).unwrap();
                far.set_nodelay(true).unwrap();
                theirs.lock().unwrap().spawn(carry(near, far, delay));
            }
        });
        Self { address, connections }
    }

    /// Breaks every connection. New ones can be made.
    pub(crate) fn break_all(&self) {
        self.connections.lock().unwrap().abort_all();
    }
}

async fn carry(near: TcpStream, far: TcpStream, delay: Duration) {
    let ((near_read, mut near_write), (mut far_read, far_write)) = (near.into_split(), far.into_split());
    let (sender, waiting) = mpsc::channel(10_000);
    // Whatever ends first ends the connection.
    tokio::select! {
        () = take(near_read, sender, delay) => {}
        () = give(waiting, far_write) => {}
        _ = tokio::io::copy(&mut far_read, &mut near_write) => {}
    }
}

async fn take(mut from: OwnedReadHalf, to: mpsc::Sender<(Instant, Vec<u8>)>, delay: Duration) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(count) = from.read(&mut buffer).await {
        let late = (Instant::now() + delay, buffer[..count].to_vec());
        if count == 0 || to.send(late).await.is_err() {
            return;
        }
    }
}

async fn give(mut waiting: mpsc::Receiver<(Instant, Vec<u8>)>, mut to: OwnedWriteHalf) {
    while let Some((due, bytes)) = waiting.recv().await {
        // Nothing else ends this wait than its time.
        let _ = tokio::time::timeout_at(due, std::future::pending::<()>()).await;
        if to.write_all(&bytes).await.is_err() {
            return;
        }
    }
}
