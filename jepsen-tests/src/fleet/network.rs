//! What connects the nodes: loopback, or a bridge and one network namespace for each node.
//!
//! In namespaces every node has an address of its own, so packets between any two can be dropped in either direction
//! without touching those of clients, which come from the bridge's own address.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::delay::{Carried, Delays};
use super::system::{run, run_at_the_end, tool};

/// Where clients are served, in namespaces.
const API_PORT: u16 = 7_400;
/// Where peers are served, in namespaces.
const PEER_PORT: u16 = 7_401;

/// Where `ip netns` keeps the namespaces that it has named.
const ENTRANCES: &str = "/run/netns";

/// What nodes are connected by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum NetworkKind {
    /// Namespaces if this machine lets us make them, else loopback
    Auto,
    /// One machine's loopback: no partitions, no loss
    Loopback,
    /// One network namespace for each node; needs root, `ip` and `iptables`
    Namespaces,
}

/// Whether a network of this kind can be made here that drops packets between nodes.
pub(crate) async fn can_cut(kind: NetworkKind) -> bool {
    kind != NetworkKind::Loopback && Namespaces::make(1).await.is_ok()
}

/// Whether packets between its nodes can also be held up.
pub(crate) async fn can_delay(kind: NetworkKind) -> bool {
    if kind == NetworkKind::Loopback {
        return false;
    }
    let Ok(network) = Namespaces::make(1).await.map(Network::Namespaces) else {
        return false;
    };
    let (at, from) = (1, 1);
    let way = Way {
        at,
        from,
        takes: Duration::ZERO,
    };
    match network.hold_up("probe", &[way]).await {
        Ok(delays) => network.hurry("probe", delays).await.is_ok(),
        Err(_) => false,
    }
}

/// The network of a fleet.
pub(crate) enum Network {
    Loopback { ports: Vec<(u16, u16)> },
    Namespaces(Namespaces),
}

/// A bridge and the namespaces behind it, named after this process.
pub(crate) struct Namespaces {
    tag: String,
    subnet: String,
    count: usize,
}

impl Network {
    /// Makes the network for so many nodes.
    pub(crate) async fn make(kind: NetworkKind, count: usize) -> Result<Self> {
        match kind {
            NetworkKind::Loopback => Self::loopback(count),
            NetworkKind::Namespaces => Namespaces::make(count).await.map(Self::Namespaces),
            NetworkKind::Auto => match Namespaces::make(count).await {
                Ok(namespaces) => Ok(Self::Namespaces(namespaces)),
                Err(error) => {
                    eprintln!("no network namespaces, so no partitions and no loss: {error:#}");
                    Self::loopback(count)
                }
            },
        }
    }

    fn loopback(count: usize) -> Result<Self> {
        // All are held until all are chosen, so no two are the same.
        let mut held = Vec::new();
        for _ in 0..2 * count {
            held.push(TcpListener::bind("127.0.0.1:0").context("no free port on loopback")?);
        }
        let mut ports = Vec::new();
        for pair in held.chunks_exact(2) {
            ports.push((pair[0].local_addr()?.port(), pair[1].local_addr()?.port()));
        }
        Ok(Self::Loopback { ports })
    }

    /// Whether packets between nodes can be dropped.
    pub(crate) fn can_cut(&self) -> bool {
        matches!(self, Self::Namespaces(_))
    }

    /// `loopback` or `namespaces`.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Loopback { .. } => "loopback",
            Self::Namespaces(_) => "namespaces",
        }
    }

    /// Where clients reach a node.
    pub(crate) fn api_address(&self, number: usize) -> String {
        match self {
            Self::Loopback { ports } => format!("127.0.0.1:{}", ports[number - 1].0),
            Self::Namespaces(namespaces) => format!("{}:{API_PORT}", namespaces.address(number)),
        }
    }

    /// Where peers reach it.
    pub(crate) fn peer_address(&self, number: usize) -> String {
        match self {
            Self::Loopback { ports } => format!("127.0.0.1:{}", ports[number - 1].1),
            Self::Namespaces(namespaces) => format!("{}:{PEER_PORT}", namespaces.address(number)),
        }
    }

    /// The words before a command that make it run where a node is.
    pub(crate) fn prefix(&self, number: usize) -> Vec<String> {
        match self {
            Self::Loopback { .. } => Vec::new(),
            Self::Namespaces(namespaces) => {
                let words = ["ip", "netns", "exec", &namespaces.namespace(number)];
                words.map(str::to_owned).to_vec()
            }
        }
    }

    /// Drops packets as described until [`Network::mend`] is called with what this gives.
    pub(crate) async fn cut(&self, name: &str, cuts: &[Cut]) -> Result<()> {
        let Self::Namespaces(namespaces) = self else {
            bail!("on loopback no packets can be dropped");
        };
        for cut in cuts {
            namespaces.drop_packets(name, cut).await?;
        }
        Ok(())
    }

    /// Lets packets through again that a cut of this name dropped; gives how many it dropped.
    pub(crate) async fn mend(&self, name: &str, cuts: &[Cut]) -> Result<u64> {
        let Self::Namespaces(namespaces) = self else {
            return Ok(0);
        };
        let mut at: Vec<usize> = cuts.iter().map(|cut| cut.at).collect();
        at.sort_unstable();
        at.dedup();
        let mut dropped = 0;
        for number in at {
            dropped += namespaces.let_through(name, number).await?;
        }
        Ok(dropped)
    }

    /// Lets packets take their time until [`Network::hurry`] is called with what this gives.
    pub(crate) async fn hold_up(&self, name: &str, ways: &[Way]) -> Result<Delays> {
        let Self::Namespaces(namespaces) = self else {
            bail!("on loopback no packets can be held up");
        };
        let mut by_node: BTreeMap<usize, BTreeMap<u16, Duration>> = BTreeMap::new();
        for way in ways {
            let queue = u16::try_from(way.from).context("a node's number is a queue's")?;
            by_node.entry(way.at).or_default().insert(queue, way.takes);
        }
        let mut delays = Delays::default();
        for (at, ways) in by_node {
            let senders: Vec<u16> = ways.keys().copied().collect();
            delays.add(at, &namespaces.entrance(at), ways)?;
            for sender in senders {
                namespaces.queue_packets(name, at, sender).await?;
            }
        }
        Ok(delays)
    }

    /// Lets packets through at once again; gives what was held up.
    pub(crate) async fn hurry(&self, name: &str, delays: Delays) -> Result<Carried> {
        if let Self::Namespaces(namespaces) = self {
            // First nothing more is queued, then what is queued goes on.
            for at in delays.nodes() {
                namespaces.let_through(name, at).await?;
            }
        }
        delays.end()
    }
}

/// Packets that take long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Way {
    /// The node that gets them.
    pub(crate) at: usize,
    /// The sender.
    pub(crate) from: usize,
    /// How long they are under way.
    pub(crate) takes: Duration,
}

/// Packets that a node does not get.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Cut {
    /// The node.
    pub(crate) at: usize,
    /// The sender.
    pub(crate) from: usize,
    /// Which part of them.
    pub(crate) share: f64,
}

impl Namespaces {
    async fn make(count: usize) -> Result<Self> {
        for program in ["ip", "iptables"] {
            if tool(program).is_none() {
                bail!("`{program}` is not installed");
            }
        }
        let id = process::id();
        let network = Self {
            tag: format!("cj{}", id % 100_000),
            subnet: format!("10.{}.{}", 100 + (id >> 8) % 100, id & 0xff),
            count,
        };
        network.clear();
        // From here on whatever was made is taken away again when `network` is dropped.
        let (bridge, own) = (&network.tag, format!("{}.1/24", network.subnet));
        run("ip", &["link", "add", bridge, "type", "bridge"]).await?;
        run("ip", &["addr", "add", &own, "dev", bridge]).await?;
        run("ip", &["link", "set", bridge, "up"]).await?;
        for number in 1..=count {
            network.connect(number).await?;
        }
        Ok(network)
    }

    async fn connect(&self, number: usize) -> Result<()> {
        let (space, outer) = (self.namespace(number), self.cable(number));
        let address = format!("{}/24", self.address(number));
        run("ip", &["netns", "add", &space]).await?;
        let cable = [
            "link", "add", &outer, "type", "veth", "peer", "name", "eth0", "netns", &space,
        ];
        run("ip", &cable).await?;
        run("ip", &["link", "set", &outer, "master", &self.tag, "up"]).await?;
        run("ip", &["-n", &space, "addr", "add", &address, "dev", "eth0"]).await?;
        run("ip", &["-n", &space, "link", "set", "eth0", "up"]).await?;
        run("ip", &["-n", &space, "link", "set", "lo", "up"]).await?;
        self.iptables(number, &["-L", "INPUT", "-n"]).await.map(|_| ())
    }

    fn namespace(&self, number: usize) -> String {
        format!("{}-n{number}", self.tag)
    }

    /// What a thread goes through to be in the namespace of a node.
    fn entrance(&self, number: usize) -> PathBuf {
        Path::new(ENTRANCES).join(self.namespace(number))
    }

    fn cable(&self, number: usize) -> String {
        format!("{}v{number}", self.tag)
    }

    fn address(&self, number: usize) -> String {
        format!("{}.{}", self.subnet, 10 + number)
    }

    async fn iptables(&self, number: usize, arguments: &[&str]) -> Result<String> {
        let space = self.namespace(number);
        let mut words = vec!["netns", "exec", &space, "iptables", "-w"];
        words.extend(arguments);
        run("ip", &words).await
    }

    async fn drop_packets(&self, chain: &str, cut: &Cut) -> Result<()> {
        let sender = self.address(cut.from);
        let share = format!("{:.3}", cut.share);
        self.begin_chain(cut.at, chain).await?;
        let mut rule = vec!["-A", chain, "-s", &sender];
        if cut.share < 1.0 {
            rule.extend(["-m", "statistic", "--mode", "random", "--probability", &share]);
        }
        rule.extend(["-j", "DROP"]);
        self.iptables(cut.at, &rule).await.map(|_| ())
    }

    async fn queue_packets(&self, chain: &str, at: usize, queue: u16) -> Result<()> {
        let (sender, queue) = (self.address(queue.into()), queue.to_string());
        self.begin_chain(at, chain).await?;
        let rule = ["-A", chain, "-s", &sender, "-j", "NFQUEUE", "--queue-num", &queue];
        self.iptables(at, &rule).await.map(|_| ())
    }

    /// Makes a chain through which everything comes in, unless it is there already.
    async fn begin_chain(&self, at: usize, chain: &str) -> Result<()> {
        if self.iptables(at, &["-N", chain]).await.is_ok() {
            self.iptables(at, &["-I", "INPUT", "-j", chain]).await?;
        }
        Ok(())
    }

    async fn let_through(&self, chain: &str, number: usize) -> Result<u64> {
        let listed = self.iptables(number, &["-L", chain, "-n", "-v", "-x"]).await?;
        self.iptables(number, &["-D", "INPUT", "-j", chain]).await?;
        self.iptables(number, &["-F", chain]).await?;
        self.iptables(number, &["-X", chain]).await?;
        Ok(dropped_packets(&listed))
    }

    fn clear(&self) {
        for number in 1..=self.count {
            // A namespace goes when its last process has, and its cable with it; the next fleet wants the name before.
            run_at_the_end("ip", &["link", "del", &self.cable(number)]);
            run_at_the_end("ip", &["netns", "del", &self.namespace(number)]);
        }
        run_at_the_end("ip", &["link", "del", &self.tag]);
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        self.clear();
    }
}

/// The packets that the rules of a chain dropped, from `iptables -L -v -x`: two lines of heading, then a rule a line that
/// begins with its packets.
fn dropped_packets(listed: &str) -> u64 {
    let packets = listed
        .lines()
        .skip(2)
        .filter_map(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    packets.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dropped_packets_are_added_up_over_the_rules() {
        let listed = "Chain f3 (1 references)\n    pkts      bytes target     prot opt in     out     source\n      \
                      12      720 DROP       0    --  *      *       10.1.2.11            0.0.0.0/0\n       \
                      3      180 DROP       0    --  *      *       10.1.2.12            0.0.0.0/0\n";
        assert_eq!(dropped_packets(listed), 15);
    }
}
