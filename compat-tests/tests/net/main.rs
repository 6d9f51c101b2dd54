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
mod stream;
#[path = "../support/net.rs"]
mod support;
mod tower;
mod util;

use axum::Router;
use compat_tests::bridge;
use std::net::SocketAddr;
use support::{Directory, Net, is_ours};
use tokio::net::TcpListener;

/// Any free port of this machine.
const ANY: &str = "127.0.0.1:0";

/// Serves an application in tasks of the current runtime until that ends.
async fn start(app: Router) -> SocketAddr {
    let listener = TcpListener::bind(ANY).await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(preemptive::spawn(bridge::serve(listener, app)));
    address
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
