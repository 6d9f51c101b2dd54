//! Tokio's sockets and what is built on them, as an application uses it: in preemptive tasks, among hogs.
//!
//! Every identity of the runtime has entered a Tokio runtime with one thread (`compat_tests::bridge`). Sockets, timers
//! and channels are polled by our tasks, which are preempted in the middle of it. What libraries spawn on Tokio by
//! themselves is said where it happens.

mod client;
mod codec;
#[path = "../support/crowd.rs"]
mod crowd;
mod echo;
mod grpc;
mod http;
mod load;
//mod stream;
mod tower;
mod util;

use axum::Router;
use compat_tests::bridge::{self, Beside};
use crowd::Crowd;
use preemptive::runtime::Builder;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::net::TcpListener;

/// Any free port of this machine.
const ANY: &str = "127.0.0.1:0";

/// A crowd beside Tokio. Tasks, which hold sockets, end before the reactor does.
struct Net {
    crowd: Crowd,
    _beside: Beside,
}

impl Net {
    fn new() -> Net {
        let net = Net::without_hogs();
        net.crowd.start_hogs();
        net
    }

    fn without_hogs() -> Net {
        let beside = Beside::new().unwrap();
        let crowd = Crowd::without_hogs(beside.attach(&mut Builder::new_multi_thread()));
        Net {
            crowd,
            _beside: beside,
        }
    }

    /// Runs a test as a task.
    #[track_caller]
    fn run<T: Send + 'static>(self, test: impl Future<Output = T> + Send + 'static) -> T {
        self.crowd.run(test)
    }
}

/// Serves an application in tasks of the current runtime until that ends.
async fn start(app: Router) -> SocketAddr {
    let listener = TcpListener::bind(ANY).await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(preemptive::spawn(bridge::serve(listener, app)));
    address
}

/// Is this code polled by a preemptive task, and not by a thread of Tokio's?
fn is_ours() -> bool {
    preemptive::runtime::Handle::try_current().is_ok()
}

/// A directory for a test, which is removed with what is in it.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Directory {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("preemptive-net-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).unwrap();
        Directory(path)
    }

    fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

/// Bytes that look random, the same for the same seed.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    (0..length)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        })
        .collect()
}

/// A digest (FNV-1a) that can be continued; the first one is [`EMPTY`].
fn digest(before: u64, bytes: &[u8]) -> u64 {
    let step = |digest: u64, byte: &u8| (digest ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3);
    bytes.iter().fold(before, step)
}

/// The digest of nothing.
const EMPTY: u64 = 0xCBF2_9CE4_8422_2325;
