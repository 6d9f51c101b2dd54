//! pthread mutexes of all kinds, which remember their owners.

use std::cell::UnsafeCell;
use std::mem::{MaybeUninit, zeroed};
use std::sync::Arc;

/// A pthread mutex of some kind, a condition variable, and what the mutex protects.
#[derive(Debug)]
pub(crate) struct Protected {
    mutex: UnsafeCell<libc::pthread_mutex_t>,
    condition: UnsafeCell<libc::pthread_cond_t>,
    /// Two words that agree whenever the mutex is free.
    words: UnsafeCell<[u64; 2]>,
}

// SAFETY: the words are touched only under the mutex, which is made for threads.
unsafe impl Sync for Protected {}
// SAFETY: as above; it stays in its `Arc`.
unsafe impl Send for Protected {}

impl Protected {
    pub(crate) fn new(kind: i32, robust: bool) -> Arc<Protected> {
        let protected = Arc::new(Protected {
            // SAFETY: all-zero is initialised below.
            mutex: UnsafeCell::new(unsafe { zeroed() }),
            condition: UnsafeCell::new(libc::PTHREAD_COND_INITIALIZER),
            words: UnsafeCell::new([0; 2]),
        });
        // SAFETY: the attributes are initialised before they are used, and the mutex does not move any more.
        unsafe {
            let mut attributes = MaybeUninit::uninit();
            assert_eq!(libc::pthread_mutexattr_init(attributes.as_mut_ptr()), 0);
            assert_eq!(
                libc::pthread_mutexattr_settype(attributes.as_mut_ptr(), kind),
                0
            );
            if robust {
                let robust = libc::PTHREAD_MUTEX_ROBUST;
                assert_eq!(
                    libc::pthread_mutexattr_setrobust(attributes.as_mut_ptr(), robust),
                    0
                );
            }
            assert_eq!(
                libc::pthread_mutex_init(protected.mutex.get(), attributes.as_ptr()),
                0
            );
        }
        protected
    }

    pub(crate) fn lock(&self) -> i32 {
        // SAFETY: it is initialised.
        unsafe { libc::pthread_mutex_lock(self.mutex.get()) }
    }

    pub(crate) fn try_lock(&self) -> i32 {
        // SAFETY: it is initialised.
        unsafe { libc::pthread_mutex_trylock(self.mutex.get()) }
    }

    pub(crate) fn unlock(&self) -> i32 {
        // SAFETY: it is initialised.
        unsafe { libc::pthread_mutex_unlock(self.mutex.get()) }
    }

    /// What the mutex protects is right again, though its owner has ended.
    pub(crate) fn make_consistent(&self) -> i32 {
        // SAFETY: it is initialised.
        unsafe { libc::pthread_mutex_consistent(self.mutex.get()) }
    }

    /// Waits on the condition variable for at most `nanoseconds`.
    pub(crate) fn wait(&self, nanoseconds: i64) -> i32 {
        // SAFETY: the caller holds the mutex; the time is valid.
        unsafe {
            let mut time: libc::timespec = zeroed();
            libc::clock_gettime(libc::CLOCK_REALTIME, &mut time);
            time.tv_nsec += nanoseconds;
            time.tv_sec += time.tv_nsec / 1_000_000_000;
            time.tv_nsec %= 1_000_000_000;
            libc::pthread_cond_timedwait(self.condition.get(), self.mutex.get(), &time)
        }
    }

    pub(crate) fn notify(&self) {
        // SAFETY: it is initialised.
        unsafe { libc::pthread_cond_signal(self.condition.get()) };
    }

    /// How often [`step`](Protected::step) was called; the mutex is held.
    pub(crate) fn steps(&self) -> u64 {
        // SAFETY: the mutex is held.
        let words = unsafe { *self.words.get() };
        assert_eq!(words[0], words[1]);
        words[0]
    }

    /// Changes the words; the mutex is held.
    pub(crate) fn step(&self) {
        let words = self.words.get();
        // SAFETY: the mutex is held.
        unsafe {
            assert_eq!((*words)[0], (*words)[1]);
            (*words)[0] += 1;
            for _ in 0..50 {
                std::hint::spin_loop();
            }
            (*words)[1] += 1;
        }
    }
}
