//! As much of the `preemptive` crate as an expansion calls; it keeps what the builder was told.

pub use preemptive_macros::{checked, main, test};

pub fn safepoint() {}

pub mod __private {
    pub fn enter<const RED_ZONE: usize, R>(f: impl FnOnce() -> R) -> R {
        f()
    }
}

pub mod runtime {
    use std::cell::RefCell;
    use std::io;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};
    use std::time::Duration;

    thread_local! {
        static LAST: RefCell<Builder> = RefCell::default();
    }

    /// What the last runtime on this thread was built with.
    pub fn last() -> Builder {
        LAST.with_borrow(Clone::clone)
    }

    #[derive(Clone, Debug, Default, PartialEq)]
    pub struct Builder {
        pub worker_threads: Option<usize>,
        pub time_slice: Option<Duration>,
        pub all: bool,
        pub current_thread: bool,
        pub start_paused: Option<bool>,
        /// How often `on_thread_start` was called.
        pub hooks: usize,
    }

    impl Builder {
        pub fn new_multi_thread() -> Self {
            Self::default()
        }

        pub fn new_current_thread() -> Self {
            Self { current_thread: true, ..Self::default() }
        }

        pub fn start_paused(&mut self, start_paused: bool) -> &mut Self {
            self.start_paused = Some(start_paused);
            self
        }

        pub fn on_thread_start(&mut self, hook: impl Fn() + Send + Sync + 'static) -> &mut Self {
            hook();
            self.hooks += 1;
            self
        }

        pub fn worker_threads(&mut self, threads: usize) -> &mut Self {
            self.worker_threads = Some(threads);
            self
        }

        pub fn time_slice(&mut self, slice: Duration) -> &mut Self {
            self.time_slice = Some(slice);
            self
        }

        pub fn enable_all(&mut self) -> &mut Self {
            self.all = true;
            self
        }

        pub fn build(&mut self) -> io::Result<Runtime> {
            LAST.set(self.clone());
            Ok(Runtime)
        }
    }

    thread_local! {
        static DROPS: RefCell<Vec<&'static str>> = RefCell::default();
    }

    /// Something with this name was dropped.
    pub fn note_drop(name: &'static str) {
        DROPS.with_borrow_mut(|drops| drops.push(name));
    }

    /// What was dropped since the last call.
    pub fn take_drops() -> Vec<&'static str> {
        DROPS.take()
    }

    pub const fn prefer_latency() -> io::Result<()> {
        Ok(())
    }

    #[derive(Debug)]
    pub struct Runtime;

    impl Drop for Runtime {
        fn drop(&mut self) {
            note_drop("preemptive");
        }
    }

    impl Runtime {
        pub fn block_on<F: Future>(&self, future: F) -> F::Output {
            let mut future = pin!(future);
            loop {
                if let Poll::Ready(output) =
                    future.as_mut().poll(&mut Context::from_waker(Waker::noop()))
                {
                    return output;
                }
            }
        }
    }
}
