//! The system's randomness, taken over: on the thread of a simulation it comes from the seed.
//!
//! Hash tables, election timers and jitter all draw from `getrandom`. This program has its own: the linker takes it in
//! the place of the C library's. On every other thread it reads what the kernel offers.

use std::cell::RefCell;
use std::fs::File;
use std::io::Read as _;

use crate::chance::Chance;

thread_local! {
    static SEEDED: RefCell<Option<Chance>> = const { RefCell::new(None) };
}

/// Runs `work` on a thread of its own, whose randomness comes from the seed.
pub(crate) fn seeded<T: Send + 'static>(
    seed: u64,
    work: impl FnOnce() -> T + Send + 'static,
) -> std::thread::Result<T> {
    let thread = std::thread::Builder::new().name(format!("seed-{seed}"));
    let running = thread.spawn(move || {
        SEEDED.with(|seeded| *seeded.borrow_mut() = Some(Chance::new(seed, "entropy")));
        work()
    });
    running
        .map_err(|error| Box::new(error) as Box<dyn std::any::Any + Send>)?
        .join()
}

/// Fills the buffer from the seed of this thread, or from the kernel.
fn fill(buffer: &mut [u8]) -> bool {
    let seeded = SEEDED.try_with(|seeded| {
        let mut seeded = seeded.try_borrow_mut().ok()?;
        seeded.as_mut().map(|chance| chance.fill(buffer))
    });
    match seeded {
        Ok(Some(())) => true,
        Ok(None) | Err(_) => File::open("/dev/urandom")
            .and_then(|mut source| source.read_exact(buffer))
            .is_ok(),
    }
}

/// The C library's function of this name, for the whole program.
///
/// # Safety
/// `buffer` must be valid for writes of `length` bytes, as the C library's documentation asks too.
// There is no safe way to stand in for a function of the C library.
#[allow(unsafe_code)]
#[unsafe(no_mangle)]
unsafe extern "C" fn getrandom(buffer: *mut u8, length: usize, _flags: u32) -> isize {
    if length == 0 {
        return 0;
    }
    // SAFETY: the caller promises that the buffer has this length.
    let bytes = unsafe { std::slice::from_raw_parts_mut(buffer, length) };
    if fill(bytes) {
        isize::try_from(length).unwrap_or(isize::MAX)
    } else {
        -1
    }
}

#[cfg(test)]
mod tests {
    use std::hash::{BuildHasher as _, RandomState};

    use super::*;

    #[test]
    fn hash_tables_of_a_seed_are_the_same_in_every_run() {
        let hash = |seed| seeded(seed, || RandomState::new().hash_one(1)).unwrap();
        assert_eq!(hash(3), hash(3));
        assert_ne!(hash(3), hash(4));
    }

    #[test]
    fn elsewhere_the_kernel_is_asked() {
        let (mut one, mut other) = ([0; 16], [0; 16]);
        assert!(fill(&mut one) && fill(&mut other));
        assert_ne!(one, other);
    }
}
