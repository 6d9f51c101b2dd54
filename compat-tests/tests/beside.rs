//! `beside = "tokio"`: one argument, and Tokio's I/O works in the function and in its tasks.

// For its allocator.
use compat_tests as _;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A server in a task, which computes so long that it is preempted; a client in the function; a file and a clock in both.
async fn everything() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = preemptive::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        tokio::time::sleep(Duration::from_millis(1)).await;
        let mut sum = 0_u64;
        for number in 0..300_000_u64 {
            sum = std::hint::black_box(sum + number);
        }
        let text = tokio::fs::read_to_string("Cargo.toml").await.unwrap();
        assert!(text.contains("compat-tests"));
        socket.write_all(&sum.to_be_bytes()).await.unwrap();
    });
    let mut client = TcpStream::connect(address).await.unwrap();
    let answer = tokio::time::timeout(Duration::from_secs(60), client.read_u64());
    assert_eq!(answer.await.unwrap().unwrap(), 300_000 * 299_999 / 2);
    server.await.unwrap();
}

#[preemptive::test(beside = "tokio", worker_threads = 2, time_slice = "50us")]
async fn on_workers() {
    let _hogs: Vec<_> = (0..4).map(|_| Hog::start()).collect();
    everything().await;
    preemptive::spawn(everything()).await.unwrap();
}

#[preemptive::test(beside = "tokio", time_slice = "50us")]
async fn on_this_thread() {
    let _hog = Hog::start();
    everything().await;
    preemptive::spawn(everything()).await.unwrap();
}

#[preemptive::test(beside = "tokio")]
async fn what_tokio_is_given_runs_there_and_answers_here() {
    let thread = std::thread::current().id();
    let elsewhere = tokio::spawn(async { std::thread::current().id() });
    assert_ne!(elsewhere.await.unwrap(), thread);
    let blocking = tokio::task::spawn_blocking(|| 5);
    assert_eq!(preemptive::spawn(blocking).await.unwrap().unwrap(), 5);
}

/// Computes until it is dropped.
struct Hog(std::sync::Arc<std::sync::atomic::AtomicBool>);

impl Hog {
    fn start() -> Hog {
        let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let stopped = stop.clone();
        drop(preemptive::spawn(async move {
            while !stopped.load(std::sync::atomic::Ordering::Relaxed) {
                std::hint::spin_loop();
            }
        }));
        Hog(stop)
    }
}

impl Drop for Hog {
    fn drop(&mut self) {
        self.0.store(true, std::sync::atomic::Ordering::Relaxed);
    }
}
