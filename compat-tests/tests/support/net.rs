//! A crowd beside Tokio's I/O, and directories for sockets.

#![allow(
    dead_code,
    reason = "each test file uses a part of this, and compiles it on its own"
)]

use crate::crowd::Crowd;
use compat_tests::bridge::Beside;
use preemptive::runtime::Builder;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

/// A crowd whose tasks use Tokio's sockets and timers. The tasks, which hold sockets, end before the reactor does.
pub(crate) struct Net {
    crowd: Crowd,
    _beside: Beside,
}

impl Net {
    pub(crate) fn new() -> Net {
        let net = Net::without_hogs();
        net.crowd.start_hogs();
        net
    }

    pub(crate) fn without_hogs() -> Net {
        let beside = Beside::new().unwrap();
        let crowd = Crowd::without_hogs(beside.attach(&mut Builder::new_multi_thread()));
        Net {
            crowd,
            _beside: beside,
        }
    }

    /// Runs a test as a task.
    #[track_caller]
    pub(crate) fn run<T: Send + 'static>(
        self,
        test: impl Future<Output = T> + Send + 'static,
    ) -> T {
        self.crowd.run(test)
    }
}

/// Is this code polled by a preemptive task, and not by a thread of Tokio's?
pub(crate) fn is_ours() -> bool {
    preemptive::runtime::Handle::try_current().is_ok()
}

/// A directory for a test, which is removed with what is in it.
pub(crate) struct Directory(PathBuf);

impl Directory {
    pub(crate) fn new() -> Directory {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("preemptive-net-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).unwrap();
        Directory(path)
    }

    pub(crate) fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}
