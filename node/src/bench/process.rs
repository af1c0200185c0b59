//! What a process has used, as the kernel counts it.

use anyhow::{Context, Result};
use tonic::transport::{Channel, Endpoint};

use crate::demo::DemoCluster;

/// Ticks of the kernel's clock in a second; fixed on Linux as far as user space sees it.
const TICKS_PER_SECOND: f64 = 100.0;

/// What a process has used.
#[derive(Debug, Clone, Copy)]
pub(super) struct ProcessUse {
    /// Seconds of one core, in user and kernel mode, since it began.
    pub(super) cpu_seconds: f64,
    /// Resident memory now.
    pub(super) rss_mib: f64,
    /// The most resident memory since it began, or since [`forget_peak`].
    pub(super) peak_mib: f64,
}

/// Lets the kernel count the nodes' peaks of memory anew.
pub(super) fn forget_peaks(cluster: &DemoCluster) -> Result<()> {
    cluster.process_ids().into_iter().try_for_each(forget_peak)
}

/// The largest peak of the nodes, in MiB.
pub(super) fn peak(cluster: &DemoCluster) -> Result<f64> {
    let mut peaks = cluster
        .process_ids()
        .into_iter()
        .map(|id| Ok(use_of(id)?.peak_mib));
    peaks.try_fold(0.0, |most, peak: Result<f64>| Ok(f64::max(most, peak?)))
}

/// A connection that sends at once.
pub(super) async fn connect(endpoint: &str) -> Result<Channel> {
    let endpoint = Endpoint::from_shared(endpoint.to_owned())?.tcp_nodelay(true);
    endpoint.connect().await.context("connecting")
}

/// Lets the kernel count a process's peak of memory anew.
pub(super) fn forget_peak(id: u32) -> Result<()> {
    let path = format!("/proc/{id}/clear_refs");
    std::fs::write(&path, "5").with_context(|| format!("cannot write {path}"))
}

/// Reads it from `/proc`.
pub(super) fn use_of(id: u32) -> Result<ProcessUse> {
    let read = |file: &str| {
        let path = format!("/proc/{id}/{file}");
        std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))
    };
    let cpu_seconds = cpu_seconds(&read("stat")?).context("/proc/<id>/stat has no times")?;
    let status = read("status")?;
    let memory =
        |field: &str| mebibytes(&status, field).with_context(|| format!("/proc/<id>/status has no {field}"));
    Ok(ProcessUse {
        cpu_seconds,
        rss_mib: memory("VmRSS:")?,
        peak_mib: memory("VmHWM:")?,
    })
}

/// The 14th and 15th field; the second one is a name in parentheses that may hold anything.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let kernel: f64 = fields.next()?.parse().ok()?;
    Some((user + kernel) / TICKS_PER_SECOND)
}

fn mebibytes(status: &str, field: &str) -> Option<f64> {
    let line = status.lines().find(|line| line.starts_with(field))?;
    let kib: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib / 1_024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_times_are_found_behind_a_name_with_a_parenthesis() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 100 0 0 0 150 50 0 0 20 0 4 0 100 1 1";
        assert_eq!(cpu_seconds(stat), Some(2.0));
    }

    #[test]
    fn this_process_uses_memory() {
        let used = use_of(std::process::id()).unwrap();
        assert!(used.rss_mib > 1.0 && used.peak_mib >= used.rss_mib);
    }
}
