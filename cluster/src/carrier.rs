//! What carries calls to peers: connections of the network or, in a simulation, whatever has to stand for them.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use tonic::body::Body;
use tonic::codegen::{Service, http};
use tonic::transport::Channel;

use crate::identity::Peer;

/// What comes of a call.
pub type Reply = Result<http::Response<Body>, Box<dyn Error + Send + Sync>>;

/// Carries calls between hosts in the place of the network. The bodies are those of gRPC, so the receiving end is the
/// service of a [`crate::Host::peer_service`].
pub trait Carrier: fmt::Debug + Send + Sync + 'static {
    /// Carries a call to `to` and its answer back. Like a network it may lose, delay, repeat or reorder what it likes.
    fn carry(&self, to: &Peer, call: http::Request<Body>) -> BoxFuture<'static, Reply>;
}

/// The way to one peer.
#[derive(Debug, Clone)]
pub(crate) enum Line {
    /// A connection, which comes up when it is used.
    Network(Channel),
    /// See [`Carrier`].
    Carried(Arc<dyn Carrier>, Peer),
}

impl Service<http::Request<Body>> for Line {
    type Response = http::Response<Body>;
    type Error = Box<dyn Error + Send + Sync>;
    type Future = BoxFuture<'static, Reply>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        match self {
            Self::Network(channel) => channel.poll_ready(context).map_err(Into::into),
            Self::Carried(..) => Poll::Ready(Ok(())),
        }
    }

    fn call(&mut self, call: http::Request<Body>) -> Self::Future {
        match self {
            Self::Network(channel) => {
                let called = channel.call(call);
                async { Ok(called.await?) }.boxed()
            }
            Self::Carried(carrier, to) => carrier.carry(to, call),
        }
    }
}
