//! A client of the cluster: it asks a node of its choice, and says of every write whether it is done, not done, or unknown.
//!
//! Invariant: a write is called failed only if it certainly did not happen: it was never sent, or the cluster refused it
//! with a code that is an answer. Everything else is unknown (see the page on outcomes in README.md).

mod calls;

use std::sync::Arc;
use std::time::Duration;

use covey_proto::v1;
use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};

pub(crate) use calls::{EVENT_TIME, Numbered, column, integer, integer_of, moment, rows, text};

use crate::fleet::Fleet;
use crate::history::{Answer, Call, Event, Outcome, Recorder};

/// How long an operation may take at the server.
const DEADLINE: Duration = Duration::from_secs(4);
/// How much longer the client waits for the answer.
const GRACE: Duration = Duration::from_secs(1);
/// How long it takes at most to connect.
const CONNECT_LIMIT: Duration = Duration::from_millis(500);

/// Why something was not answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// It certainly did not happen.
    NotDone(String),
    /// Nobody knows.
    Unknown(String),
    /// A condition that the request named did not hold.
    Mismatch,
    /// The thing is not there.
    Missing,
}

impl Trouble {
    /// What the answer of a server means for a write.
    fn of(status: &Status) -> Self {
        let why = format!("{:?}: {}", status.code(), status.message());
        let code = status
            .metadata()
            .get("covey-code")
            .and_then(|code| code.to_str().ok());
        match status.code() {
            Code::Aborted => Self::Mismatch,
            Code::NotFound => Self::Missing,
            Code::InvalidArgument
            | Code::AlreadyExists
            | Code::FailedPrecondition
            | Code::OutOfRange
            | Code::PermissionDenied
            | Code::Unauthenticated
            | Code::Unimplemented => Self::NotDone(why),
            Code::ResourceExhausted if code == Some("limit") => Self::NotDone(why),
            Code::Ok
            | Code::Cancelled
            | Code::Unknown
            | Code::DeadlineExceeded
            | Code::ResourceExhausted
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss => Self::Unknown(why),
        }
    }

    /// As the outcome of a write.
    pub(crate) fn of_write(self) -> Outcome {
        match self {
            Self::NotDone(why) => Outcome::Failed { why },
            Self::Missing => Outcome::Failed {
                why: "not found".to_owned(),
            },
            Self::Mismatch => Outcome::Ok {
                answer: Answer::Mismatch,
            },
            Self::Unknown(why) => Outcome::Unknown { why },
        }
    }

    /// As the outcome of a read, which changes nothing and so has failed in any case.
    pub(crate) fn of_read(self) -> Outcome {
        let why = match self {
            Self::NotDone(why) | Self::Unknown(why) => why,
            Self::Mismatch => "conflict".to_owned(),
            Self::Missing => "not found".to_owned(),
        };
        Outcome::Failed { why }
    }

    /// Whether the same request may still be carried out, or already was.
    pub(crate) fn is_unknown(&self) -> bool {
        matches!(self, Self::Unknown(_))
    }
}

/// One client, used by one task.
pub(crate) struct Client {
    name: String,
    number: usize,
    fleet: Arc<Fleet>,
    recorder: Arc<Recorder>,
    channels: Vec<Option<Channel>>,
    /// Its own randomness, from the seed of the run.
    pub(crate) random: Xoshiro256PlusPlus,
    /// The node that it asks.
    node: usize,
}

impl Client {
    /// The client with a number, of a workload.
    pub(crate) fn new(
        workload: &str,
        number: usize,
        seed: u64,
        (fleet, recorder): (Arc<Fleet>, Arc<Recorder>),
    ) -> Self {
        Self {
            name: format!("{workload}-{number}"),
            number,
            channels: vec![None; fleet.size()],
            node: number % fleet.size() + 1,
            fleet,
            recorder,
            random: Xoshiro256PlusPlus::seed_from_u64(seed),
        }
    }

    /// Its number among the clients of the workload.
    pub(crate) fn number(&self) -> usize {
        self.number
    }

    /// Its name, by which its writes are numbered.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Turns to any node.
    pub(crate) fn turn(&mut self) {
        self.node = self.random.gen_range(1..=self.fleet.size());
    }

    /// The present moment of the run.
    pub(crate) fn now_us(&self) -> u64 {
        self.recorder.now_us()
    }

    /// Writes an operation down that began at `called_us` and ends now.
    pub(crate) fn record(&self, (workload, key): (&str, &str), call: Call, called_us: u64, outcome: Outcome) {
        self.recorder.record(Event {
            client: self.name.clone(),
            node: self.node,
            workload: workload.to_owned(),
            key: key.to_owned(),
            call,
            called_us,
            ended_us: self.recorder.now_us(),
            outcome,
        });
    }

    /// Asks the node; `ask` gets a channel that is connected.
    pub(crate) async fn ask<T>(
        &mut self,
        ask: impl AsyncFnOnce(Channel) -> Result<tonic::Response<T>, Status>,
    ) -> Result<T, Trouble> {
        let channel = self.connected().await?;
        match tokio::time::timeout(DEADLINE + GRACE, ask(channel)).await {
            Ok(Ok(answer)) => Ok(answer.into_inner()),
            Ok(Err(status)) => {
                if status.code() == Code::Unavailable {
                    // Perhaps the node is gone; the next request finds out before it is sent.
                    self.channels[self.node - 1] = None;
                }
                Err(Trouble::of(&status))
            }
            Err(_) => {
                self.channels[self.node - 1] = None;
                Err(Trouble::Unknown("the node did not answer".to_owned()))
            }
        }
    }

    /// A request with the deadline that all have.
    pub(crate) fn request<T>(message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.set_timeout(DEADLINE);
        request
    }

    /// A channel to the node whose connection has been made.
    async fn connected(&mut self) -> Result<Channel, Trouble> {
        let place = self.node - 1;
        if let Some(channel) = &self.channels[place] {
            return Ok(channel.clone());
        }
        let not_sent = |why: &dyn std::fmt::Display| Trouble::NotDone(format!("not sent: {why}"));
        let address = format!("http://{}", self.fleet.api(self.node));
        let endpoint = Endpoint::from_shared(address).map_err(|error| not_sent(&error))?;
        let endpoint = endpoint.connect_timeout(CONNECT_LIMIT);
        // A node that is paused accepts the connection, but not the preface.
        let connected = tokio::time::timeout(2 * CONNECT_LIMIT, endpoint.connect()).await;
        let channel = connected
            .map_err(|_| not_sent(&"no connection in time"))?
            .map_err(|error| not_sent(&error))?;
        self.channels[place] = Some(channel.clone());
        Ok(channel)
    }
}

/// A freshness on the wire.
pub(crate) fn consistency(kind: v1::consistency::Kind) -> v1::Consistency {
    v1::Consistency { kind: Some(kind) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_refused_is_called_not_done() {
        let refused = Trouble::of(&Status::invalid_argument("no"));
        assert!(matches!(refused.of_write(), Outcome::Failed { .. }));
        for status in [
            Status::unavailable("gone"),
            Status::deadline_exceeded("late"),
            Status::resource_exhausted("busy"),
            Status::internal("broken"),
            Status::data_loss("flipped"),
        ] {
            assert!(Trouble::of(&status).is_unknown(), "{status:?}");
        }
        let lost = Trouble::of(&Status::aborted("conflict")).of_write();
        assert_eq!(
            lost,
            Outcome::Ok {
                answer: Answer::Mismatch
            }
        );
    }
}
