//! Rounds: one costly question answered for everybody who asked before it began.
//!
//! Invariant: a caller gets the answer of a round that began after the call. That is what makes one quorum round
//! enough for any number of linearizable reads.

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoAnswer {
    /// Too many callers wait.
    Full,
    /// The round panicked.
    Lost,
}

/// The callers of one question.
#[derive(Debug)]
pub(crate) struct Rounds<T> {
    waiting: Mutex<Waiting<T>>,
    callers_max: usize,
}

#[derive(Debug)]
struct Waiting<T> {
    running: bool,
    callers: Vec<oneshot::Sender<T>>,
}

impl<T: Clone + Send + 'static> Rounds<T> {
    pub(crate) fn new(callers_max: usize) -> Arc<Self> {
        let waiting = Waiting {
            running: false,
            callers: Vec::new(),
        };
        Arc::new(Self {
            waiting: Mutex::new(waiting),
            callers_max,
        })
    }

    /// Waits for the answer of the next round; `round` asks the question if no other caller's is asking already.
    pub(crate) async fn join<F, R>(self: &Arc<Self>, round: F) -> Result<T, NoAnswer>
    where
        F: Fn() -> R + Send + 'static,
        R: Future<Output = T> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let first = {
            let mut waiting = self.lock();
            if waiting.callers.len() >= self.callers_max {
                return Err(NoAnswer::Full);
            }
            waiting.callers.push(answer);
            !std::mem::replace(&mut waiting.running, true)
        };
        if first {
            // In a task of its own: the caller may give up while others still wait.
            tokio::spawn(Running(Arc::clone(self)).run(round));
        }
        answered.await.map_err(|_| NoAnswer::Lost)
    }

    fn lock(&self) -> MutexGuard<'_, Waiting<T>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The task that runs the rounds. When it panics, those who wait learn it and the next caller starts anew.
struct Running<T: Clone + Send + 'static>(Arc<Rounds<T>>);

impl<T: Clone + Send + 'static> Running<T> {
    async fn run<F, R>(self, round: F)
    where
        F: Fn() -> R + Send + 'static,
        R: Future<Output = T> + Send + 'static,
    {
        loop {
            let callers = {
                let mut waiting = self.0.lock();
                if waiting.callers.is_empty() {
                    waiting.running = false;
                    return;
                }
                std::mem::take(&mut waiting.callers)
            };
            let answer = round().await;
            for caller in callers {
                // Some may have given up.
                let _ = caller.send(answer.clone());
            }
        }
    }
}

impl<T: Clone + Send + 'static> Drop for Running<T> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let mut waiting = self.0.lock();
            waiting.running = false;
            waiting.callers.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use tokio::sync::Semaphore;

    use super::*;

    #[tokio::test]
    async fn callers_share_the_round_that_begins_after_they_came() {
        let rounds: Arc<Rounds<u64>> = Rounds::new(10);
        let (asked, gate) = (Arc::new(AtomicU64::new(0)), Arc::new(Semaphore::new(0)));
        let call = || {
            let (rounds, asked, gate) = (Arc::clone(&rounds), Arc::clone(&asked), Arc::clone(&gate));
            tokio::spawn(async move {
                let question = move || {
                    let (asked, gate) = (Arc::clone(&asked), Arc::clone(&gate));
                    async move {
                        let number = asked.fetch_add(1, Ordering::SeqCst);
                        gate.acquire().await.unwrap().forget();
                        number
                    }
                };
                rounds.join(question).await.unwrap()
            })
        };
        let first = call();
        while asked.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        let late: Vec<_> = (0..5).map(|_| call()).collect();
        while rounds.lock().callers.len() < 5 {
            tokio::task::yield_now().await;
        }
        gate.add_permits(2);
        assert_eq!(first.await.unwrap(), 0);
        for caller in late {
            assert_eq!(caller.await.unwrap(), 1);
        }
    }

    #[tokio::test]
    async fn a_panic_in_a_round_is_told_and_the_next_caller_starts_anew() {
        let rounds: Arc<Rounds<u64>> = Rounds::new(10);
        let broken = || async { panic!("a test's panic") };
        assert_eq!(rounds.join(broken).await, Err(NoAnswer::Lost));
        assert_eq!(rounds.join(|| async { 7 }).await, Ok(7));
    }
}
