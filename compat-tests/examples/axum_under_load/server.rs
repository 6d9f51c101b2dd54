//! The application, and the two runtimes that serve it.

use axum::Router;
use axum::routing::get;
use compat_tests::bridge::{self, Beside};
use std::hint::black_box;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// Who serves.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Flavour {
    Preemptive,
    Tokio,
}

impl Flavour {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Flavour::Preemptive => "preemptive",
            Flavour::Tokio => "tokio",
        }
    }
}

/// Steps of one computing request.
static STEPS: AtomicU64 = AtomicU64::new(0);

/// Finds out how many steps take so long, once: both runtimes get the same work.
pub(crate) fn calibrate(work: Duration) {
    let steps = 10_000_000;
    let fastest = (0..5)
        .map(|_| {
            let start = Instant::now();
            black_box(compute(steps));
            start.elapsed()
        })
        .min()
        .expect("several runs");
    let steps = steps as f64 * work.as_secs_f64() / fastest.as_secs_f64();
    STEPS.store(steps as u64, Ordering::Relaxed);
}

/// Each step needs the one before, so no compiler makes it shorter.
fn compute(steps: u64) -> u64 {
    (0..steps).fold(1, |state, step| {
        black_box(state ^ step).wrapping_mul(0x9E37_79B9_7F4A_7C15)
    })
}

/// The application.
fn app() -> Router {
    Router::new()
        .route("/health", get(|| async { "ok" }))
        .route(
            "/work",
            get(|| async { compute(STEPS.load(Ordering::Relaxed)).to_string() }),
        )
}

/// A server in a thread.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    stop: oneshot::Sender<()>,
    thread: std::thread::JoinHandle<io::Result<()>>,
}

impl Server {
    /// Ends it, and waits for that.
    pub(crate) fn stop(self) -> io::Result<()> {
        let _ = self.stop.send(());
        self.thread
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

/// Starts a server on a free port of this machine.
pub(crate) fn start(flavour: Flavour, workers: usize) -> io::Result<Server> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let (stop, stopped) = oneshot::channel();
    let thread = std::thread::spawn(move || match flavour {
        Flavour::Preemptive => on_preemptive(listener, stopped, workers),
        Flavour::Tokio => on_tokio(listener, stopped, workers),
    });
    Ok(Server {
        address,
        stop,
        thread,
    })
}

fn on_preemptive(
    listener: std::net::TcpListener,
    stopped: oneshot::Receiver<()>,
    workers: usize,
) -> io::Result<()> {
    let beside = Beside::new()?;
    let mut builder = preemptive::runtime::Builder::new_multi_thread();
    let runtime = beside
        .attach(builder.worker_threads(workers))
        .enable_all()
        .build()?;
    let server = runtime.spawn(async move {
        let listener = TcpListener::from_std(listener)?;
        bridge::serve_until(listener, app(), async { drop(stopped.await) }).await;
        io::Result::Ok(())
    });
    runtime.block_on(server)?
}

fn on_tokio(
    listener: std::net::TcpListener,
    stopped: oneshot::Receiver<()>,
    workers: usize,
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(workers)
        .enable_all()
        .build()?;
    let server = runtime.spawn(async move {
        let listener = TcpListener::from_std(listener)?;
        axum::serve(listener, app())
            .with_graceful_shutdown(async { drop(stopped.await) })
            .await
    });
    runtime.block_on(server)?
}
