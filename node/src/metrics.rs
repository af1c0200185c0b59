//! Every metric of this crate: names, units and help. Other crates' metrics are collected by the same registry.

use prometheus::{
    Encoder, HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry, TextEncoder, exponential_buckets,
};

use crate::error::Failure;

/// What a node measures.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// Requests by method and gRPC code.
    pub requests: IntCounterVec,
    /// Seconds from a request's first byte to its answer's first byte, by method and gRPC code.
    pub request_seconds: HistogramVec,
}

impl Metrics {
    /// Metrics in a registry of their own.
    pub fn new() -> Result<Self, Failure> {
        let metrics = Self {
            registry: Registry::new(),
            requests: counters("covey_requests_total", "requests by method and gRPC code")?,
            request_seconds: seconds("covey_request_duration_seconds", "seconds per request by method and code")?,
        };
        metrics.register(Box::new(metrics.requests.clone()))?;
        metrics.register(Box::new(metrics.request_seconds.clone()))?;
        Ok(metrics)
    }

    /// The registry, for the collectors of other crates and of services.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Collects one more thing.
    pub fn register(&self, collector: Box<dyn prometheus::core::Collector>) -> Result<(), Failure> {
        self.registry.register(collector).map_err(failed)
    }

    /// All metrics in Prometheus' text format.
    pub fn text(&self) -> Result<String, Failure> {
        let mut bytes = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut bytes).map_err(failed)?;
        String::from_utf8(bytes).map_err(|error| Failure::internal("encoding the metrics", error))
    }
}

fn counters(name: &str, help: &str) -> Result<IntCounterVec, Failure> {
    IntCounterVec::new(Opts::new(name, help), &["method", "code"]).map_err(failed)
}

fn seconds(name: &str, help: &str) -> Result<HistogramVec, Failure> {
    let buckets = exponential_buckets(0.0005, 2.0, 17).map_err(failed)?;
    HistogramVec::new(HistogramOpts::new(name, help).buckets(buckets), &["method", "code"]).map_err(failed)
}

fn failed(error: prometheus::Error) -> Failure {
    Failure::internal("registering or encoding a metric", error)
}
