//! Distance between nodes, in user space: the kernel puts a node's packets into queues, one for each sender, and asks
//! whether they may go on; here each is told so when its way is over.
//!
//! Nothing else changes for the nodes: connections, addresses and the order of packets stay what they are. No module of the
//! kernel for delays is needed, only that for queues.

mod wire;

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use rustix::net::{AddressFamily, SocketFlags, SocketType, netlink, socket_with, sockopt};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use wire::Told;

/// Packets under way in one direction; more are lost.
const PACKETS_MAX: u32 = 16_384;
/// How soon the end is noticed.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Bytes that are read at once.
const READ_AT_ONCE: usize = 64 << 10;

/// What the threads have carried.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Carried {
    /// Packets that were held up.
    pub(crate) packets: u64,
}

/// The threads that hold packets up, one for each node. Dropping it lets everything go on at once.
#[derive(Default)]
pub(crate) struct Delays {
    carriers: Vec<Carrier>,
}

struct Carrier {
    node: usize,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<Carried>>>,
}

impl Delays {
    /// Holds up what comes into the queues of a node's network namespace, each for its own time.
    pub(crate) fn add(&mut self, node: usize, namespace: &Path, ways: BTreeMap<u16, Duration>) -> Result<()> {
        let stop = Arc::new(AtomicBool::new(false));
        let (told, ready) = std::sync::mpsc::channel();
        let (stopped, namespace) = (stop.clone(), namespace.to_owned());
        let thread = std::thread::Builder::new()
            .name("delay".to_owned())
            .spawn(move || {
                let queues = Queues::open(&namespace, ways)?;
                told.send(()).context("nobody waits for a delay any more")?;
                queues.carry(&stopped)
            });
        let thread = thread.context("no thread for a delay")?;
        if ready.recv().is_err() {
            let ended = thread
                .join()
                .map_err(|_| anyhow!("the thread of a delay has panicked"))?;
            return ended.map(drop);
        }
        self.carriers.push(Carrier {
            node,
            stop,
            thread: Some(thread),
        });
        Ok(())
    }

    /// The nodes whose packets are held up.
    pub(crate) fn nodes(&self) -> Vec<usize> {
        self.carriers.iter().map(|carrier| carrier.node).collect()
    }

    /// Lets go on what is still held, and gives what was carried.
    pub(crate) fn end(mut self) -> Result<Carried> {
        let mut sum = Carried::default();
        for carrier in &mut self.carriers {
            sum.packets += carrier.end()?.packets;
        }
        Ok(sum)
    }
}

impl Carrier {
    fn end(&mut self) -> Result<Carried> {
        self.stop.store(true, Ordering::Relaxed);
        match self.thread.take() {
            Some(thread) => thread
                .join()
                .map_err(|_| anyhow!("the thread of a delay has panicked"))?,
            None => Ok(Carried::default()),
        }
    }
}

impl Drop for Carrier {
    fn drop(&mut self) {
        // Whoever wants to know what went wrong asks for the end.
        drop(self.end());
    }
}

/// The kernel's queues of one namespace, and what waits in them.
struct Queues {
    socket: File,
    held: Held,
}

impl Queues {
    /// Moves this thread into the namespace, where a socket finds that namespace's queues.
    fn open(namespace: &Path, ways: BTreeMap<u16, Duration>) -> Result<Self> {
        let entrance =
            File::open(namespace).with_context(|| format!("cannot open {}", namespace.display()))?;
        move_into_link_name_space(entrance.as_fd(), Some(LinkNameSpaceType::Network))
            .with_context(|| format!("cannot enter {}", namespace.display()))?;
        let (family, flags) = (AddressFamily::NETLINK, SocketFlags::CLOEXEC);
        let socket = socket_with(family, SocketType::RAW, flags, Some(netlink::NETFILTER));
        let mut queues = Self {
            socket: File::from(socket.context("no netlink socket")?),
            held: Held::new(ways),
        };
        for queue in queues.held.queues() {
            queues.bind(queue)?;
        }
        Ok(queues)
    }

    fn bind(&mut self, queue: u16) -> Result<()> {
        self.socket.write_all(&wire::bind(queue, PACKETS_MAX))?;
        let mut buffer = vec![0; READ_AT_ONCE];
        loop {
            let read = self.socket.read(&mut buffer)?;
            for told in wire::parse(&buffer[..read]) {
                match told {
                    Told::Answer(0) => return Ok(()),
                    Told::Answer(why) => {
                        let why = std::io::Error::from_raw_os_error(-why);
                        bail!("the kernel gives no queue of packets: {why}");
                    }
                    Told::Packet { queue, id } => self.held.take(queue, id, Instant::now()),
                }
            }
        }
    }

    /// Until it is told to stop.
    fn carry(mut self, stop: &AtomicBool) -> Result<Carried> {
        let mut buffer = vec![0; READ_AT_ONCE];
        while !stop.load(Ordering::Relaxed) {
            let now = Instant::now();
            for (queue, id) in self.held.due(now) {
                self.socket.write_all(&wire::accept(queue, id))?;
            }
            // Zero would be for ever.
            let wait = self
                .held
                .next(now)
                .unwrap_or(LOOK_EVERY)
                .clamp(Duration::from_millis(1), LOOK_EVERY);
            sockopt::set_socket_timeout(&self.socket, sockopt::Timeout::Recv, Some(wait))?;
            match self.socket.read(&mut buffer) {
                Ok(read) => {
                    let now = Instant::now();
                    for told in wire::parse(&buffer[..read]) {
                        if let Told::Packet { queue, id } = told {
                            self.held.take(queue, id, now);
                        }
                    }
                }
                Err(error) if passes(&error) => {}
                Err(error) => return Err(error).context("the kernel's queue of packets is gone"),
            }
        }
        for (queue, id) in self.held.all() {
            self.socket.write_all(&wire::accept(queue, id))?;
        }
        Ok(self.held.carried)
    }
}

/// Nothing came in time, or more than the socket could take, and the kernel has dropped it.
fn passes(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
    ) || error.raw_os_error() == Some(rustix::io::Errno::NOBUFS.raw_os_error())
}

/// Packets that wait, each queue in its order.
struct Held {
    queues: BTreeMap<u16, (Duration, VecDeque<(Instant, u32)>)>,
    carried: Carried,
}

impl Held {
    fn new(ways: BTreeMap<u16, Duration>) -> Self {
        Self {
            queues: ways
                .into_iter()
                .map(|(queue, way)| (queue, (way, VecDeque::new())))
                .collect(),
            carried: Carried::default(),
        }
    }

    fn queues(&self) -> Vec<u16> {
        self.queues.keys().copied().collect()
    }

    fn take(&mut self, queue: u16, id: u32, now: Instant) {
        if let Some((way, waiting)) = self.queues.get_mut(&queue) {
            waiting.push_back((now + *way, id));
            self.carried.packets += 1;
        }
    }

    /// Takes out the packets whose way is over.
    fn due(&mut self, now: Instant) -> Vec<(u16, u32)> {
        let mut due = Vec::new();
        for (queue, (_, waiting)) in &mut self.queues {
            while let Some((_, id)) = waiting.pop_front_if(|(arrives, _)| *arrives <= now) {
                due.push((*queue, id));
            }
        }
        due
    }

    /// How long it is until the next is due.
    fn next(&self, now: Instant) -> Option<Duration> {
        let first = self.queues.values().filter_map(|(_, waiting)| waiting.front());
        first
            .map(|(arrives, _)| arrives.saturating_duration_since(now))
            .min()
    }

    /// Takes out all of them.
    fn all(&mut self) -> Vec<(u16, u32)> {
        let queues = self.queues.iter_mut();
        let all = queues.flat_map(|(queue, (_, waiting))| waiting.drain(..).map(|(_, id)| (*queue, id)));
        all.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_queue_has_its_own_way_and_keeps_its_order() {
        let millis = Duration::from_millis;
        let mut held = Held::new(BTreeMap::from([(1, millis(40)), (2, millis(100))]));
        let began = Instant::now();
        held.take(2, 20, began);
        held.take(1, 10, began);
        held.take(1, 11, began + millis(5));
        held.take(9, 90, began);
        assert_eq!(held.next(began), Some(millis(40)));
        assert_eq!(held.due(began + millis(39)), []);
        assert_eq!(held.due(began + millis(45)), [(1, 10), (1, 11)]);
        assert_eq!(held.due(began + millis(99)), []);
        held.take(1, 12, began + millis(99));
        assert_eq!(held.due(began + millis(100)), [(2, 20)]);
        assert_eq!(held.all(), [(1, 12)]);
        assert_eq!((held.next(began), held.carried.packets), (None, 4));
    }
}
