//! Work that may wait for the disk.
//!
//! It runs on a thread that may block, so that no task waits behind it. A runtime with a single thread does it at
//! once, where it is asked for: there, that everything happens in one order is worth more than that nothing waits.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use tokio::runtime::{Handle, RuntimeFlavor};

/// The work panicked.
#[derive(Debug, thiserror::Error)]
#[error("work on the disk panicked: {0}")]
pub(crate) struct Panicked(String);

/// Does the work and waits for it.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Panicked> {
    if is_alone(&Handle::current()) {
        return catch_unwind(AssertUnwindSafe(work)).map_err(|panic| Panicked(words(&*panic)));
    }
    let worked = tokio::task::spawn_blocking(work).await;
    worked.map_err(|error| Panicked(error.to_string()))
}

/// Does the work; nobody waits for it. It may be called by anybody, in a runtime or not.
pub(crate) fn detached(work: impl FnOnce() + Send + 'static) {
    match Handle::try_current() {
        Ok(runtime) if !is_alone(&runtime) => drop(runtime.spawn_blocking(work)),
        Ok(_) | Err(_) => work(),
    }
}

fn is_alone(runtime: &Handle) -> bool {
    runtime.runtime_flavor() == RuntimeFlavor::CurrentThread
}

fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "without a word".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_runtime_with_one_thread_works_where_it_is_asked() {
        let here = std::thread::current().id();
        assert_eq!(blocking(move || std::thread::current().id()).await.unwrap(), here);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_runtime_with_many_threads_works_elsewhere() {
        let here = std::thread::current().id();
        assert_ne!(blocking(move || std::thread::current().id()).await.unwrap(), here);
    }

    #[tokio::test]
    async fn a_panic_becomes_an_error_with_its_words() {
        let panicked = blocking(|| panic!("a test's panic")).await.unwrap_err();
        assert!(panicked.to_string().contains("a test's panic"), "{panicked}");
    }
}
