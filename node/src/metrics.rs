//! Every metric of this crate: names, units and help. Other crates' metrics are collected by the same registry.

use std::collections::BTreeMap;

use covey_state::NodeId;
use prometheus::{
    Encoder, GaugeVec, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, TextEncoder, exponential_buckets,
};

use crate::clock::Offset;
use crate::error::Failure;

/// What a node measures.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// Requests by method and gRPC code.
    pub requests: IntCounterVec,
    /// Seconds from a request's first byte to its answer's first byte, by method and gRPC code.
    pub request_seconds: HistogramVec,
    /// What serving and drift monitoring measure.
    pub serving: ServingMetrics,
    /// What comparing replicas measures.
    pub verify: VerifyMetrics,
    /// What comparing clocks measures.
    pub clocks: ClockMetrics,
}

/// What comparing clocks measures.
#[derive(Debug)]
pub struct ClockMetrics {
    /// How far this node's clock is ahead of each other one's, in seconds, by node.
    ahead: GaugeVec,
    /// 1 while this node's clock is doubted, else 0.
    doubted: IntGauge,
}

/// What comparing replicas measures, on the node that has them compared.
#[derive(Debug)]
pub struct VerifyMetrics {
    /// When all replicas were last found the same, in seconds since 1970, by group.
    pub last_equal: IntGaugeVec,
    /// Replicas found different, disputed or damaged, by group.
    pub differences: IntCounterVec,
    /// Replicas by what was found of them.
    pub replicas: IntCounterVec,
    /// Bytes of keys and values compared, counted once for all replicas.
    pub bytes: IntCounter,
}

/// What serving and drift monitoring measure.
#[derive(Debug)]
pub struct ServingMetrics {
    /// Rows predicted on this node, by deployment and version.
    pub predictions: IntCounterVec,
    /// Rows of them that the cache answered, by deployment.
    pub cache_hits: IntCounterVec,
    /// Seconds per prediction request that came to this node, by deployment.
    pub seconds: HistogramVec,
    /// Requests refused because every replica's queue here was full, by deployment.
    pub refused: IntCounterVec,
    /// Requests that wait at replicas on this node, by deployment.
    pub queue_depth: IntGaugeVec,
    /// Replicas started again after a failure, by deployment.
    pub restarts: IntCounterVec,
    /// Served rows that drift monitoring had to drop, by deployment.
    pub uncounted: IntCounterVec,
}

impl Metrics {
    /// Metrics in a registry of their own.
    pub fn new() -> Result<Self, Failure> {
        let metrics = Self {
            registry: Registry::new(),
            requests: counters("covey_requests_total", "requests by method and gRPC code")?,
            request_seconds: seconds(
                "covey_request_duration_seconds",
                "seconds per request by method and code",
            )?,
            serving: ServingMetrics::new()?,
            verify: VerifyMetrics::new()?,
            clocks: ClockMetrics::new()?,
        };
        metrics.serving.register(&metrics.registry)?;
        metrics.verify.register(&metrics.registry)?;
        metrics.register(Box::new(metrics.clocks.ahead.clone()))?;
        metrics.register(Box::new(metrics.clocks.doubted.clone()))?;
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
        TextEncoder::new()
            .encode(&self.registry.gather(), &mut bytes)
            .map_err(failed)?;
        String::from_utf8(bytes).map_err(|error| Failure::internal("encoding the metrics", error))
    }
}

impl ClockMetrics {
    fn new() -> Result<Self, Failure> {
        let ahead = Opts::new(
            "covey_clock_ahead_seconds",
            "how far this node's clock is ahead of that of another node",
        );
        Ok(Self {
            ahead: GaugeVec::new(ahead, &["peer"]).map_err(failed)?,
            doubted: IntGauge::new(
                "covey_clock_doubted",
                "1 while this node takes no writes because other clocks differ",
            )
            .map_err(failed)?,
        })
    }

    /// Shows what was found out; nodes that are not heard of are not shown.
    pub fn show(&self, offsets: &BTreeMap<NodeId, Offset>, doubted: bool) {
        self.ahead.reset();
        for (node, offset) in offsets {
            let seconds = offset.ahead_micros as f64 / 1e6;
            self.ahead.with_label_values(&[&node.to_string()]).set(seconds);
        }
        self.doubted.set(i64::from(doubted));
    }
}

impl VerifyMetrics {
    fn new() -> Result<Self, Failure> {
        let counter = |name: &str, help: &str, label: &str| {
            IntCounterVec::new(Opts::new(name, help), &[label]).map_err(failed)
        };
        let last_equal = Opts::new(
            "covey_verify_last_equal_timestamp_seconds",
            "when all replicas of a group were last found the same",
        );
        Ok(Self {
            last_equal: IntGaugeVec::new(last_equal, &["group"]).map_err(failed)?,
            differences: counter(
                "covey_verify_differences_total",
                "replicas found different, disputed or damaged",
                "group",
            )?,
            replicas: counter(
                "covey_verify_replicas_total",
                "replicas by what was found of them",
                "verdict",
            )?,
            bytes: IntCounter::new(
                "covey_verify_bytes_total",
                "bytes compared, once for all replicas",
            )
            .map_err(failed)?,
        })
    }

    fn register(&self, registry: &Registry) -> Result<(), Failure> {
        for collector in [&self.differences, &self.replicas] {
            registry.register(Box::new(collector.clone())).map_err(failed)?;
        }
        registry
            .register(Box::new(self.last_equal.clone()))
            .map_err(failed)?;
        registry.register(Box::new(self.bytes.clone())).map_err(failed)
    }
}

impl ServingMetrics {
    fn new() -> Result<Self, Failure> {
        let counter = |name: &str, help: &str, labels: &[&str]| {
            IntCounterVec::new(Opts::new(name, help), labels).map_err(failed)
        };
        let gauge =
            |name: &str, help: &str| IntGaugeVec::new(Opts::new(name, help), &["deployment"]).map_err(failed);
        let buckets = exponential_buckets(0.000_05, 2.0, 18).map_err(failed)?;
        let seconds = HistogramOpts::new(
            "covey_prediction_duration_seconds",
            "seconds per prediction request",
        );
        let seconds = HistogramVec::new(seconds.buckets(buckets), &["deployment"]).map_err(failed)?;
        Ok(Self {
            predictions: counter(
                "covey_predictions_total",
                "rows predicted",
                &["deployment", "version"],
            )?,
            cache_hits: counter(
                "covey_prediction_cache_hits_total",
                "rows from the cache",
                &["deployment"],
            )?,
            seconds,
            refused: counter(
                "covey_predictions_refused_total",
                "requests refused by full queues",
                &["deployment"],
            )?,
            queue_depth: gauge("covey_replica_queue_depth", "requests that wait at replicas here")?,
            restarts: counter(
                "covey_replica_restarts_total",
                "replicas started again",
                &["deployment"],
            )?,
            uncounted: counter(
                "covey_drift_uncounted_total",
                "served rows drift had to drop",
                &["deployment"],
            )?,
        })
    }

    fn register(&self, registry: &Registry) -> Result<(), Failure> {
        let counters = [
            &self.predictions,
            &self.cache_hits,
            &self.refused,
            &self.restarts,
            &self.uncounted,
        ];
        for counter in counters {
            registry.register(Box::new(counter.clone())).map_err(failed)?;
        }
        registry
            .register(Box::new(self.seconds.clone()))
            .map_err(failed)?;
        registry
            .register(Box::new(self.queue_depth.clone()))
            .map_err(failed)
    }
}

fn counters(name: &str, help: &str) -> Result<IntCounterVec, Failure> {
    IntCounterVec::new(Opts::new(name, help), &["method", "code"]).map_err(failed)
}

fn seconds(name: &str, help: &str) -> Result<HistogramVec, Failure> {
    let buckets = exponential_buckets(0.0005, 2.0, 17).map_err(failed)?;
    HistogramVec::new(
        HistogramOpts::new(name, help).buckets(buckets),
        &["method", "code"],
    )
    .map_err(failed)
}

fn failed(error: prometheus::Error) -> Failure {
    Failure::internal("registering or encoding a metric", error)
}
